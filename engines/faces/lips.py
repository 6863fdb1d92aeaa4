"""Colour on lips, with the lips' own shading kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engines.faces.light import LUMINANCE, decoded, encoded, light_on
from engines.faces.outlines import LIPS_INNER, LIPS_OUTER, covered, smooth_loop
from engines.looks.colours import lab
from engines.looks.cutouts import solid
from engines.protocols import RGB, Alpha
from engines.protocols.fitting import Finish, Points
from pipeline.errors import RejectedInput

_LEAST_MOUTH = 16
"""Pixels from corner to corner under which there are no lips to paint."""

_MOST_YAW = 45.0

_SOFT = 0.018
"""The width of the edge as a share of the mouth's."""

_LIT = 0.7
"""The share of the lips that is darker than a swatch of their colour would be: the rest is light on them."""

_SHUT = 0.08
"""A gap between the lips that is no opening, as a share of the mouth's width: of a shut mouth one is found too."""


@dataclass(frozen=True, slots=True)
class _Film:
    """What a finish does: how much of the lip it hides, how far it evens out the lip's shading (1: not at all), how
    much of the lip's own highlights it adds again, and how much of the light it mirrors there."""

    cover: float
    shading: float
    shine: float


_FILMS = {
    Finish.MATTE: _Film(0.86, 0.7, 0.0),
    Finish.SATIN: _Film(0.78, 1.0, 0.1),
    Finish.GLOSS: _Film(0.72, 1.05, 0.42),
}


def lips(face: Points, shape: tuple[int, int]) -> Alpha:
    """(H, W): how much of each pixel is lip, 0 outside their outline and in the mouth's opening.

    Raises RejectedInput where the mouth is too small or out of the picture.
    """
    mouth = float(np.hypot(*(face[291] - face[61])))
    low, high = face[list(LIPS_OUTER)].min(axis=0), face[list(LIPS_OUTER)].max(axis=0)
    if mouth < _LEAST_MOUTH:
        raise RejectedInput(
            "face-too-small", "The mouth is too small in the picture: a photo from nearer by is needed."
        )
    if (low < 0).any() or high[0] > shape[1] or high[1] > shape[0]:
        raise RejectedInput(
            "face-cut-off", "The mouth is not all in the picture: a photo of the whole face is needed."
        )
    outer, inner = (smooth_loop(face[list(rows)]) for rows in (LIPS_OUTER, LIPS_INNER))
    shut = float(np.hypot(*(face[14] - face[13]))) < _SHUT * mouth
    return covered(outer, shape, hole=None if shut else inner, soft=_SOFT * mouth)


def check_turned(yaw: float) -> None:
    """Raises RejectedInput for a face of which half the mouth is hidden; ``yaw`` in degrees."""
    if abs(yaw) > _MOST_YAW:
        raise RejectedInput(
            "face-turned", "The face is turned away: a photo with the face towards the camera is needed."
        )


def paint_lips(picture: RGB, face: Points, colour: tuple[int, int, int], finish: Finish) -> RGB:
    """The picture with lips of ``colour`` (sRGB, 0 to 255); outside the lips every pixel is the picture's own.

    Light is added and hidden in linear values: where the lip's own surface is brighter or darker than its median, the
    colour is by the same factor.
    """
    film, mask = _FILMS[finish], lips(face, picture.shape[:2])
    rows, columns = np.nonzero(mask)
    weight = mask[rows, columns].astype(np.float64)
    own = decoded(picture[rows, columns])
    shade = own @ LUMINANCE
    level, dull, bright = np.quantile(shade[weight > 0.5 * weight.max()], (_LIT, 0.8, 0.99)).clip(1e-4)
    relative = (shade / level).clip(0, 2)
    light = light_on(picture, face)
    target = decoded(np.array(colour, np.uint8)) * light * relative[:, None] ** film.shading
    # A finish shines where the lip shines by itself: nothing else tells where the lamps are. Skin at the rim shines
    # too, but is no lip.
    shining = ((shade - dull) / max(bright - dull, 0.02)).clip(0, 1) ** 1.5
    glint = film.shine * light * shining * _inward(mask, face)[rows, columns]
    cover = (film.cover * weight)[:, None]
    painted = (1 - cover) * own + cover * target
    painted += glint[:, None] * (1 - painted.clip(0, 1))
    result = picture.copy()
    result[rows, columns] = encoded(painted)
    return result


def swatch_colour(picture: RGB, alpha: Alpha) -> tuple[int, int, int]:
    """A lipstick's colour in sRGB, from its photo: of a bullet in its case, or of a smear.

    Of the cut-out's colours that lipsticks come in, the one of which there is most; cases are black, white and of
    metal, bullets have more chroma. Raises RejectedInput where the cut-out shows nothing.
    """
    inside = picture[solid(alpha)]
    if len(inside) < 16:
        raise RejectedInput(
            "no-subject", "The photo shows no product: one of the lipstick or its swatch is needed."
        )
    inside = inside[:: max(1, len(inside) // 20000)]
    seen = lab(inside.astype(np.float64))
    chroma, hue = np.hypot(seen[:, 1], seen[:, 2]), np.degrees(np.arctan2(seen[:, 2], seen[:, 1]))
    worn = np.where((hue > -75) & (hue < 62), 1.0, 0.15) * np.clip((chroma - 6) / 30, 0.01, 1)
    cells, which = np.unique(np.floor(seen / 6).astype(np.int64), axis=0, return_inverse=True)
    weights = np.bincount(which.reshape(-1), worn)
    near = np.linalg.norm(seen - (cells[int(weights.argmax())] + 0.5) * 6, axis=1) < 14
    # The mean of light, not of its code: a bullet's shaded side would count for too much.
    red, green, blue = encoded(decoded(inside[near]).mean(axis=0))
    return int(red), int(green), int(blue)


def _inward(mask: Alpha, face: Points) -> Alpha:
    """1 well inside the lips, 0 at their rim."""
    import cv2

    blurred = cv2.GaussianBlur(mask, (0, 0), 2 * _SOFT * float(np.hypot(*(face[291] - face[61]))))
    return np.asarray(np.clip(2.5 * blurred - 1.25, 0, 1), np.float32)
