"""How well a ranking finds what is right: recall, reciprocal rank and nDCG over queries, with 95% intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.evaluation.metrics import Booleans, Floats, Integers, Interval, bootstrap

_AT = 10


@dataclass(frozen=True, slots=True)
class RankingScores:
    """Of so many queries: the share with something right among the first k, the mean reciprocal rank of the first
    that is right, and of the first ten the share that is right and the discounted gain (Järvelin and Kekäläinen
    2002) as a share of the best possible."""

    queries: int
    gallery: int
    recall_1: Interval
    recall_5: Interval
    recall_10: Interval
    mrr: Interval
    precision_10: Interval
    ndcg_10: Interval


def ranks(scores: Floats, right: Booleans) -> Integers:
    """The rank from 1 of the first right item of each query; of equal scores the wrong come first.

    ``scores`` and ``right`` are (queries, items). An item at minus infinity is no part of a query's gallery.
    """
    ordered = np.take_along_axis(right, _order(scores, right), axis=1)
    found: Integers = (ordered.argmax(axis=1) + 1).astype(np.int64)
    return found


def measure(scores: Floats, right: Booleans) -> RankingScores:
    """All measures with bootstrap intervals over queries. Raises ValueError for a query without a right item."""
    if not right.any(axis=1).all():
        raise ValueError("a query has nothing right to find")
    found = ranks(scores, right)
    hits = np.take_along_axis(right, _order(scores, right), axis=1)[:, :_AT].astype(np.float64)
    gains = 1 / np.log2(np.arange(2, hits.shape[1] + 2))
    best = np.array([gains[: min(_AT, int(row.sum()))].sum() for row in right])
    return RankingScores(
        queries=len(scores),
        gallery=int(np.isfinite(scores).sum(axis=1).max()),
        recall_1=_mean((found <= 1).astype(np.float64)),
        recall_5=_mean((found <= 5).astype(np.float64)),
        recall_10=_mean((found <= 10).astype(np.float64)),
        mrr=_mean(1 / found),
        precision_10=_mean(hits.mean(axis=1)),
        ndcg_10=_mean((hits @ gains) / best),
    )


def _order(scores: Floats, right: Booleans) -> npt.NDArray[np.intp]:
    return np.lexsort((right, -scores), axis=1)


def _mean(values: Floats) -> Interval:
    return bootstrap(lambda draw: float(values[draw].mean()), len(values))
