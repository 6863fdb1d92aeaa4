"""``python -m bench``: every measurement, then the table."""

from __future__ import annotations

import logging
import sys

from rich.console import Console

from bench.engines import engines
from bench.ground import prepared, table
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
        console.print(table(ground.rows))
    return 0 if all(row.met is not False for row in ground.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
