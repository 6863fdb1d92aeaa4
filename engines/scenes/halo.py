"""Whether a product's edge shows its old background."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.protocols import Alpha
from engines.scenes.silhouette import contour

Floats = npt.NDArray[np.float32]

_TOLD_APART = 12.0
"""Distance in CIELAB under which two colours at an edge cannot be told apart: there a halo shows to nobody."""

_DEEP, _OUT = 9, 6
"""Pixels inwards at which the product has its own colour for sure, and outwards at which its background has."""


def halo(picture: Floats, scenery: Floats, photo: Floats, alpha: Alpha) -> float:
    """The share of the edge at which the picture shows the old background, of that where one would be seen.

    All in CIELAB (H, W, 3) on the canvas; ``photo`` is the source with its background at the product's place. A
    pixel just inside the edge lies between the product's colour, further in, and the old background's, further out:
    nearer to the latter it is halo.
    """
    line = contour(alpha)
    own, inside = line.at(picture, -_DEEP)
    cover, _ = line.at(alpha, -_DEEP)
    old, outside = line.at(photo, _OUT)
    new, _ = line.at(scenery, _OUT)
    rim = np.mean([line.at(picture, -steps)[0] for steps in (1, 2)], axis=0)
    apart = old - own
    distance = (apart * apart).sum(axis=1)
    seen = (
        inside
        & outside
        & (cover > 0.9)
        & (distance > _TOLD_APART**2)
        & (np.linalg.norm(old - new, axis=1) > _TOLD_APART)
    )
    if np.count_nonzero(seen) < 20:
        return 0.0
    between = ((rim - own) * apart).sum(axis=1) / np.maximum(distance, 1e-6)
    off = np.linalg.norm(rim - own - between[:, np.newaxis] * apart, axis=1)
    shows = (between > 0.6) & (off < 0.5 * np.sqrt(distance))
    return float((shows & seen).sum() / seen.sum())
