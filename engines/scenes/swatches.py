"""The colours of a product as a setting takes them up: few, in CIELAB, largest first."""

from __future__ import annotations

import numpy as np
from PIL import Image

from engines.looks.colours import lab
from engines.looks.cutouts import solid
from engines.protocols import RGB, Alpha

Swatch = tuple[tuple[float, float, float], float]
"""L*, a*, b* and a share in [0, 1]."""

_MOST = 5
_SIDE = 96
"""Pixels a side at which colours are counted: what is smaller tints no set."""


def swatches(colours: RGB, alpha: Alpha) -> tuple[Swatch, ...]:
    """Up to five colours of the pixels (H, W, 3) that ``alpha`` surely covers; none where it covers none.

    Source: P. Heckbert, "Color Image Quantization for Frame Buffer Display", 1982 (median cut, by Pillow).
    """
    size = (_SIDE, _SIDE)
    small = np.asarray(Image.fromarray(colours).resize(size, Image.Resampling.BOX))
    cover = np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.BOX))
    pixels = small[solid(cover) & (cover > 0.98)]
    if not len(pixels):
        return ()
    cut = Image.fromarray(pixels[np.newaxis]).quantize(_MOST, Image.Quantize.MEDIANCUT, kmeans=2)
    counts = np.bincount(np.asarray(cut).ravel(), minlength=_MOST)
    order = [int(index) for index in np.argsort(-counts, kind="stable") if counts[index]]
    flat = np.array(cut.getpalette(), np.float64).reshape(-1, 3)
    return tuple(
        (
            (round(float(lightness), 2), round(float(a), 2), round(float(b), 2)),
            round(int(counts[index]) / len(pixels), 4),
        )
        for index, (lightness, a, b) in zip(order, lab(flat[order]), strict=True)
    )
