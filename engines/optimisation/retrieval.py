"""What an export costs in retrieval: photograph to photograph, over the same photographs by both towers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.evaluation.metrics import Interval, bootstrap
from engines.looks.heads import unit
from engines.looks.towers import Rows
from pipeline.errors import RejectedInput

NEAREST = 10
CLAIMED_LOSS = 0.3
"""Percent: what int8 costs of retrieval at most, by the claim that is tested here. What costs more is not activated."""

LEAST_PHOTOS = 334
"""So many must be measured for an activation: among fewer, one photograph alone is more than that limit."""


@dataclass(frozen=True, slots=True)
class Cost:
    """An export's rows beside fp32's.

    ``agreement`` is the share of the ten nearest that stay, ``kept`` of photographs whose nearest by fp32 is still
    among the ten. ``precision`` is the mean share of a photograph's class among its ten nearest, by fp32 and
    by the export; None without classes. ``loss`` is what is lost of that precision in percent of it, or without
    classes the percentage of photographs not kept; below zero where something is won.
    """

    cosine_mean: float
    cosine_min: float
    agreement: float
    kept: float
    precision: tuple[float, float] | None
    loss: Interval


def cost(before: Rows, after: Rows, classes: Sequence[str] | None = None) -> Cost:
    """Compare rows (N, D) of the same photographs, normalised or not. Raises RejectedInput of too few."""
    if len(before) <= NEAREST:
        raise RejectedInput(
            "too-few-photos",
            f"{len(before)} photographs to measure on have no {NEAREST} nearest each: give more",
        )
    before, after = unit(before), unit(after)
    cosines = (before * after).sum(axis=1)
    old, new = _nearest(before), _nearest(after)
    stay = (old[:, :, np.newaxis] == new[:, np.newaxis, :]).any(axis=2)
    precision = None
    lost = 100.0 * (1 - stay[:, 0])
    size = np.ones(len(lost))
    if classes is not None:
        named = np.asarray(classes)
        right, rightly = ((named[rows] == named[:, np.newaxis]).mean(axis=1) for rows in (old, new))
        if right.any():
            precision = (float(right.mean()), float(rightly.mean()))
            lost, size = 100 * (right - rightly), right
    return Cost(
        cosine_mean=float(cosines.mean()),
        cosine_min=float(cosines.min()),
        agreement=float(stay.mean()),
        kept=float(stay[:, 0].mean()),
        precision=precision,
        # A share of what fp32 finds: over photographs drawn anew both change.
        loss=bootstrap(lambda draw: float(lost[draw].sum() / max(size[draw].sum(), 1e-9)), len(lost)),
    )


def _nearest(rows: Rows) -> npt.NDArray[np.int64]:
    """(N, 10), the nearest others of each, best first; of equals the earlier."""
    found = np.empty((len(rows), NEAREST), np.int64)
    for at, row in enumerate(rows):
        near = rows @ row
        near[at] = -np.inf
        found[at] = np.argsort(-near, kind="stable")[:NEAREST]
    return found
