"""Where in a photo something was seen: outlines, boxes, and the part of a product that has a colour."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.looks.colours import named_pixels
from engines.protocols import Box, Subject

Mask = npt.NDArray[np.bool_]
"""(H, W) over a photo's pixels."""

MOST_POINTS = 32
_TOLERANCE = 0.004
"""How far a simpler outline may stray at first, as a share of its length; half as much again until it is short."""


def outline(mask: Mask) -> tuple[tuple[float, float], ...]:
    """A closed polygon of at most 32 (x, y), as shares of the width and height, around the largest connected part.

    The last point is joined to the first. Empty where the mask is.
    """
    import cv2

    # One more pixel all round: a contour runs through the middles of pixels, and single ones have none.
    padded = np.pad(mask.astype(np.uint8), 1)
    doubled = np.kron(padded, np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return ()
    largest = max(contours, key=cv2.contourArea)
    tolerance = _TOLERANCE * cv2.arcLength(largest, True)
    simple = cv2.approxPolyDP(largest, tolerance, True)
    while len(simple) > MOST_POINTS:
        tolerance *= 1.5
        simple = cv2.approxPolyDP(largest, tolerance, True)
    height, width = mask.shape
    # Of the doubled pixels the middles lie at (n + 0.5) / 2, and the padding moved all by one.
    points = (simple.reshape(-1, 2).astype(np.float64) + 0.5) / 2 - 1
    shares = np.clip(points / (width, height), 0, 1)
    return tuple((float(x), float(y)) for x, y in shares)


def box(mask: Mask) -> Box | None:
    """Left, top, right, bottom around all that is true, as shares of the width and height. None where nothing is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    height, width = mask.shape
    return (
        float(columns[0] / width),
        float(rows[0] / height),
        float((columns[-1] + 1) / width),
        float((rows[-1] + 1) / height),
    )


def colour_region(subject: Subject, colour: str) -> Mask:
    """Where inside the cut-out the product has that colour of the vocabulary: (H, W) over the photo's pixels.

    Shades count as the palette counts them. All false where the cut-out shows no subject.
    """
    return named_pixels(subject, colour)
