"""Two catalogs as events: what a shop's export says, exactly as a catalog system would publish it."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pydantic_core import to_json

from pipeline.errors import ContractError
from pipeline.events import UPLOADED, ProductEvent, parse_event

VENDURE: Final = "urn:vitrine:demo:vendure"
OPENVTO: Final = "urn:vitrine:demo:openvto"

# Fixed, so that every run of the demo publishes the same events again.
_PUBLISHED: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SEPARATOR: Final = "|"
_COLUMNS: Final = (
    *("name", "slug", "description", "assets", "facets", "optionGroups", "optionValues", "sku", "price"),
    *("variantAssets", "variantFacets"),
)
_GARMENTS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "jackets/1": ("浅色水洗牛仔夹克", "服装 / 夹克"),
        "jackets/2": ("黑色铆钉破洞牛仔夹克", "服装 / 夹克"),
        "jackets/3": ("灰色半拉链立领卫衣", "服装 / 卫衣"),
        "jackets/4": ("复古棕色皮夹克", "服装 / 夹克"),
        "pants/1": ("深蓝直筒牛仔裤", "服装 / 裤装"),
        "pants/2": ("黑色高腰紧身裤", "服装 / 裤装"),
        "pants/3": ("黑色链条阔腿裤", "服装 / 裤装"),
        "pants/4": ("浅色牛仔背带裤", "服装 / 裤装"),
        "shirts/1": ("浅蓝牛津纺长袖衬衫", "服装 / 衬衫"),
        "shirts/2": ("蓝色佩斯利短袖衬衫", "服装 / 衬衫"),
        "shirts/3": ("白色圆领T恤", "服装 / T恤"),
        "shirts/4": ("黑色破洞T恤", "服装 / T恤"),
    }
)


def vendure_events(folder: Path) -> list[ProductEvent]:
    """The products of ``products.csv`` in Vendure's import format, with the photos of ``images/`` beside it.

    The first row of a product names it; rows below it without a name are further variants. The photos carry
    no digest, so Vitrine has to ask whether they changed. Raises ``ContractError`` that names file and line.
    """
    return [_event(VENDURE, _vendure_product(rows, folder), rows[0]) for rows in _products(folder)]


def openvto_events(folder: Path) -> list[ProductEvent]:
    """Twelve garments, each photographed from front and back, from a shop that writes Chinese.

    The digest of each photo is declared, so Vitrine can tell without asking that it has one already. The shop
    wants them in its fitting room, hence the higher tier.
    """
    return [
        _event(
            OPENVTO,
            {
                "product_id": name.replace("/", "-"),
                "title": title,
                "category": category,
                "locale": "zh-CN",
                "tier": "high",
                "images": [
                    _image(folder / "clothes" / f"{name}_{role}.jpg", position, role, declare=True)
                    for position, role in enumerate(("front", "back"))
                ],
            },
        )
        for name, (title, category) in _GARMENTS.items()
    ]


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the file and where it is."""

    file: Path
    line: int
    cells: Mapping[str, str] = field(repr=False)

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def split(self, column: str) -> list[str]:
        return [part.strip() for part in self[column].split(_SEPARATOR) if part.strip()]

    def facets(self, column: str) -> list[tuple[str, str]]:
        """``name:value`` pairs in their order."""
        pairs = [facet.partition(":") for facet in self.split(column)]
        for name, colon, value in pairs:
            if not (name and colon and value.strip()):
                raise self.broken(f"{name!r} in column {column} is no name:value pair")
        return [(name.strip(), value.strip()) for name, _, value in pairs]

    def broken(self, what: str, reason: str = "invalid-csv") -> ContractError:
        return ContractError(reason, f"{self.file}, line {self.line}: {what}")


def _products(folder: Path) -> Iterator[list[_Row]]:
    """The rows of one product after the other."""
    rows: list[_Row] = []
    for row in _rows(folder / "products.csv"):
        if row["slug"]:
            if rows:
                yield rows
            rows = [row]
        elif rows:
            rows.append(row)
        else:
            raise row.broken("a variant without a product above it; fill in name and slug")
    if rows:
        yield rows


def _rows(path: Path) -> Iterator[_Row]:
    # Not strict: the columns are padded with spaces, behind closing quotes too.
    with path.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text)
        header = [name.strip() for name in next(reader, [])]
        if missing := [name for name in _COLUMNS if name not in header]:
            raise ContractError("invalid-csv", f"{path}, line 1: column {missing[0]!r} is missing")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            row = _Row(path, reader.line_num, dict(zip(header, map(str.strip, cells), strict=False)))
            if len(cells) != len(header):
                raise row.broken(f"{len(cells)} cells under {len(header)} columns")
            yield row


def _vendure_product(rows: list[_Row], folder: Path) -> dict[str, Any]:
    first = rows[0]
    names = [*first.split("assets"), *(name for row in rows for name in row.split("variantAssets"))]
    facets = first.facets("facets")
    ours = {"category", "brand"}
    keywords = [facet for row in rows for facet in row.facets("variantFacets")]
    return {
        "product_id": first["slug"],
        "title": first["name"],
        "description": first["description"],
        "category": " / ".join(value for name, value in facets if name == "category"),
        "brand": next((value for name, value in facets if name == "brand"), ""),
        "tags": list(dict.fromkeys(value for name, value in [*facets, *keywords] if name not in ours)),
        "price": {"amount": str(min(map(_price, rows))), "currency": "USD"},
        "images": [
            _image(folder / "images" / name, position, "detail" if position else "front")
            for position, name in enumerate(dict.fromkeys(names))
        ],
        "variants": [
            {
                # The number, for the shop gives one SKU to several colours.
                "id": str(number),
                "sku": row["sku"],
                "options": _options(first, row),
                "image_ids": [Path(name).stem for name in row.split("variantAssets")],
            }
            for number, row in enumerate(rows, 1)
        ],
    }


def _price(row: _Row) -> Decimal:
    try:
        price = Decimal(row["price"])
    except InvalidOperation:
        price = Decimal("NaN")
    if not price.is_finite():
        raise row.broken(f"the price {row['price'][:50]!r} is no number")
    return price


def _options(first: _Row, row: _Row) -> dict[str, str]:
    groups, values = first.split("optionGroups"), row.split("optionValues")
    if len(groups) != len(values):
        raise row.broken(
            f"{len(values)} option values for the {len(groups)} option groups of {first['slug']!r}"
        )
    return dict(zip(groups, values, strict=True))


def _image(path: Path, position: int, role: str, *, declare: bool = False) -> dict[str, Any]:
    image = {"id": path.stem, "url": path.absolute().as_uri(), "position": position, "role": role}
    if declare:
        image["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return image


def _event(source: str, product: Mapping[str, Any], row: _Row | None = None) -> ProductEvent:
    envelope = {
        "specversion": "1.0",
        "source": source,
        "type": UPLOADED,
        "time": _PUBLISHED.isoformat(),
        "data": {"revision": 1, **product},
    }
    # Named by its content: were the photos moved, another body under the same id would be quarantined.
    body = to_json(envelope | {"id": hashlib.sha256(to_json(envelope)).hexdigest()})
    try:
        event = parse_event(body)
    except ContractError as error:
        if row is None:
            raise
        raise row.broken(f"{error.field.removeprefix('data.')}: {error.args[0]}", error.reason) from None
    assert isinstance(event, ProductEvent)
    return event
