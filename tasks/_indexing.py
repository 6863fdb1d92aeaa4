"""Make the index agree with what Postgres says now: read, write, remember. Safe to do at any time, and again.

Level-triggered: it looks at how a product stands, never at what just happened to it. Two that do it at once, or
one that was paused in the middle, cannot leave the older state behind: every write carries the version of what was
read, and the index keeps the younger. What a late write creates again after a removal is deleted again by
``workers/keeper.py``, and never believed by a search in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Engine

from engines.words import sparse
from pipeline.crash import crash_point
from pipeline.events import Product
from storage.indexable import Embedded, Indexable, IndexedPoints, read
from storage.spaces import Role, Space, Spaces
from storage.vectors import PHOTOS, TEXT, Point, Sparse, VectorIndex
from tasks.embed_image import EmbeddedImage
from tasks.embed_text import EmbeddedText

_DESCRIPTION = 2_000
"""Characters of a description whose words are indexed."""


def synchronise(database: Engine, index: VectorIndex, products: Sequence[int]) -> list[Space]:
    """Bring these products, by row id, up to date in every space that is filled; returns the spaces.

    What was written of a product as it stands now is not written again: ``IndexedPoints.forget`` it first where
    that is wanted.

    Raises IndexDown where Qdrant cannot be reached: nothing is lost, it is simply not done yet.
    """
    spaces = Spaces(database).active()
    standing = read(database, products, [space.engine for space in spaces])
    points = IndexedPoints(database)
    for space in spaces:
        known = points.known(space, products)
        changed = [one for one in standing if known.get(one.id, -1) < one.version]
        written = [point(one, one.embedded[space.engine]) for one in changed if _belongs(one, space)]
        gone = {one.id: one.version for one in changed if not _belongs(one, space)}
        if written:
            _ensure(index, space, next(iter(written[0].dense.values())).shape[1])
            index.write(space.collection, written)
        if gone and index.exists(space.collection):
            index.delete(space.collection, gone)
        crash_point("index.written")
        points.written(space, {one.id: one.version for one in written}, gone)
    return spaces


def _belongs(one: Indexable, space: Space) -> bool:
    return one.product is not None and bool(one.embedded.get(space.engine))


def _ensure(index: VectorIndex, space: Space, dimension: int) -> None:
    index.create(space.collection, dimension)
    if space.role is Role.SERVING and index.serving() is None:
        index.serve(space.collection)


def point(one: Indexable, embedded: Embedded) -> Point:
    """What the index holds of a product in one space."""
    assert one.product is not None
    photos = [EmbeddedImage.model_validate(outcome) for outcome in embedded.photos.values()]
    dense: dict[str, npt.NDArray[np.float32]] = {}
    for name, vectors in zip(
        PHOTOS, ([p.image for p in photos], [p.cutout for p in photos if p.cutout]), strict=True
    ):
        if vectors:
            dense[name] = np.stack([vector.numbers() for vector in vectors])
    text = EmbeddedText.model_validate(embedded.text).text if embedded.text is not None else None
    if text is not None:
        dense[TEXT] = text.numbers()[None]
    return Point(
        id=one.id,
        version=one.version,
        payload=payload(one.source, one.product, one.fields),
        dense=dense,
        words=words(one.product, one.fields),
    )


def payload(source: str, product: Product, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What a search may narrow by and rank with."""
    tags = [(tag["attribute"], tag["value"]) for tag in fields.get("tags") or ()]
    return {
        "source": source,
        "product_id": product.product_id,
        "revision": product.revision,
        "category": product.category,
        "colours": sorted({value for attribute, value in tags if attribute == "colour"}),
        "price": float(product.price.amount) if product.price else None,
        "currency": product.price.currency if product.price else None,
        "availability": product.availability,
        "locale": product.locale,
        "tier": product.tier,
        "tags": sorted({f"{attribute}:{value}" for attribute, value in tags}),
    }


def words(product: Product, fields: Mapping[str, Any]) -> Sparse:
    """The words of a product as a sparse vector: the merchant's, in both languages those that were seen, and those
    printed on it."""
    seen = [word for tag in fields.get("tags") or () for word in (tag["en"], tag["zh"])]
    printed = [line["text"] for name in sorted(fields) if name.startswith("texts/") for line in fields[name]]
    found = sparse.document(
        [
            (product.title, 3.0),
            (f"{product.category} {product.brand} {' '.join(product.tags)}", 2.0),
            (" ".join(seen), 1.5),
            (" ".join(printed), 1.0),
            (product.description[:_DESCRIPTION], 1.0),
        ]
    )
    return Sparse(tuple(found.indices), tuple(found.values))
