"""``vitrine publish``: events from files to the broker, with the base install only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import click
from rich.progress import Progress, SpinnerColumn, TextColumn

from pipeline.errors import VitrineError
from pipeline.events import Event
from workers.commands.terminal import console, print_json
from workers.event_files import DEFAULT_SOURCE, read_events
from workers.publisher import Publisher
from workers.settings import settings


@click.command()
@click.argument("file", metavar="FILE|FOLDER|-")
@click.option(
    "--broker", metavar="URL", help="The broker; VITRINE_BROKER_URL or the running stack's by default."
)
@click.option("--source", default=DEFAULT_SOURCE, show_default=True, help="Source of pictures and CSV rows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def publish(file: str, broker: str | None, source: str, as_json: bool) -> None:
    """Publish events: JSON Lines, a folder of pictures, a CSV, or JSON Lines on standard input.

    Each event is checked before it is sent. At the first that breaks the contract it stops and names the
    place; what came before it is published. Publishing again is harmless.

    \b
    Example:
      vitrine publish events.jsonl
      vitrine publish photos/ --source urn:shop:1
      catalog-export | vitrine publish -
    """
    url = broker or settings().connected("broker_url").broker_url
    origin: Path | Literal["-"] = "-" if file == "-" else Path(file)
    sent = 0
    with (
        Progress(
            SpinnerColumn(),
            TextColumn("{task.completed} events"),
            console=console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        ) as bar,
        Publisher(url) as publisher,
    ):
        task = bar.add_task("", total=None)

        def counted() -> Iterator[Event]:
            nonlocal sent
            for event in read_events(origin, event_source=source):
                yield event
                # The publisher asks for the next one only after the broker took this one.
                sent += 1
                bar.update(task, completed=sent)

        try:
            publisher.publish(counted())
        except VitrineError as error:
            error.add_note("mend it and publish everything again, what is known is only a duplicate")
            if as_json:
                print_json({"accepted": sent, "error": str(error)})
            raise
    if as_json:
        print_json({"accepted": sent})
    else:
        host = urlsplit(url)
        click.echo(f"the broker at {host.hostname or host.path} accepted {sent} events")
