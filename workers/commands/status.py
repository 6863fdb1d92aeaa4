"""``vitrine status``: what an operator needs at three in the morning, on one screen."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import click
from kombu.exceptions import ChannelError
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text
from sqlalchemy import Engine, text
from sqlalchemy.exc import InterfaceError, OperationalError

from pipeline.graph import StageGraph
from storage.database import open_database
from storage.parked import Parked
from storage.replays import Replays
from storage.timeline import Timeline
from workers.app import make_app
from workers.bootstrap import build_graph
from workers.commands.terminal import STATE_STYLES, cell, console, harmless, print_json, rows, span, table
from workers.publisher import QUEUE
from workers.settings import Settings, settings

_NAME = "vitrine status"
_PING_S = 1.0
_WATCH_S = 2.0
_SHOWN_REASONS = 6
_STATES = ("waiting", "ready", "running", "done", "reused", "skipped", "parked")
_PROCESSES = text("""
SELECT application_name AS name, count(DISTINCT pid) AS connections FROM pg_stat_activity
WHERE datname = current_database() AND application_name IN ('vitrine intake', 'vitrine relay', 'vitrine worker')
GROUP BY 1
""")


@dataclass(slots=True)
class Standing:
    """Everything on the screen; an error stands for the part that did not answer."""

    database: str = ""
    broker: str = ""
    ledger: Mapping[str, Any] = field(default_factory=dict)
    parked: list[Mapping[str, Any]] = field(default_factory=list)
    replays: list[Mapping[str, Any]] = field(default_factory=list)
    processes: dict[str, int] = field(default_factory=dict)
    events_on_broker: int = 0
    workers: list[str] = field(default_factory=list)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--watch", is_flag=True, help="Look again every two seconds until Ctrl-C.")
def status(as_json: bool, watch: bool) -> int:
    """Show how everything stands: events, stages, queues, parked work, replays, workers, broker.

    Exits with 69 when the database or the broker does not answer.

    \b
    Example:
      vitrine status
      vitrine status --watch
    """
    if as_json and watch:
        raise click.UsageError("--json and --watch do not go together")
    here = settings().connected("database_url", "broker_url")
    if watch:
        with watching(here, whole_screen=True), suppress(KeyboardInterrupt):
            threading.Event().wait()
        return 0
    standing = look(here, open_database(here.database_url, application=_NAME), build_graph(here))
    if as_json:
        print_json(asdict(standing))
    else:
        out = console()
        for part in _parts(standing):
            out.print(part)
    return os.EX_UNAVAILABLE if standing.database or standing.broker else 0


def watching(here: Settings, *, whole_screen: bool = False) -> Live:
    """A display that looks again every two seconds while it is entered."""
    engine, graph = open_database(here.database_url, application=_NAME), build_graph(here)
    return Live(
        get_renderable=lambda: Group(*_parts(look(here, engine, graph))),
        console=console(),
        screen=whole_screen,
        refresh_per_second=1 / _WATCH_S,
    )


def look(here: Settings, engine: Engine, graph: StageGraph) -> Standing:
    """Ask the database and the broker; about a second, since workers get that long to answer."""
    standing = Standing()
    try:
        standing.ledger = Timeline(engine, graph).status()
        standing.parked = Parked(engine, graph).summary()
        standing.replays = [
            replay for replay in Replays(engine, graph).progress() if replay["state"] in ("running", "paused")
        ]
        with engine.connect() as connection:
            standing.processes = {row.name: row.connections for row in connection.execute(_PROCESSES)}
    except (OperationalError, InterfaceError) as error:
        standing.database = (
            f"{str(error.orig).strip().partition(chr(10))[0]}: start it, or see VITRINE_DATABASE_URL"
        )
    try:
        standing.events_on_broker, standing.workers = _ask_broker(here.broker_url)
    except (BrokerError, RedisError, OSError) as error:
        standing.broker = f"{error}: start it, or see VITRINE_BROKER_URL"
    return standing


def _ask_broker(url: str) -> tuple[int, list[str]]:
    """How many events wait to be taken in, and the workers that answer within a second."""
    app = make_app(url)
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, timeout=2)
        try:
            declared = connection.default_channel.queue_declare(QUEUE.name, passive=True)
            events = int(declared.message_count)
        except ChannelError:
            events = 0  # an empty list does not exist on Redis
        answers = app.control.inspect(timeout=_PING_S, connection=connection).ping() or {}
        return events, sorted(answers)


def _parts(standing: Standing) -> list[RenderableType]:
    parts: list[RenderableType] = [_processes(standing)]
    if standing.ledger:
        parts += [Text(), _events(standing), Text(), _stages(standing.ledger)]
        if standing.ledger["queues"]:
            parts += [Text(), _queues(standing.ledger)]
        parts += [Text(), *_attention(standing)]
    return parts


def _processes(standing: Standing) -> Text:
    shown = Text()
    good, bad = "green", "bold red"
    for name, error in (("database", standing.database), ("broker", standing.broker)):
        shown.append(f"{name} ", "bold")
        shown.append(f"does not answer: {error}\n" if error else "ok  ", bad if error else good)
    if not standing.broker:
        shown.append("workers ", "bold")
        names = ", ".join(standing.workers)
        shown.append(
            f"{names}  " if names else "none answers: start `vitrine worker`  ", good if names else bad
        )
    if not standing.database:
        for name in ("intake", "relay"):
            there = standing.processes.get(f"vitrine {name}", 0)
            shown.append(f"{name} ", "bold")
            shown.append("ok  " if there else f"absent: start `vitrine {name}`  ", good if there else bad)
    return shown


def _events(standing: Standing) -> Text:
    ledger = standing.ledger
    shown = Text("events  ", "bold")
    if not ledger["events"]:
        shown.append("none yet")
    for verdict, count in sorted(ledger["events"].items()):
        shown.append(f"{verdict} {count}  ", STATE_STYLES.get(verdict, "cyan" if verdict == "open" else ""))
    shown.append(
        f"\nproducts  live {ledger['live']} of {ledger['products']}, in progress {ledger['open_plans']}"
    )
    shown.append(f"\nwaiting  {standing.events_on_broker} on the broker, {ledger['unplanned']} to be planned")
    return shown


def _stages(ledger: Mapping[str, Any]) -> RenderableType:
    seen = {state for counts in ledger["stages"].values() for state in counts}
    states = [state for state in _STATES if state in seen] + sorted(seen - set(_STATES))
    made = table("stage", *states, right=states)
    lines = (
        (stage, *(cell(counts.get(state) or "·", STATE_STYLES.get(state, "")) for state in states))
        for stage, counts in ledger["stages"].items()
    )
    return rows(made, lines)


def _queues(ledger: Mapping[str, Any]) -> RenderableType:
    made = table("queue", "lane", "ready", "running", "oldest", right=("ready", "running", "oldest"))
    lines = ((q["queue"], q["lane"], q["ready"], q["running"], span(q["oldest_s"])) for q in ledger["queues"])
    return rows(made, lines)


def _attention(standing: Standing) -> list[Text]:
    """What a person has to look at, with the command that shows more."""
    lines: list[Text] = []
    total = standing.ledger["parked"]
    if total:
        lines.append(Text(f"{total} parked: see `vitrine parked`", "red"))
        for entry in standing.parked[:_SHOWN_REASONS]:
            lines.append(Text(harmless(f"  {entry['jobs']:>6} {entry['stage']}: {entry['reason']}"), "red"))
        if len(standing.parked) > _SHOWN_REASONS:
            lines.append(Text(f"  and {len(standing.parked) - _SHOWN_REASONS} more reasons", "red"))
    if standing.ledger["quarantined"]:
        count = standing.ledger["quarantined"]
        lines.append(Text(f"{count} messages in quarantine: see `vitrine parked quarantine`", "yellow"))
    for replay in standing.replays:
        items = ", ".join(f"{name} {count}" for name, count in sorted(replay["items"].items()))
        lines.append(Text(f"replay {replay['id']} {replay['state']}: {items}", "cyan"))
    return lines or [Text("nothing parked, nothing in quarantine, no replay", "green")]
