"""An image tower and its exports, run beside each other: their rows, and how fast each makes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from engines.looks.towers import ImageTower, OnnxTower, Pixels, Rows

Way = Callable[[Sequence[Pixels]], Rows]
"""Rows (N, D) of photographs, each (1, 3, H, W)."""

TIMED = 8
_ROUNDS = 7


def in_torch(tower: ImageTower, *, batched: bool) -> Way:
    """The tower as it was loaded, all photographs at once or one by one."""
    import torch

    def run(photos: Sequence[Pixels]) -> Rows:
        parts = [np.concatenate(photos)] if batched else photos
        with torch.inference_mode():
            rows = [tower.module(torch.from_numpy(part)).numpy() for part in parts]
        return np.concatenate(rows)

    return run


def in_onnx(tower: OnnxTower) -> Way:
    """An export, as it is served."""
    return lambda photos: tower.rows(np.concatenate(photos))


def rows_of(ways: Mapping[str, Way], photos: Iterable[Pixels]) -> dict[str, Rows]:
    """Each way's rows of all photographs, which are taken one by one and not kept."""
    found: dict[str, list[Rows]] = {name: [] for name in ways}
    for pixels in photos:
        for name, way in ways.items():
            found[name].append(way([pixels]))
    return {name: np.concatenate(rows) for name, rows in found.items()}


def speeds(ways: Mapping[str, Way], photos: Sequence[Pixels]) -> dict[str, float]:
    """Photographs a second: the medians of rounds in which the ways take turns, so that what else the machine does
    meets them all."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(_ROUNDS + 1):
        for name, way in ways.items():
            begin = time.perf_counter()
            way(photos)
            # The first round warms up.
            seconds[name] += [time.perf_counter() - begin] * (number > 0)
    return {name: len(photos) / float(np.median(taken)) for name, taken in seconds.items()}
