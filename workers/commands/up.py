"""``vitrine up``: the whole system on one machine, until a signal ends it."""

from __future__ import annotations

import signal
import threading
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import urlsplit

import click

from workers.bootstrap import build_kit
from workers.commands.engines import fetch_artifacts, wanted_artifacts
from workers.commands.status import watching
from workers.flower import guard_flower
from workers.settings import Settings, settings
from workers.stack import Stack
from workers.supervisor import Status

_LOOK_S = 1.0
# Below this a restart is an accident; from here on the process cannot start, and its log says why.
_HOPELESS = 3


@click.command()
@click.option(
    "--file-root",
    "file_roots",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that file: URLs of photos may read; may be given several times.",
)
@click.option(
    "--concurrency", default=2, show_default=True, type=click.IntRange(1, 256), help="Worker processes."
)
@click.option("--flower/--no-flower", default=True, help="Serve the Flower page too.")
@click.option("--watch", "manner", flag_value="watch", help="Show `vitrine status` all the time.")
@click.option("--quiet", "manner", flag_value="quiet", help="Say only what goes wrong.")
def up(file_roots: tuple[Path, ...], concurrency: int, flower: bool, manner: str | None) -> None:
    """Run everything on this machine until Ctrl-C: Postgres, Valkey, intake, relay, workers, Flower.

    Its folder is VITRINE_HOME (.vitrine by default); other commands started beside it find it there. What
    was accepted is kept, and goes on at the next start.

    \b
    Example:
      vitrine up --file-root photos/
      vitrine publish photos/          (in another terminal)
    """
    here = settings()
    if flower:
        guard_flower(here.flower_host, here.flower_basic_auth)
    kit = build_kit(here)
    models = wanted_artifacts(kit)
    if not all(kit.fetched(model.name) for model in models):
        fetch_artifacts(kit, models)

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def say(text: str) -> None:
        if manner != "quiet":
            click.echo(text)

    with Stack(here, file_roots=file_roots, concurrency=concurrency, flower=flower, say=say) as stack:
        for line in addresses(stack.settings, flower):
            say(line)
        with watching(stack.settings) if manner == "watch" else nullcontext():
            _watch(stack, stop)
        say("stopping: work in progress ends first")
    say("stopped")


def addresses(here: Settings, flower: bool) -> list[str]:
    """Where everything is, for people; no passwords."""
    host = f"[{here.flower_host}]" if ":" in here.flower_host else here.flower_host
    metrics = f"http://{here.metrics_host}:{here.metrics_port}/metrics"
    return [
        f"  Flower    {f'http://{host}:{here.flower_port}' if flower else 'off (--no-flower)'}",
        f"  database  {without_password(here.database_url)}",
        f"  broker    {without_password(here.broker_url)}",
        f"  metrics   {metrics if here.metrics_port else 'off, set VITRINE_METRICS_PORT'}",
        f"  logs      {here.home.absolute() / 'logs'}",
        "Vitrine is up: Ctrl-C stops it, `vitrine status` tells how it stands.",
    ]


def without_password(url: str) -> str:
    """The URL as it may be printed."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return parts._replace(netloc=f"{parts.username or ''}:***@{parts.netloc.rpartition('@')[2]}").geturl()


def _watch(stack: Stack, stop: threading.Event) -> None:
    """Wait for the signal; a process that cannot start is reported once, with the end of its log."""
    told: set[str] = set()
    while not stop.wait(_LOOK_S):
        stack.tend()
        for status in stack.statuses():
            if status.failures >= _HOPELESS and status.name not in told:
                told.add(status.name)
                click.echo(hopeless(status), err=True)
            elif status.failures == 0:
                told.discard(status.name)


def hopeless(status: Status) -> str:
    """Why a process does not stay up."""
    last = "\n".join(f"  | {line}" for line in status.last_lines[-8:])
    return f"{status.name} ended {status.failures} times (exit code {status.exit_code}); {status.log} says:\n{last}"
