"""A search as one request to Qdrant: coarse recall, reranking, fusion, and what the shop has to say to it.

1. Recall: each source finds its nearest by the eight-bit copies, more than are wanted, and scores them again by the
   stored vectors.
2. Reranking: what any source recalled is put in order by the words of the product.
3. Fusion: a weighted sum of the scores (the better of the two photo vectors counts), and with it the sources' orders by
   reciprocal rank (Cormack et al. 2009), which does not care how far apart an engine's cosines lie.
4. The shop's say: wished-for values lift a product, being sold out lowers it, price and excluded values filter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from qdrant_client import models

from storage.vectors import PHOTOS, TEXT, WORDS, Sparse, VectorIndex, translated

Row = npt.NDArray[np.float32]

_RECALL = 200
_OVERSAMPLING = 2.0

# docs/evaluation/retrieval.md has what these come to; they were chosen on the 54 products of that table.
_PHOTOS, _TEXT, _WORDS, _ORDERS = 1.0, 0.2, 1.0, 0.2
_HALF = 10.0
"""The BM25 score that counts half of what the best can: about two rare words found in a title."""
_RRF_K = 10
_RRF: Mapping[str, float] = {"image": 0.5, "cutout": 1.0, WORDS: 1.0}

SOLD_OUT = -0.1
"""Added to the score of what cannot be bought now."""


@dataclass(frozen=True, slots=True)
class Narrow:
    """What a hit must be. ``all_of`` and ``none_of`` are tags, ``attribute:value``; of one attribute any will do."""

    all_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()
    price_from: float | None = None
    price_to: float | None = None
    currency: str = ""
    category: str = ""
    locale: str = ""
    tier: str = ""
    source: str = ""

    def filter(self) -> models.Filter | None:
        """As Qdrant takes it, None where nothing narrows."""
        by_attribute: dict[str, list[str]] = {}
        for tag in self.all_of:
            by_attribute.setdefault(tag.partition(":")[0], []).append(tag)
        must: list[Any] = [
            models.FieldCondition(key="tags", match=models.MatchAny(any=tags))
            for tags in by_attribute.values()
        ]
        if self.price_from is not None or self.price_to is not None:
            bounds = models.Range(gte=self.price_from, lte=self.price_to)
            must.append(models.FieldCondition(key="price", range=bounds))
        for name in ("currency", "category", "locale", "tier", "source"):
            if wanted := getattr(self, name):
                must.append(models.FieldCondition(key=name, match=models.MatchValue(value=wanted)))
        excluded: list[Any] = [
            models.FieldCondition(key="tags", match=models.MatchAny(any=list(self.none_of)))
        ]
        if not must and not self.none_of:
            return None
        return models.Filter(must=must or None, must_not=excluded if self.none_of else None)


@dataclass(frozen=True, slots=True)
class HybridQuery:
    """What to look for: ``seen`` among photos, a row for each named vector, ``said`` among products' words, and
    ``words`` literally.

    ``prefer`` lifts products that bear a tag by so much.
    """

    seen: Mapping[str, Row] = field(default_factory=dict)
    said: Row | None = None
    words: Sparse | None = None
    narrow: Narrow = Narrow()
    prefer: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """A point with its score, and what the reasons are told from. Scores of one answer may be compared, no others."""

    id: int
    score: float
    payload: Mapping[str, Any]
    photos: Mapping[str, tuple[float, int]]
    """By named vector: the best cosine to ``seen``, and of which row."""
    text: float | None
    """The cosine to ``said``."""
    shared: frozenset[int]
    """The indices that ``words`` and the product share."""


def search(index: VectorIndex, collection: str, query: HybridQuery, limit: int) -> list[Found]:
    """The best ``limit`` points, best first. Raises IndexDown where Qdrant does not answer."""
    if limit < 1:
        return []
    request = request_of(query, limit)
    with translated(collection):
        points = index.client.query_points(
            collection,
            prefetch=request.prefetch,
            query=request.query,
            query_filter=request.filter,
            limit=limit,
            with_payload=True,
            with_vectors=True,
        ).points
    return [_found(point, query) for point in points]


def request_of(query: HybridQuery, limit: int) -> models.QueryRequest:
    """The request. A query without vectors and words lists what passes the filter, by what the shop has to say."""
    recall = max(_RECALL, 4 * limit)
    narrow = query.narrow.filter()
    sources = _sources(query, recall, narrow)
    orders = dict(sources)
    if query.said is not None:
        everything = [*sources.values(), _dense(TEXT, query.said, recall, narrow)]
        orders[TEXT] = models.Prefetch(
            prefetch=everything, query=query.said.tolist(), using=TEXT, limit=recall
        )
    if not orders:
        orders[""] = sources[""] = models.Prefetch(filter=narrow, limit=recall)
    # Of the sources alone: putting everything in order once more would cost as much as all the rest.
    fused = models.Prefetch(
        prefetch=list(sources.values()),
        query=models.RrfQuery(rrf=models.Rrf(k=_RRF_K, weights=[_RRF.get(name, 1.0) for name in sources])),
        limit=recall,
    )
    # ``$score[n]`` is the score of the n-th prefetch, 0 for what it has not found.
    place = {name: f"$score[{number}]" for number, name in enumerate(orders)}
    # What Qdrant gives to the first of every order: 1 / ((place + 1) / weight + k - 1).
    first = sum(1 / (1 / _RRF.get(name, 1.0) + _RRF_K - 1) for name in sources)
    terms: list[Any] = [models.MultExpression(mult=[_ORDERS / first, f"$score[{len(orders)}]"])]
    if photos := [place[name] for name in PHOTOS if name in place]:
        terms.append(models.MultExpression(mult=[_PHOTOS, models.MaxExpression(max=photos)]))
    if TEXT in place:
        terms.append(models.MultExpression(mult=[_TEXT, place[TEXT]]))
    if WORDS in place:
        most = models.SumExpression(sum=[place[WORDS], _HALF])
        share = models.DivExpression(div=models.DivParams(left=place[WORDS], right=most))
        terms.append(models.MultExpression(mult=[_WORDS, share]))
    return models.QueryRequest(
        prefetch=[*orders.values(), fused],
        query=models.FormulaQuery(
            formula=models.SumExpression(sum=[*terms, *_say(query)]),
            defaults={f"$score[{number}]": 0.0 for number in range(len(orders) + 1)},
        ),
        filter=narrow,
        limit=limit,
    )


def _sources(query: HybridQuery, recall: int, narrow: models.Filter | None) -> dict[str, models.Prefetch]:
    found = {name: _dense(name, row, recall, narrow) for name, row in query.seen.items()}
    if query.words is not None and query.words.indices:
        sparse = models.SparseVector(indices=list(query.words.indices), values=list(query.words.values))
        found[WORDS] = models.Prefetch(query=sparse, using=WORDS, limit=recall, filter=narrow)
    return found


def _dense(name: str, row: Row, recall: int, narrow: models.Filter | None) -> models.Prefetch:
    # A photo's vector holds several rows: the query is one of them.
    numbers = row.tolist()
    return models.Prefetch(
        query=[numbers] if name in PHOTOS else numbers,
        using=name,
        limit=recall,
        filter=narrow,
        params=models.SearchParams(
            quantization=models.QuantizationSearchParams(rescore=True, oversampling=_OVERSAMPLING)
        ),
    )


def _say(query: HybridQuery) -> list[Any]:
    def lift(by: float, key: str, value: str) -> models.MultExpression:
        condition = models.FieldCondition(key=key, match=models.MatchValue(value=value))
        return models.MultExpression(mult=[by, condition])

    said = [lift(by, "tags", tag) for tag, by in query.prefer.items()]
    return [*said, lift(SOLD_OUT, "availability", "out_of_stock")]


def _found(point: models.ScoredPoint, query: HybridQuery) -> Found:
    vectors: Mapping[str, Any] = point.vector if isinstance(point.vector, dict) else {}
    photos: dict[str, tuple[float, int]] = {}
    for name, row in query.seen.items():
        if name in vectors:
            cosines = np.asarray(vectors[name], np.float32) @ row
            photos[name] = float(cosines.max()), int(cosines.argmax())
    text = None
    if query.said is not None and TEXT in vectors:
        text = float(np.asarray(vectors[TEXT], np.float32) @ query.said)
    held = frozenset(vectors[WORDS].indices) if WORDS in vectors else frozenset()
    shared = held & frozenset(query.words.indices) if query.words else frozenset()
    assert isinstance(point.id, int)
    return Found(point.id, point.score, point.payload or {}, photos, text, frozenset(shared))
