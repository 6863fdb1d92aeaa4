"""What the demo says on the terminal: progress while it runs, an account of what is stuck, a summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from demo.watch import Finished, StageCount, Standing
from storage.presentations import Presentations
from workers.supervisor import Status

_PLAIN_EVERY_S: Final = 5.0
_FIRST: Final = 6


class Display(AbstractContextManager["Display"]):
    """Bars on a terminal, a plain line every few seconds elsewhere. ``began`` is ``monotonic()`` at the start."""

    def __init__(self, console: Console, began: float, presentations: Presentations) -> None:
        self._console = console
        self._presentations = presentations
        self._began = began
        self._spoke = began
        self._shown: set[tuple[str, str]] = set()
        self._progress = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:>3.0f}/{task.total:<3.0f}"),
            TextColumn("[dim]{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, standing: Standing) -> None:
        """Show how everything stands now."""
        self._bar("products", len(standing.finished), standing.events, f"{standing.accepted} accepted")
        for stage in standing.stages:
            self._bar(stage.name, stage.settled, stage.total, _note(stage))
        for product in standing.finished[: len(self._shown) + 1]:
            if product.at >= standing.since:
                self._introduce(product)
        if not self._console.is_terminal and monotonic() - self._spoke >= _PLAIN_EVERY_S:
            self._spoke = monotonic()
            stages = "  ".join(f"{s.name} {s.settled}/{s.total}" for s in standing.stages)
            self._say(f"products {len(standing.finished)}/{standing.events}  {stages}")

    def _introduce(self, product: Finished) -> None:
        """A line for one of the first finished products: its caption and its tags."""
        name = (product.source, product.product_id)
        if name in self._shown or len(self._shown) >= _FIRST:
            return
        self._shown.add(name)
        document = self._presentations.read(product.product_id, product.source)
        if document is None:
            return
        caption = next((i["caption"]["en"] for i in document["images"] if i.get("caption")), "no caption")
        tags = ", ".join(f"{tag['en']} {tag['confidence']:.0%}" for tag in document.get("tags") or ())
        self._say(f"{document['title']}: {product.verdict}. {caption} {tags or 'No tag is certain enough.'}")

    def _say(self, line: str) -> None:
        self._progress.console.print(
            f"[dim]{monotonic() - self._began:6.1f} s[/]  {escape(line)}", soft_wrap=True, highlight=False
        )

    def _bar(self, name: str, completed: int, total: int, note: str) -> None:
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(name, total=total, note="")
        self._progress.update(self._bars[name], completed=completed, note=note)


def stuck(standing: Standing, status: Mapping[str, Any], processes: Iterable[Status]) -> str:
    """An account of what is not finished and of who should have done it."""
    lines = [f"{len(standing.finished)} of {standing.events} products have their verdict. Of the stages:"]
    lines += [f"  {s.name:<9} {s.settled} of {s.total} settled, {s.running} running" for s in standing.stages]
    if standing.accepted < standing.events:
        lines.append(f"{standing.events - standing.accepted} events were not accepted yet by the intake.")
    lines += [
        f"Queue {queue['queue']}, {queue['lane']}: {queue['ready']} ready, {queue['running']} running, "
        f"the oldest waits for {queue['oldest_s']:.0f} s"
        for queue in status["queues"]
    ]
    for process in processes:
        lines.append(
            f"Process {process.name}: {process.state}, restarted {process.restarts} times; see {process.log}"
        )
        if process.failures:
            lines += [f"    {line}" for line in process.last_lines]
    return "\n".join(lines)


def summary(standing: Standing) -> Table:
    """What each stage did, as a table."""
    table = Table(title="Stages", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in ("stage", "engine"):
        table.add_column(heading)
    for heading in ("computed", "reused", "there before", "parked", "skipped", "mean s"):
        table.add_column(heading, justify="right")
    for stage in standing.stages:
        counts = (stage.computed, stage.reused, stage.there_before, stage.parked, stage.skipped)
        mean = "" if stage.seconds is None else f"{stage.seconds:.2f}"
        engine = stage.engine.partition("@")[0]
        table.add_row(stage.name, engine, *(str(n) if n else "[dim]·[/]" for n in counts), mean)
    return table


def _note(stage: StageCount) -> str:
    parts = [(stage.there_before, "there before"), (stage.reused, "reused"), (stage.parked, "parked")]
    parts += [(stage.skipped, "skipped"), (stage.running, "running")]
    return ", ".join(f"{count} {what}" for count, what in parts if count)
