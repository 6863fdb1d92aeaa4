"""In how much light a photo was taken: what is white in a dim room is grey to the sensor."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from engines.protocols import Subject

Floats = npt.NDArray[np.float64]

_SIDE = 128
"""Longest side in pixels at which the brightest is looked for: sparkles and noise average out."""

_WHITE, _BRIGHTEST, _MOST_LIGHT = 250.0, 98, 2.0
"""A photo's 98th percentile of the largest channel is taken for a lit white of 250, and lit up to twice: people
see past a dim room, a sensor does not. Chosen with the thresholds of ``engines.looks.colours`` on 230 labelled
photos."""

_LEAST_SURROUNDINGS = 0.05
"""Of the photo's area around the product, under which its light cannot be judged."""


def light(subject: Subject) -> float:
    """How many times brighter, in linear light, the photo would be with something white in it at full light.

    1 where the product fills the photo: then nothing tells a grey product from a dim room.
    """
    if (subject.alpha < 0.5).mean() < _LEAST_SURROUNDINGS:
        return 1.0
    image = Image.fromarray(subject.picture)
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    brightest = np.percentile(np.asarray(image).max(axis=2), _BRIGHTEST)
    white, seen = linear(np.array([_WHITE, max(1.0, float(brightest))]) / 255)
    return float(np.clip(white / seen, 1.0, _MOST_LIGHT))


def lit(rgb: Floats, light: float) -> Floats:
    """The colours in that many times more light, clipped, channels in [0, 255]."""
    if light == 1:
        return rgb
    c = np.clip(linear(rgb / 255) * light, 0, 1)
    return 255 * np.where(c <= 0.0031308, 12.92 * c, 1.055 * c ** (1 / 2.4) - 0.055)


def linear(c: Floats) -> Floats:
    """Linear light of sRGB channels, both in [0, 1] (IEC 61966-2-1)."""
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
