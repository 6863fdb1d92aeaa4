"""A z-buffer in numpy: which triangle is seen at the middle of each pixel, and where in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_CANDIDATES = 4_000_000
"""How many pairs of triangle and pixel are tried at once."""


@dataclass(frozen=True, slots=True)
class Seen:
    """``face`` (H, W): the triangle seen, -1 where there is none. ``shares`` (H, W, 3) of its corners. ``depth``
    (H, W): metres from the camera, infinite where nothing is seen."""

    face: npt.NDArray[np.int64]
    shares: Floats
    depth: Floats

    def of(self, values: Floats, faces: npt.NDArray[np.integer]) -> Floats:
        """(H, W, K) of values (V, K) at the points of the mesh; zeros where nothing is seen."""
        corners = values[faces[np.maximum(self.face, 0)]]
        mixed = np.einsum("hwc,hwck->hwk", self.shares, corners)
        return np.asarray(np.where((self.face >= 0)[..., None], mixed, 0), np.float32)


def rasterised(points: Floats, faces: npt.NDArray[np.integer], width: int, height: int) -> Seen:
    """``points`` (V, 3) are pixels and depth, as a camera projects them; the middle of the first pixel is at 0.5.

    Shares are mixed in perspective. Of triangles at the same depth the one listed first is seen.
    """
    corners = points[faces].astype(np.float64)
    low = np.floor(corners[..., :2].min(1) - 0.5).astype(np.int64)
    high = np.ceil(corners[..., :2].max(1) - 0.5).astype(np.int64)
    low = np.maximum(low, 0)
    high = np.minimum(high, (width - 1, height - 1))
    spans = high - low + 1
    drawn = np.flatnonzero((spans > 0).all(1))
    side = np.zeros(len(faces), np.int64)
    side[drawn] = 2 ** np.ceil(np.log2(spans[drawn].max(1))).astype(np.int64)
    best = np.full(height * width, np.inf)
    face = np.full(height * width, -1, np.int64)
    shares = np.zeros((height * width, 3), np.float32)
    for size in np.unique(side[drawn]):
        these = drawn[side[drawn] == size]
        step = max(1, _CANDIDATES // int(size * size))
        for start in range(0, len(these), step):
            _draw(these[start : start + step], int(size), corners, low, (best, face, shares), width, height)
    return Seen(
        face.reshape(height, width),
        shares.reshape(height, width, 3),
        best.reshape(height, width).astype(np.float32),
    )


def _draw(
    these: npt.NDArray[np.int64],
    size: int,
    corners: npt.NDArray[np.float64],
    low: npt.NDArray[np.int64],
    onto: tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], Floats],
    width: int,
    height: int,
) -> None:
    best, face, shares = onto
    rows, columns = np.divmod(np.arange(size * size), size)
    x = low[these, 0, None] + columns
    y = low[these, 1, None] + rows
    a, b, c = (corners[these, k] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    safe = np.where(np.abs(area) < 1e-12, np.inf, area)[:, None]

    def edge(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        across = (q[:, 0] - p[:, 0])[:, None] * (y + 0.5 - p[:, 1, None])
        down = (q[:, 1] - p[:, 1])[:, None] * (x + 0.5 - p[:, 0, None])
        return np.asarray((across - down) / safe)

    wa, wb = edge(b, c), edge(c, a)
    wc = 1 - wa - wb
    inside = (wa >= 0) & (wb >= 0) & (wc >= 0) & (x < width) & (y < height) & (np.abs(area) >= 1e-12)[:, None]
    which, where = np.nonzero(inside)
    flat = np.stack([wa[inside], wb[inside], wc[inside]], -1)
    over = flat / corners[these[which], :, 2]
    depth = 1 / over.sum(1)
    pixel = y[which, where] * width + x[which, where]
    order = np.lexsort((these[which], depth, pixel))
    first = order[np.r_[True, np.diff(pixel[order]) > 0]] if len(order) else order
    nearer = first[depth[first] < best[pixel[first]]]
    at = pixel[nearer]
    best[at] = depth[nearer]
    face[at] = these[which[nearer]]
    shares[at] = (over[nearer] * depth[nearer, None]).astype(np.float32)
