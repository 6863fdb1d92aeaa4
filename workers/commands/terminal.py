"""What goes to the terminal: tables and JSON, whole ids everywhere, nothing that could steer the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

# A pipe has no width: nothing is folded or cut there.
_PIPE_WIDTH = 100_000


def console(*, stderr: bool = False) -> Console:
    """A console without markup: what it prints comes from merchants."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


def print_json(value: Any) -> None:
    """One JSON document; times in ISO 8601."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_as_json))


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, set | frozenset | tuple):
        return sorted(value)
    return str(value)


def table(*columns: str, right: Sequence[str] = (), title: str = "") -> Table:
    """An empty table; a cell that is too wide for the terminal is folded, never cut."""
    made = Table(
        box=box.SIMPLE_HEAD,
        title=title or None,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def cell(value: Any, style: str = "") -> Text:
    """Text for a table, a time as its age, None as nothing."""
    if value is None:
        return Text("")
    if isinstance(value, datetime):
        return Text(ago(value), style)
    if isinstance(value, float):
        return Text(f"{value:.3g}", style)
    return Text(harmless(str(value)), style)


def rows(made: Table, lines: Iterable[Sequence[Any]]) -> Table:
    """``made`` with ``lines`` as its rows."""
    for line in lines:
        made.add_row(*(value if isinstance(value, Text) else cell(value) for value in line))
    return made


def harmless(text: str) -> str:
    """Without escape sequences, bidirectional marks and the like, which would steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def ago(moment: datetime) -> str:
    """How long ago, in one unit."""
    return f"{span((datetime.now(UTC) - moment).total_seconds())} ago"


def span(seconds: float) -> str:
    """A duration in one unit: 0.4 s, 12 s, 7 min, 3 h, 5 d."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    for unit, size, below in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < below:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


STATE_STYLES = {
    "done": "green",
    "reused": "green",
    "running": "cyan",
    "ready": "cyan",
    "waiting": "dim",
    "skipped": "yellow",
    "degraded": "yellow",
    "parked": "red",
    "rejected": "red",
    "superseded": "dim",
    "withdrawn": "dim",
}


def state(name: str) -> Text:
    """A state or verdict in its colour."""
    return Text(name, STATE_STYLES.get(name, ""))
