"""``python -m demo``: publish a shop's catalog to the embedded stack, watch it being served, write the page."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from kombu.connection import Connection
from kombu.exceptions import ChannelError
from rich.console import Console

from demo.display import Display, stuck, summary
from demo.page import Page, about
from demo.photographs import LeftOut, photographs, report_left_out
from demo.searches import ask
from demo.watch import Standing, Watch
from pipeline.errors import VitrineError
from storage.assets import Assets
from storage.database import open_database
from storage.presentations import Presentations
from storage.quotes import Request
from storage.replays import Replays
from storage.reviews import Reviews
from storage.timeline import Timeline
from workers.bootstrap import build_graph, build_kit
from workers.commands.search import open_search
from workers.publisher import QUEUE, Publisher
from workers.settings import settings
from workers.stack import Stack

_FOLDER: Final = Path("build/demo")
_POLL_S: Final = 0.25
_PAGE_EVERY_S: Final = 5.0
_PATIENCE_S: Final = 15 * 60.0
_HOPELESS: Final = 4
"""A process that failed so often in a row cannot start at all."""


class Stuck(VitrineError):
    """The stack does not get on; the message is an account of what waits for what."""


def main() -> int:
    """Run the demo; the exit code."""
    console = Console(highlight=False)
    try:
        _run(console, monotonic())
    except VitrineError as error:
        Console(stderr=True, highlight=False).print(f"\n{error}", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped. What is done stays done: `make demo` goes on from here.")
        return 130
    return 0


def _run(console: Console, began: float) -> None:
    # One picture a product: the others cost twice as long again, and `make gallery` shows them all.
    os.environ.setdefault("VITRINE_SCENES", '["square"]')
    chosen = settings()
    graph, kit = build_graph(chosen), build_kit(chosen)
    shots = photographs(kit, console.print)
    with Stack(chosen, file_roots=shots.folders, flower=False, say=console.print) as stack:
        database = open_database(stack.settings.database_url, application="vitrine demo")
        watch = Watch(database, graph, shots.events)
        timeline, presentations = Timeline(database, graph), Presentations(database)
        assets = Assets(stack.settings.assets_url)
        page = Page(_FOLDER, shots.events, about(graph, kit, shots), presentations, timeline, assets)
        with Publisher(stack.settings.broker_url) as publisher:
            published = publisher.publish(shots.events)
        console.print(f"published {published} events, {watch.known} of them known from before")
        again = Again(Replays(database, graph), chosen.home / "demo-graph", graph.signature)
        if watch.known and again.begin():
            console.print("this release computes some of it otherwise: what is there is replayed")
        display = Display(console, began, presentations)
        standing = _follow(stack, watch, timeline, page, display, again)
        search = open_search(stack.settings, record=False)
        asked = list(ask(search, presentations, assets))
        waiting = Reviews(database, graph).pending()
        page.write(standing, monotonic() - began, asked, waiting)
        again.remember()
        database.dispose()
    _conclude(console, standing, shots.left_out, monotonic() - began)


class Again:
    """The replay of what an earlier release left in the demo's database, known by its graph's signature."""

    def __init__(self, replays: Replays, file: Path, signature: str) -> None:
        self._replays = replays
        self._file = file
        self._signature = signature
        self._replay: int | None = None

    def begin(self) -> bool:
        """Start a replay where the last demo here had another graph; whether one was started."""
        if self._file.exists() and self._file.read_text() == self._signature:
            return False
        self._replay = self._replays.create(Request())
        return True

    @property
    def done(self) -> bool:
        return self._replay is None or all(
            one["state"] == "done" for one in self._replays.progress(self._replay)
        )

    def remember(self) -> None:
        """Everything is as this release makes it."""
        self._file.write_text(self._signature)


def _follow(
    stack: Stack, watch: Watch, timeline: Timeline, page: Page, display: Display, again: Again
) -> Standing:
    """Show the progress until every event has its verdict."""
    deadline = monotonic() + _PATIENCE_S
    on_page, page_due = 0, monotonic()
    with display:
        while True:
            standing = watch.look()
            display.update(standing)
            if standing.complete and again.done and not _unread(stack.settings.broker_url):
                return standing
            # Until a replay has ended, some documents are still of an earlier release's form.
            if again.done and monotonic() >= page_due and len(standing.finished) > on_page:
                page.write(standing, seconds=None)
                on_page, page_due = len(standing.finished), monotonic() + _PAGE_EVERY_S
            processes = stack.statuses()
            if monotonic() > deadline or any(process.failures >= _HOPELESS for process in processes):
                raise Stuck(stuck(standing, timeline.status(), processes))
            sleep(_POLL_S)


def _unread(broker_url: str) -> int:
    """How many events the broker still holds."""
    with Connection(broker_url) as connection:
        try:
            return int(QUEUE.bind(connection.default_channel).queue_declare(passive=True).message_count)
        except ChannelError:
            return 0  # an empty list does not exist on Redis


def _conclude(console: Console, standing: Standing, left_out: tuple[LeftOut, ...], seconds: float) -> None:
    console.print()
    console.print(summary(standing))
    verdicts = Counter(product.verdict for product in standing.finished)
    told = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    console.print(f"\n{standing.events} products: {told}; {seconds:.0f} s in all.")
    if standing.computed:
        console.print(
            f"{standing.computed} results were computed, {standing.there_before} were there before."
        )
    else:
        console.print(f"Nothing was computed: all {standing.there_before} results were there already.")
    if left_out:
        console.print(f"\n{report_left_out(left_out)}", markup=False, soft_wrap=True)
    console.print(f"Look at {(_FOLDER / 'index.html').absolute().as_uri()}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
