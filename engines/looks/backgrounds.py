"""What a photo shows around its product: how plain it is, and its colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import ImageFilter

from engines.looks.colours import lab, palette
from engines.looks.cutouts import shows_subject
from engines.looks.frames import shrunk
from engines.protocols import Alpha, Subject

_SIDE = 128
"""Longest side in pixels at which the background is measured."""

_RIM = 7
"""Pixels' width of the filter that keeps the product's rim and its closest shadow out."""

_LEAST_AREA, _LEAST_SHARE = 0.1, 0.75
"""Of the picture and of the background: under these nothing is said, or no colour is named."""

_SMOOTH, _EVEN = 2.0, 7.0
"""Up to these a background is plain: the mean step in ΔE from pixel to pixel, and the spread of lightness
about a slow fall of light. Looked at on 54 catalog photos: studio backdrops have 0.0 to 1.2 and 0.1 to 6.0,
rooms, grass and planks 2.4 to 9.6 or 8 to 27.
"""

_BUSY = 3.0
"""The mean step in ΔE from which a background of several colours is busy."""


@dataclass(frozen=True, slots=True)
class Background:
    """``colour`` is a colour's key in the vocabulary, None where there are several."""

    colour: str | None
    plain: bool
    busy: bool


def background(subject: Subject) -> Background | None:
    """Measured outside the cut-out; None where it shows no product or leaves no room for a background."""
    if not shows_subject(subject.alpha):
        return None
    small = np.asarray(shrunk(subject.picture, _SIDE))
    outside = _outside(subject.alpha)
    if outside.mean() < _LEAST_AREA:
        return None
    colours = lab(small.reshape(-1, 3).astype(np.float64)).reshape(small.shape)
    smoothness, evenness = _step(colours, outside), _spread(colours[..., 0], outside)
    shares = palette(Subject(small, outside.astype(np.float32)))
    named = shares[0].name if shares and shares[0].share >= _LEAST_SHARE else None
    return Background(
        colour=named,
        plain=smoothness <= _SMOOTH and evenness <= _EVEN,
        busy=named is None and smoothness >= _BUSY,
    )


def _outside(alpha: Alpha) -> npt.NDArray[np.bool_]:
    cover = shrunk((alpha * 255).astype(np.uint8), _SIDE)
    return np.asarray(cover.filter(ImageFilter.MaxFilter(_RIM))) < 0.1 * 255


def _step(colours: npt.NDArray[np.float64], outside: npt.NDArray[np.bool_]) -> float:
    """The mean ΔE between neighbours that are both outside."""
    right = np.linalg.norm(np.diff(colours, axis=1), axis=2)[outside[:, 1:] & outside[:, :-1]]
    down = np.linalg.norm(np.diff(colours, axis=0), axis=2)[outside[1:] & outside[:-1]]
    steps = np.concatenate([right, down])
    return float(steps.mean()) if steps.size else 0.0


def _spread(lightness: npt.NDArray[np.float64], outside: npt.NDArray[np.bool_]) -> float:
    """The standard deviation of L* about the quadratic surface that fits it best."""
    rows, columns = np.nonzero(outside)
    x, y = columns / _SIDE, rows / _SIDE
    surface = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    values = lightness[outside]
    return float((values - surface @ np.linalg.lstsq(surface, values, rcond=None)[0]).std())
