"""The whole search as one who ranks, for ``vitrine evaluate retrieval``: photographs as products in an index of their
own, asked as people ask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from engines.evaluation.labels import Example
from engines.evaluation.metrics import Floats
from engines.evaluation.retrieval import Gallery, Way
from engines.protocols import CatalogFacts, Embedder, Subject
from engines.words.queries import understand
from engines.words.trust import Reviewed
from pipeline.events import Product
from storage.hybrid import search
from storage.vectors import Point, VectorIndex
from tasks._indexing import payload, words
from tasks.embed_text import words_of
from tasks.tag import outcome_of
from workers.embedded import QdrantServer
from workers.search import query_of

_COLLECTION = "measured"


@contextmanager
def hybrid_way(
    name: str,
    embedder: Embedder,
    shop: Sequence[tuple[Example, Subject]],
    tagged: Sequence[Reviewed],
    among: Gallery,
    *,
    told: bool,
) -> Iterator[Way]:
    """The search over these photographs, each a product. Of the merchant's words the index holds all where it is
    ``told`` them, else none: then it has tags and printed text alone."""
    points = [
        _point(embedder, number, example, subject, reviewed, among, told=told)
        for number, ((example, subject), reviewed) in enumerate(zip(shop, tagged, strict=True))
    ]
    with TemporaryDirectory(prefix="vitrine-") as folder, QdrantServer(Path(folder) / "qdrant") as server:
        index = VectorIndex(server.url)
        index.create(_COLLECTION, embedder.dimension)
        index.write(_COLLECTION, points)

        def scores(texts: Sequence[str], _: Gallery) -> Floats:
            found = np.zeros((len(texts), len(points)))
            for row, text in zip(found, texts, strict=True):
                query = query_of(embedder, understand(text))
                for hit in search(index, _COLLECTION, query, len(points)):
                    row[hit.id - 1] = 1 + hit.score
            return found

        yield Way(name, scores)
        index.close()


def _point(
    embedder: Embedder,
    number: int,
    example: Example,
    subject: Subject,
    reviewed: Reviewed,
    among: Gallery,
    *,
    told: bool,
) -> Point:
    facts = example.facts if told else CatalogFacts()
    product = Product(
        product_id=str(number),
        revision=1,
        title=facts.title,
        description=facts.description,
        category=facts.category,
        brand=facts.brand,
        tags=facts.tags,
    )
    tagged = outcome_of(reviewed, [""])
    fields: Mapping[str, Any] = {
        "tags": tagged.model_dump(mode="json")["tags"],
        "texts/0": [{"text": line.text} for line in subject.printed],
    }
    [text] = embedder.embed_texts([words_of(product, tagged)])
    dense = {"image": among.wholes[number][None], "cutout": among.cutouts[number][None]}
    if text.any():
        dense["text"] = text[None]
    halves = {name: rows.astype(np.float16) for name, rows in dense.items()}
    return Point(number + 1, 1, payload("measured", product, fields), halves, words(product, fields))
