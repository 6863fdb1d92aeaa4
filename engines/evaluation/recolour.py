"""The same product in another colour, made of its photo: what a query "in red" ought to find."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.looks.colours import lab
from engines.protocols import RGB, Subject

TARGETS = {"red": (45.0, 70.0, 30.0), "blue": (48.0, 55.0, 275.0), "green": (52.0, 50.0, 142.0)}
"""Lightness, chroma and hue in degrees of CIE LCh, each well inside what people call by that name."""

_CONTRAST = 0.5
"""The part of the product's light and shade that is kept."""

_D65 = np.array([0.95047, 1.0, 1.08883])
_RGB_FROM_XYZ = np.array(
    [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.9692660, 1.8760108, 0.0415560],
        [0.0556434, -0.2040259, 1.0572252],
    ]
)


def recoloured(subject: Subject, target: str) -> Subject:
    """The cut-out in one of TARGETS."""
    return dyed(subject, *TARGETS[target])


def dyed(subject: Subject, lightness: float, chroma: float, hue: float) -> Subject:
    """The cut-out in a colour of CIE LCh, with half of its light and shade; the background as it was."""
    flat = lab(subject.picture.reshape(-1, 3).astype(np.float64))
    inside = subject.alpha.reshape(-1) > 0.5
    middle = float(np.median(flat[inside, 0])) if inside.any() else 0.0
    light = np.clip(lightness + _CONTRAST * (flat[:, 0] - middle), 5, 95)
    angle = np.radians(hue)
    colours = np.stack(
        [light, np.full_like(light, chroma * np.cos(angle)), np.full_like(light, chroma * np.sin(angle))],
        axis=1,
    )
    cover = subject.alpha.reshape(-1, 1)
    mixed = _rgb(colours) * cover + subject.picture.reshape(-1, 3) * (1 - cover)
    picture: RGB = np.clip(mixed + 0.5, 0, 255).astype(np.uint8).reshape(subject.picture.shape)
    return Subject(picture, subject.alpha, subject.printed, subject.facts)


def _rgb(colours: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """sRGB in [0, 255] of CIELAB (n, 3); what lies outside is cut to it."""
    light, a, b = colours.T
    middle = (light + 16) / 116
    f = np.stack([middle + a / 500, middle, middle - b / 200], axis=1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * _D65
    straight = np.clip(xyz @ _RGB_FROM_XYZ.T, 0, 1)
    rows: npt.NDArray[np.float64] = 255 * np.where(
        straight <= 0.0031308, 12.92 * straight, 1.055 * straight ** (1 / 2.4) - 0.055
    )
    return rows
