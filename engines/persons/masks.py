"""A person's mask, from a model's coarse raster to the picture's own edges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.protocols import RGB, Alpha

_FINE = 512
"""The filter's own raster: what it finds varies slowly, and finer costs time and shows nothing (He & Sun 2015,
https://arxiv.org/abs/1505.00996)."""

_SMOOTH = 3e-4
"""Variance of channels in [0, 1] under which a place is flat: it takes its neighbours' mean."""

Floats = npt.NDArray[np.float32]


def refined(picture: RGB, coarse: Alpha, reach: float) -> Alpha:
    """``coarse`` (H, W) with its edges where the picture has them (guided filter, He et al. 2010).

    ``reach`` in pixels is how far off an edge may be: farther inside or outside nothing changes.
    """
    import cv2

    height, width = coarse.shape
    scale = min(1.0, _FINE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    radius = max(1, round(reach * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
    mask = cv2.resize(coarse, size, interpolation=cv2.INTER_AREA)
    slope, level = _coefficients(small, mask, radius)
    fitted = np.empty((height, width), np.float32)
    fitted[:] = cv2.resize(level, (width, height), interpolation=cv2.INTER_LINEAR)
    for channel in range(3):
        wide = cv2.resize(slope[channel], (width, height), interpolation=cv2.INTER_LINEAR)
        fitted += wide * picture[..., channel]
    # Far from the edge the raster is right, whatever the colours are like.
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    inside = cv2.resize(cv2.erode(mask, kernel), (width, height), interpolation=cv2.INTER_LINEAR)
    outside = cv2.resize(cv2.dilate(mask, kernel), (width, height), interpolation=cv2.INTER_LINEAR)
    # What is nearly all or nothing is: a veil over the whole background shows at once.
    sure = np.clip((fitted - np.float32(0.1)) / np.float32(0.8), 0, 1)
    return np.asarray(np.clip(sure, np.where(inside > 0.9, 1, 0), np.where(outside < 0.1, 0, 1)), np.float32)


def _coefficients(guide: Floats, mask: Floats, radius: int) -> tuple[list[Floats], Floats]:
    """The three slopes, for channels in [0, 255], and the level, of the plane that fits the mask best around each
    pixel of the guide."""
    import cv2

    def mean(values: Floats) -> Floats:
        return np.asarray(cv2.blur(values, (2 * radius + 1, 2 * radius + 1)))

    red, green, blue = (np.ascontiguousarray(guide[..., channel]) for channel in range(3))
    r, g, b, m = mean(red), mean(green), mean(blue), mean(mask)
    rr, gg, bb = (mean(x * x) - y * y + np.float32(_SMOOTH) for x, y in ((red, r), (green, g), (blue, b)))
    rg, rb, gb = mean(red * green) - r * g, mean(red * blue) - r * b, mean(green * blue) - g * b
    rm, gm, bm = mean(red * mask) - r * m, mean(green * mask) - g * m, mean(blue * mask) - b * m
    # The inverse of the symmetric 3 x 3 covariance, by its cofactors.
    i, j, k = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    n, o, p = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    one = np.float32(1) / (rr * i + rg * j + rb * k)
    slopes = [(i * rm + j * gm + k * bm) * one, (j * rm + n * gm + o * bm) * one, (k * rm + o * gm + p * bm) * one]
    level = m - slopes[0] * r - slopes[1] * g - slopes[2] * b
    return [mean(slope) / np.float32(255) for slope in slopes], mean(level)
