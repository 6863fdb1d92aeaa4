"""``python -m bench.index``: every measurement of the index, or the parts that are named, then the table.

The parts are ``recall``, ``layout``, ``server`` and ``ledger``. At 100,000 products all of them take about
an hour on two cores; ``--products`` asks for fewer.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from bench.ground import Ground, Row, prepared, table
from bench.index.layout import layout
from bench.index.ledger import comparing, outcomes
from bench.index.recall import recall
from bench.index.server import server

_PARTS = ("recall", "layout", "server", "ledger")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.index", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *_PARTS], metavar="PART")
    parser.add_argument("--products", type=int, default=100_000)
    asked = parser.parse_args()
    parts, count = asked.parts or _PARTS, asked.products
    logging.disable(logging.INFO)
    console = Console(width=None if sys.stdout.isatty() else 150)
    with prepared() as ground:
        for part in parts:
            console.print(f"{part} …")
            with tempfile.TemporaryDirectory(prefix="vi-") as folder:
                for row in _rows(part, ground, Path(folder), count):
                    ground.rows.append(row)
                    console.print(f"  {row.name}: {row.value} ({row.notes})", highlight=False)
        console.print(table(ground.rows))
    return 0 if all(row.met is not False for row in ground.rows) else 1


def _rows(part: str, ground: Ground, folder: Path, count: int) -> Iterator[Row]:
    match part:
        case "recall":
            yield from recall(folder, count)
        case "layout":
            yield from layout(folder, count)
        case "server":
            yield from server(folder, (count // 100, count // 10, count))
        case "ledger":
            yield from outcomes(ground)
            yield from comparing(ground, (count // 10, count, 10 * count))


if __name__ == "__main__":
    sys.exit(main())
