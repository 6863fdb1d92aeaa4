"""People and faces from a single-shot detector's raw answers (BlazeFace, https://arxiv.org/abs/1907.05047)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.persons.crops import Square
from engines.protocols.fitting import Points

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Found:
    """Something a detector found: how sure it is in [0, 1], its box's corners (2, 2), its points (K, 2), in pixels."""

    score: float
    box: Points
    points: Points


def anchors(side: int, strides: Sequence[int]) -> Floats:
    """(N, 2): x and y of the middle of every cell in [0, 1], twice for each layer of that stride."""
    rows: list[Floats] = []
    for stride in sorted(set(strides)):
        cells = side // stride
        middles = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        y, x = np.meshgrid(middles, middles, indexing="ij")
        rows.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), 2 * list(strides).count(stride), axis=0))
    return np.concatenate(rows)


def decode(
    encodings: Floats, logits: Floats, at: Floats, cells: int, square: Square, least: float, overlap: float
) -> list[Found]:
    """What is found with at least the score ``least``, best first.

    ``encodings`` (N, 4 + 2K) are the box's middle, its width and height, and K points, in cells of the raster and
    from their anchor. Boxes that overlap a surer one by more than ``overlap`` (intersection over union) are it once
    more.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits, -50, 50)))
    order = np.argsort(-scores, kind="stable")
    kept: list[Found] = []
    for row in order[: np.count_nonzero(scores >= least)]:
        middle = encodings[row, :2] + at[row] * cells
        half = encodings[row, 2:4] / 2
        points = encodings[row, 4:].reshape(-1, 2) + at[row] * cells
        box = square.put_back(np.stack([middle - half, middle + half]), cells)
        if all(_iou(box, other.box) < overlap for other in kept):
            kept.append(Found(float(scores[row]), box, square.put_back(points, cells)))
    return kept


def _iou(one: Points, other: Points) -> float:
    shared = np.clip(np.minimum(one[1], other[1]) - np.maximum(one[0], other[0]), 0, None).prod()
    both = (one[1] - one[0]).prod() + (other[1] - other[0]).prod() - shared
    return float(shared / both) if both > 0 else 0.0
