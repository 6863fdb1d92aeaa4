"""``vitrine intake``, ``relay``, ``worker``, ``flower`` and ``migrate``: one process each, ended by a signal."""

from __future__ import annotations

import os
import signal
import threading

import click

from pipeline.outcomes import Lane
from storage.assets import Assets
from storage.database import open_database
from storage.migrations import current, upgrade
from storage.vectors import VectorIndex, guard_index
from tasks._stage import load_stages
from workers.bootstrap import build_ledger, build_runtime, every_queue
from workers.flower import run_flower
from workers.intake import Intake
from workers.keeper import IndexKeeper
from workers.metrics import Metrics
from workers.relay import Relay
from workers.settings import settings
from workers.telemetry import configure_logging
from workers.worker import make_worker_app, run_worker


@click.command()
def intake() -> None:
    """Take events off the broker, commit them, acknowledge them, plan what follows.

    Several may run side by side. SIGTERM ends it after what it holds is committed.

    \b
    Example:
      VITRINE_LOG=json vitrine intake
    """
    here = settings().connected("database_url", "broker_url")
    configure_logging(here.log)
    process = Intake(build_ledger(here, "vitrine intake"), here.broker_url, here.window)
    _stop_on_signal(process.stop)
    process.run()


@click.command()
def relay() -> None:
    """Announce ready work, take back expired leases, let replays advance, sweep what nobody needs.

    One leads, others stand by. With VITRINE_METRICS_PORT it serves Prometheus metrics.

    \b
    Example:
      VITRINE_METRICS_PORT=9464 vitrine relay
    """
    here = settings().connected()
    configure_logging(here.log)
    guard_index(here.qdrant_url)
    ledger = build_ledger(here, "vitrine relay")
    metrics = Metrics(ledger.engine) if here.metrics_port else None
    if metrics:
        metrics.serve(here.metrics_host, here.metrics_port)
    process = Relay(
        ledger,
        Assets(here.assets_url),
        here.broker_url,
        window=here.window,
        retention_days=here.retention_days,
        asset_grace_s=here.asset_grace_s,
        metrics=metrics,
        keeper=IndexKeeper(ledger, VectorIndex(here.qdrant_url)),
    )
    _stop_on_signal(process.stop)
    process.run()


@click.command()
@click.option("--queues", required=True, metavar="A,B", help="Queues to serve, separated by commas.")
@click.option("--concurrency", default=2, show_default=True, type=click.IntRange(1, 256), help="Processes.")
@click.option(
    "--lane",
    type=click.Choice(["both", "live"]),
    default="both",
    show_default=True,
    help="`live` keeps its processes free of backfills.",
)
@click.option("--name", help="Name in Flower; the queues by default. Two on one host need two names.")
def worker(queues: str, concurrency: int, lane: str, name: str | None) -> None:
    """Compute the stages of some queues. `vitrine graph` shows which stage uses which queue.

    Each process holds its own models. SIGTERM ends it after the batches it holds.

    \b
    Example:
      vitrine worker --queues fetch,vision --concurrency 4
    """
    wanted = list(dict.fromkeys(queue.strip() for queue in queues.split(",") if queue.strip()))
    if not wanted:
        raise click.BadParameter("names no queue", param_hint="--queues")
    stages = load_stages()
    here = settings().connected()
    guard_index(here.qdrant_url)
    used = every_queue()
    for queue in wanted:
        if queue not in used:
            click.echo(
                f"vitrine: no stage uses the queue {queue!r}, only {', '.join(sorted(used))}", err=True
            )
    threads = max(1, (os.cpu_count() or 1) // concurrency)
    app = make_worker_app(
        here.broker_url, stages, lambda: build_runtime(here, threads), window=here.window, log=here.log
    )
    # Later stages first: products are finished before others are begun.
    ordered = [queue for queue in used if queue in wanted] + [queue for queue in wanted if queue not in used]
    lanes = (Lane.LIVE,) if lane == "live" else tuple(Lane)
    run_worker(app, ordered, concurrency, name or "-".join(wanted), lanes=lanes)


@click.command()
def flower() -> None:
    """Serve Flower: every worker, every batch with its product ids.

    VITRINE_FLOWER_HOST and VITRINE_FLOWER_PORT say where. Off loopback it needs
    VITRINE_FLOWER_BASIC_AUTH=user:password and refuses to start without.

    \b
    Example:
      VITRINE_FLOWER_PORT=5556 vitrine flower
    """
    run_flower(settings().connected("broker_url"))


@click.command()
def migrate() -> None:
    """Bring the database's schema to this release. Safe to run again, and from several places at once.

    \b
    Example:
      VITRINE_DATABASE_URL=postgresql+psycopg://me:secret@db/vitrine vitrine migrate
    """
    engine = open_database(settings().connected("database_url").database_url, application="vitrine migrate")
    before = current(engine)
    upgrade(engine)
    after = current(engine)
    engine.dispose()
    click.echo(f"the schema is at {after}" + ("" if before != after else " already"))


def _stop_on_signal(stop: threading.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
