"""Linear light and its code, and how much of it falls on a face."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.looks.exposure import linear
from engines.protocols import RGB
from engines.protocols.fitting import Points

Floats = npt.NDArray[np.float64]

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])

_BRIGHT_FACE = 0.55
"""Luminance of the brightest twentieth of a face in a studio's light."""


def decoded(picture: npt.NDArray[np.uint8]) -> Floats:
    """Linear light in [0, 1] of sRGB from 0 to 255."""
    return np.asarray(linear(picture.astype(np.float64) / 255))


def encoded(light: Floats) -> npt.NDArray[np.uint8]:
    """sRGB from 0 to 255 of linear light (IEC 61966-2-1)."""
    light = np.clip(light, 0, 1)
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(code * 255), np.uint8)


def light_on(picture: RGB, face: Points) -> float:
    """How bright the light on a face is beside a studio's, half believed: a dark face may be in good light."""
    places = np.rint(face).astype(int)
    height, width = picture.shape[:2]
    kept = (places >= 0).all(axis=1) & (places[:, 0] < width) & (places[:, 1] < height)
    if not kept.any():
        return 1.0
    light = decoded(picture[places[kept, 1], places[kept, 0]]) @ LUMINANCE
    return float(np.clip(np.sqrt(np.quantile(light, 0.95) / _BRIGHT_FACE), 0.6, 1.0))
