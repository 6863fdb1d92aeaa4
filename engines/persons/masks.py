"""A person's mask, from a model's coarse raster to the picture's own edges."""

from __future__ import annotations

from math import ceil

import numpy as np
import numpy.typing as npt

from engines.looks.regions import bounds
from engines.protocols import RGB, Alpha

_FINE = 400
"""The filter's own raster: what it finds varies slowly, and finer costs time and shows nothing (He & Sun 2015,
https://arxiv.org/abs/1505.00996)."""

_SMOOTH = 3e-4
"""Variance of channels in [0, 1] under which a place is flat: it takes its neighbours' mean."""

_GLOW, _FULL = 0.35, 0.7
"""What the filter gives flat ground near a body, and what it gives the body there: looked at on twelve photos."""

_NOTHING, _FAR = 0.02, 0.1
"""Under the first the raster shows nobody; so near to one or zero all around a place, it is sure of it."""

Floats = npt.NDArray[np.float32]


def refined(picture: RGB, coarse: Alpha, reach: float) -> Alpha:
    """``coarse`` (H, W) with its edges where the picture has them (guided filter, He et al. 2010).

    ``reach`` in pixels is how far off an edge may be: farther inside or outside nothing changes.
    """
    found = bounds(coarse > _NOTHING)
    mask = np.zeros_like(coarse)
    if found is not None:
        left, top, right, bottom = found
        room = ceil(2 * reach)
        part = slice(max(0, top - room), bottom + room), slice(max(0, left - room), right + room)
        mask[part] = _refined(picture[part], coarse[part], reach)
    return mask


def _refined(picture: RGB, coarse: Alpha, reach: float) -> Alpha:
    import cv2

    height, width = coarse.shape
    scale = min(1.0, _FINE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    radius = max(1, round(reach * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
    mask: Floats = np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_AREA), np.float32)
    # Far from the edge the raster is right, whatever the colours are like.
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    floor = (cv2.erode(mask, kernel) > 1 - _FAR).astype(np.float32)
    ceiling = (cv2.dilate(mask, kernel) > _FAR).astype(np.float32)
    layers = np.concatenate(
        [*_coefficients(small, mask, radius), floor[..., None], ceiling[..., None]], axis=-1
    )
    plane, limits = (
        cv2.resize(np.ascontiguousarray(some), (width, height), interpolation=cv2.INTER_LINEAR)
        for some in (layers[..., :4], layers[..., 4:])
    )
    fitted = plane[..., 3] + np.einsum("hwc,hwc->hw", plane[..., :3], picture, dtype=np.float32)
    # Flat ground beside a body keeps a little of it: a glow that shows at once in a composite.
    sure = np.clip((fitted - np.float32(_GLOW)) / np.float32(_FULL - _GLOW), 0, 1)
    return np.asarray(np.clip(sure, limits[..., 0], limits[..., 1]), np.float32)


def _coefficients(guide: Floats, mask: Floats, radius: int) -> list[Floats]:
    """(H, W, 3) slopes, for channels in [0, 255], and (H, W, 1) levels, of the plane that fits the mask best around
    each pixel of the guide."""
    import cv2

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.blur(values, (2 * radius + 1, 2 * radius + 1)))

    both = np.concatenate([guide, mask[..., None]], axis=-1)
    r, g, b, m = cv2.split(mean(both))
    squares = mean(guide * guide)
    rr, gg, bb = cv2.split(squares)
    rg, gb, rb = cv2.split(mean(guide * np.roll(guide, -1, axis=-1)))
    rm, gm, bm = cv2.split(mean(guide * mask[..., None]))
    smooth = np.float32(_SMOOTH)
    rr, gg, bb = rr - r * r + smooth, gg - g * g + smooth, bb - b * b + smooth
    rg, gb, rb = rg - r * g, gb - g * b, rb - r * b
    rm, gm, bm = rm - r * m, gm - g * m, bm - b * m
    # The inverse of the symmetric 3 x 3 covariance, by its cofactors.
    i, j, k = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    n, o, p = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    one = np.float32(1) / (rr * i + rg * j + rb * k)
    x, y, z = (
        (i * rm + j * gm + k * bm) * one,
        (j * rm + n * gm + o * bm) * one,
        (k * rm + o * gm + p * bm) * one,
    )
    plane = mean(np.stack([x, y, z, m - x * r - y * g - z * b], axis=-1))
    return [plane[..., :3] / np.float32(255), plane[..., 3:]]
