"""What a shop's own export says of the products in its photographs."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from engines.protocols import CatalogFacts

_EXPORT = "products.csv"


def vendure_facts(folder: Path) -> Mapping[str, CatalogFacts]:
    """The facts of each photograph by file name, from a ``products.csv`` in Vendure's import format.

    Empty where the folder holds none. A row without a name is a further variant of the product above it.
    """
    export = folder / _EXPORT
    if not export.exists():
        return {}
    found: dict[str, CatalogFacts] = {}
    with export.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text)
        header = [name.strip() for name in next(reader, [])]
        for cells in reader:
            row = dict(zip(header, map(str.strip, cells), strict=False))
            if row.get("name"):
                facts = _facts(row)
                found |= dict.fromkeys(filter(None, row.get("assets", "").split("|")), facts)
    return found


def _facts(row: Mapping[str, str]) -> CatalogFacts:
    facets = [facet.partition(":")[::2] for facet in row.get("facets", "").split("|") if facet]
    return CatalogFacts(
        title=row["name"],
        description=row.get("description", ""),
        category=" / ".join(value for name, value in facets if name == "category"),
        brand=next((value for name, value in facets if name == "brand"), ""),
        tags=tuple(value for name, value in facets if name not in ("category", "brand")),
    )
