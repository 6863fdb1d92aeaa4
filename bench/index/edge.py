"""Qdrant's own engine in this process (``qdrant-edge-py``), asked as ``storage/vectors.py`` and ``hybrid.py`` ask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge
from qdrant_client import models

from storage.vectors import INDEXED, PHOTOS, TEXT, WORDS, Point

_KINDS = {
    models.PayloadSchemaType.KEYWORD: edge.PayloadSchemaType.Keyword,
    models.PayloadSchemaType.INTEGER: edge.PayloadSchemaType.Integer,
    models.PayloadSchemaType.FLOAT: edge.PayloadSchemaType.Float,
}


def int8() -> edge.ScalarQuantizationConfig:
    """Eight bits a number, in memory, as ``VectorIndex.create`` has it."""
    return edge.ScalarQuantizationConfig(edge.ScalarType.Int8, quantile=0.99, memory=edge.Memory.Pinned)


def deployed(folder: Path, dimension: int) -> edge.EdgeShard:
    """An empty shard laid out as ``VectorIndex.create`` lays out a collection."""
    several = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
    vectors = {
        name: edge.EdgeVectorParams(
            size=dimension,
            distance=edge.Distance.Cosine,
            multivector_config=several if name in PHOTOS else None,
            datatype=edge.VectorStorageDatatype.Float16,
            memory=edge.Memory.Cold,
        )
        for name in (*PHOTOS, TEXT)
    }
    words = edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)
    folder.mkdir(parents=True)
    made = edge.EdgeShard.create(
        str(folder),
        edge.EdgeConfig(vectors=vectors, sparse_vectors={WORDS: words}, quantization_config=int8()),
    )
    for name, kind in INDEXED.items():
        made.update(edge.UpdateOperation.create_field_index(name, _KINDS[kind]))
    return made


def write(shard: edge.EdgeShard, points: Sequence[Point]) -> None:
    """Put the points there, each unless a younger version is there, as ``VectorIndex.write`` does."""
    for point in points:
        until = edge.FieldCondition("version", range=edge.RangeFloat(lte=point.version))
        shard.update(
            edge.UpdateOperation.upsert_points([_struct(point)], condition=edge.Filter(must=[until]))
        )


def _struct(point: Point) -> edge.Point:
    vectors: dict[str, Any] = {}
    for name, rows in point.dense.items():
        numbers = np.asarray(rows, dtype=np.float32).tolist()
        vectors[name] = numbers if name in PHOTOS else numbers[0]
    if point.words is not None:
        vectors[WORDS] = edge.SparseVector(list(point.words.indices), list(point.words.values))
    return edge.Point(point.id, vectors, {**point.payload, "version": point.version})


def request(asked: models.QueryRequest, *, exact: bool = False) -> edge.QueryRequest:
    """A request of ``storage.hybrid.request_of``; ``exact`` searches without index and quantisation."""
    assert asked.limit is not None
    return edge.QueryRequest(
        limit=asked.limit,
        query=_query(asked.query, None),
        prefetches=[_prefetch(one, exact) for one in _listed(asked.prefetch)],
        with_vector=True,
        with_payload=True,
    )


def _prefetch(asked: models.Prefetch, exact: bool) -> edge.Prefetch:
    assert asked.filter is None, "the bench asks without filters"
    assert asked.limit is not None
    params = None
    if exact:
        params = edge.SearchParams(exact=True)
    elif asked.params is not None and asked.params.quantization is not None:
        told = asked.params.quantization
        params = edge.SearchParams(
            quantization=edge.QuantizationSearchParams(rescore=told.rescore, oversampling=told.oversampling)
        )
    return edge.Prefetch(
        limit=asked.limit,
        query=_query(asked.query, asked.using),
        prefetches=[_prefetch(one, exact) for one in _listed(asked.prefetch)],
        params=params,
    )


def _listed(prefetch: Any) -> list[models.Prefetch]:
    return prefetch if isinstance(prefetch, list) else [prefetch] if prefetch else []


def _query(query: Any, using: str | None) -> Any:
    match query:
        case models.RrfQuery():
            weights = query.rrf.weights
            return edge.Fusion.Rrf(k=query.rrf.k or 60, weights=list(weights) if weights else None)
        case models.FormulaQuery():
            return edge.Formula(_expression(query.formula), dict(query.defaults or {}))
        case models.SparseVector():
            return edge.Query.Nearest(edge.SparseVector(query.indices, query.values), using=using)
        case None:
            return None
    return edge.Query.Nearest(query, using=using)


def _expression(term: Any) -> edge.Expression:
    match term:
        case models.SumExpression():
            return edge.Expression.Sum([_expression(one) for one in term.sum])
        case models.MultExpression():
            return edge.Expression.Mult([_expression(one) for one in term.mult])
        case models.MaxExpression():
            return edge.Expression.Max([_expression(one) for one in term.max])
        case models.DivExpression(div=parts):
            return edge.Expression.Div(
                _expression(parts.left), _expression(parts.right), parts.by_zero_default
            )
        case models.FieldCondition(key=key, match=models.MatchValue(value=value)):
            return edge.Expression.Condition(edge.FieldCondition(key, match=edge.MatchValue(value)))
        case str():
            return edge.Expression.Variable(term)
    return edge.Expression.Constant(float(term))
