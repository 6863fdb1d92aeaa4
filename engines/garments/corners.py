"""How a path bends: turning, corners, isthmuses, dents. Paths are (N, 2) of evenly spaced points (u, v)."""

from __future__ import annotations

import itertools

import numpy as np

from engines.garments.silhouette import Floats


def turning(path: Floats, reach: int) -> Floats:
    """(N,) degrees by which the path bends at each point, seen over ``reach`` points either way.

    Positive where a half path that runs from the top outward and down turns towards the garment: a corner that
    sticks out; negative in a dent.
    """
    n = len(path)
    at = np.arange(n)
    before, after = path - path[np.maximum(at - reach, 0)], path[np.minimum(at + reach, n - 1)] - path
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    dot = (before * after).sum(axis=1)
    return np.asarray(np.degrees(np.arctan2(cross, dot)))


def bulge(path: Floats, first: int, last: int) -> Floats:
    """(last - first + 1,) how far each point lies from the chord, positive where it sticks out."""
    chord = path[last] - path[first]
    length = float(np.hypot(*chord)) or 1.0
    away = path[first : last + 1] - path[first]
    return np.asarray(-(chord[0] * away[:, 1] - chord[1] * away[:, 0]) / length)


def isthmus(path: Floats, end: int, least: int) -> tuple[float, int]:
    """How much longer the path is than the shortest way across, from any point at least ``least`` points before
    ``end``, and that point: large at the root of a limb."""
    if end - least < 1:
        return 1.0, 0
    step = float(np.linalg.norm(np.diff(path, axis=0), axis=1).mean())
    starts = np.arange(0, end - least)
    across = np.linalg.norm(path[starts] - path[end], axis=1)
    ratio = (end - starts) * step / np.maximum(across, 1e-6)
    best = int(np.argmax(ratio))
    return float(ratio[best]), best


def dents(path: Floats) -> list[tuple[int, float, int, int]]:
    """Where the path lies deepest within its own convex hull: (point, depth, where the hull leaves it, where it
    comes back), the deepest first."""
    closed = np.vstack([path, [[-1.0, path[-1, 1]], [-1.0, path[0, 1]]]])
    hull = _hull(closed)
    on_path = sorted({0, len(path) - 1, *(i for i in hull if i < len(path))})
    found = []
    for a, b in itertools.pairwise(on_path):
        if b - a < 4:
            continue
        depth = -bulge(path, a, b)
        deepest = int(np.argmax(depth))
        found.append((a + deepest, float(depth[deepest]), a, b))
    return sorted(found, key=lambda dent: -dent[1])


def _hull(points: Floats) -> list[int]:
    import cv2

    return [int(i) for i in cv2.convexHull(points.astype(np.float32), returnPoints=False)[:, 0]]
