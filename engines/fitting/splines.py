"""Thin-plate splines: the smoothest map of the plane that takes some points to others.

Source: F. Bookstein, Principal Warps, IEEE PAMI 11(6), 1989; regularised as in G. Wahba, Spline Models for
Observational Data, 1990.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]
"""(H, W, 2): for every pixel of one picture, the point (x, y) of another that belongs there."""

_STEP = 8
"""Pixels between the points at which a spline is worked out; between them it is as good as linear."""


@dataclass(frozen=True, slots=True)
class Spline:
    """Takes points (N, 2) near ``centres`` to where they belong."""

    centres: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    middle: npt.NDArray[np.float64]
    scale: float

    def __call__(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        unit = (np.asarray(points, np.float64) - self.middle) / self.scale
        bent = _kernel(unit, self.centres)
        flat = np.column_stack([np.ones(len(unit)), unit])
        count = len(self.centres)
        return np.asarray(bent @ self.weights[:count] + flat @ self.weights[count:])


def spline(
    origin: npt.NDArray[np.floating], goal: npt.NDArray[np.floating], stiffness: float = 1e-3
) -> Spline:
    """The spline that takes ``origin`` (N, 2) to ``goal`` (N, 2), N at least 3 and not all on one line.

    With a ``stiffness`` over zero it may miss them a little, to bend less.
    """
    origin, goal = np.asarray(origin, np.float64), np.asarray(goal, np.float64)
    middle = origin.mean(axis=0)
    scale = float(np.abs(origin - middle).max()) or 1.0
    unit = (origin - middle) / scale
    count = len(unit)
    flat = np.column_stack([np.ones(count), unit])
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _kernel(unit, unit) + stiffness * np.eye(count)
    system[:count, count:], system[count:, :count] = flat, flat.T
    weights = np.linalg.solve(system, np.concatenate([goal, np.zeros((3, 2))]))
    return Spline(unit, weights, middle, scale)


def plane(bend: Spline, box: tuple[int, int, int, int]) -> Plane:
    """Where every pixel of the box (left, top, right, bottom) goes."""
    import cv2

    left, top, right, bottom = box
    columns, rows = (-(-(side) // _STEP) + 1 for side in (right - left, bottom - top))
    x, y = np.meshgrid(left + np.arange(columns) * _STEP, top + np.arange(rows) * _STEP)
    coarse = bend(np.column_stack([x.ravel(), y.ravel()])).reshape(rows, columns, 2).astype(np.float32)
    # Corners are sampled, not centres: pixel (i, j) lies at (i, j) / step of the coarse grid.
    grid_x, grid_y = np.meshgrid(
        np.arange(right - left, dtype=np.float32) / _STEP, np.arange(bottom - top, dtype=np.float32) / _STEP
    )
    return np.asarray(cv2.remap(coarse, grid_x, grid_y, cv2.INTER_LINEAR), np.float32)


def turned_over(there: Plane, region: npt.NDArray[np.bool_]) -> float:
    """The share of the region at which the map folds: where its Jacobian's determinant is not positive."""
    inside = region[:-1, :-1]
    if not inside.any():
        return 0.0
    across, down = there[:-1, 1:] - there[:-1, :-1], there[1:, :-1] - there[:-1, :-1]
    area = across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]
    return float(np.mean(area[inside] <= 0))


def _kernel(points: npt.NDArray[np.float64], centres: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """r squared times its logarithm, (N, M)."""
    squared = ((points[:, None] - centres[None]) ** 2).sum(axis=2)
    return np.asarray(0.5 * squared * np.log(np.maximum(squared, 1e-12)))
