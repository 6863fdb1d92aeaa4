"""``python -m bench``: every measurement, then the table."""

from __future__ import annotations

import logging
import platform
import sys

from rich.console import Console
from rich.table import Table

from bench.engines import engines
from bench.ground import Ground, prepared
from bench.intake import intake
from bench.latency import latency
from bench.replay import planning, unchanged
from bench.stages import stages


def main() -> int:
    logging.disable(logging.INFO)
    console = Console(width=None if sys.stdout.isatty() else 150)
    with prepared() as ground:
        console.print("intake …")
        intake(ground)
        console.print("stages …")
        cost_ms = stages(ground)
        console.print("latency …")
        latency(ground)
        console.print("replays …")
        planning(ground)
        unchanged(ground, cost_ms / 1000)
        console.print("engines …")
        engines(ground)
        console.print(_table(ground))
    return 0 if all(row.met is not False for row in ground.rows) else 1


def _table(ground: Ground) -> Table:
    table = Table(
        title=f"{platform.machine()}, Python {platform.python_version()}, Postgres with fsync",
        show_lines=True,
    )
    for column in ("measured", "value", "meant to be", "", "notes"):
        table.add_column(column)
    for row in ground.rows:
        verdict = {True: "yes", False: "NO", None: ""}[row.met]
        table.add_row(row.name, row.value, row.aim, verdict, row.notes)
    return table


if __name__ == "__main__":
    sys.exit(main())
