"""The kit's photographs of a shop's catalog."""

from __future__ import annotations

import csv
from pathlib import Path

from engines.kit import Kit


def photos_by_product() -> dict[str, Path]:
    """The first photograph of each product by its name."""
    kit = Kit()
    kit.fetch(["photos-vendure"])
    root = kit.path("photos-vendure")
    with (root / "products.csv").open(encoding="utf-8-sig", newline="") as stream:
        header, *rows = [[cell.strip() for cell in row] for row in csv.reader(stream)]
    named = [dict(zip(header, row, strict=False)) for row in rows]
    return {row["name"]: root / "images" / row["assets"].split("|")[0] for row in named if row["name"]}
