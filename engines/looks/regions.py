"""Where in a photo something is: boxes and outlines of masks, and how much two boxes have in common."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.protocols import Box

Mask = npt.NDArray[np.bool_]
"""(H, W) over a photo's pixels."""

Bounds = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are the first that lie outside."""

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


def bounds(mask: Mask) -> Bounds | None:
    """Around all that is true. None where nothing is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def widened(within: Bounds, margin: float, shape: tuple[int, int]) -> Bounds:
    """With ``margin``, a share of its width and height, on every side, as far as the photo (H, W) reaches."""
    left, top, right, bottom = within
    height, width = shape
    across, down = round(margin * (right - left)), round(margin * (bottom - top))
    return max(0, left - across), max(0, top - down), min(width, right + across), min(height, bottom + down)


def window(within: Bounds) -> tuple[slice, slice]:
    """The same as an index into (H, W) or (H, W, 3)."""
    left, top, right, bottom = within
    return slice(top, bottom), slice(left, right)


def as_shares(within: Bounds, shape: tuple[int, int]) -> Box:
    """The same as shares of a photo of (H, W)."""
    height, width = shape
    left, top, right, bottom = within
    return left / width, top / height, right / width, bottom / height


def box(mask: Mask) -> Box | None:
    """Around all that is true, as shares of the width and height. None where nothing is."""
    found = bounds(mask)
    return None if found is None else as_shares(found, mask.shape)


def area(one: Box) -> float:
    """The share of the photo that a box takes; 0 for one that is inside out."""
    return max(0.0, one[2] - one[0]) * max(0.0, one[3] - one[1])


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    shared = area(
        (max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3]))
    )
    return shared / (area(one) + area(other) - shared) if shared else 0.0
