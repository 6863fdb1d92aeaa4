"""The outline of a garment stood upright, as two half paths from the middle of its top to the middle of its bottom.

The mask is cleaned of islands, small holes, spikes and hooks; it is stood upright by the angle at which it is most
like its own mirror image; then its outline is cut in two by the mirror axis. On a half path everything that a garment
has comes in a known order (neck, shoulder, cuff, armpit, hem), whichever side it is and however the sleeve lies.

Upright coordinates: u in shares of the garment's height outward from the axis, v in the same unit down from its top.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.looks.regions import Mask, bounds
from engines.protocols import Alpha
from pipeline.errors import RejectedInput

Floats = npt.NDArray[np.float64]

SIDE = 512
"""Pixels of the upright garment's longer side."""

_POINTS = 1200
"""Of the outline, at equal distances along it."""

_STRAY = 0.012
"""Of the garment's size: spikes, threads and hooks thinner than this are not its shape, and holes smaller are none."""

_MOST_TURN, _SEARCH = 45, 160
"""Degrees that a garment may lie askew, and pixels at which its axis is looked for."""


@dataclass(frozen=True, slots=True)
class Half:
    """One half of the outline, (N, 2) of (u, v), from the top's middle to the bottom's; u is positive outward."""

    path: Floats
    sign: int


@dataclass(frozen=True, slots=True)
class Silhouette:
    """A garment stood upright.

    ``halves`` are the one on the picture's left and the one on its right. ``solid`` and ``alpha`` are the upright
    garment in pixels, cleaned and as it was; ``there`` (2, 3) takes points of the photo to its pixels. ``axis``,
    ``top`` and ``unit`` are the mirror axis' x, the garment's top and its height there. ``symmetry`` in [0, 1] is the
    intersection over union of garment and mirror image. ``turned`` is in degrees, ``lost`` the share of the cut-out
    that was cleaned away above the garment.
    """

    halves: tuple[Half, Half]
    solid: Mask
    there: Floats
    axis: float
    top: float
    unit: float
    symmetry: float
    turned: float
    hooked: bool

    def upright(self, points: Floats, sign: int) -> Floats:
        """(N, 2) of (u, v) on one side as pixels of the upright garment."""
        return np.stack(
            [self.axis + sign * points[:, 0] * self.unit, self.top + points[:, 1] * self.unit], axis=1
        )

    def in_photo(self, points: Floats, sign: int) -> Floats:
        """The same as pixels of the photo."""
        flat = self.upright(points, sign)
        back = np.linalg.inv(np.vstack([self.there, [0, 0, 1]]))
        return np.asarray(flat @ back[:2, :2].T + back[:2, 2])


def silhouette(alpha: Alpha) -> Silhouette:
    """Of a cut-out (H, W). Raises RejectedInput where nothing is cut out."""
    import cv2

    rough = _largest(alpha > 0.5)
    box = bounds(rough)
    if box is None or min(box[2] - box[0], box[3] - box[1]) < 8:
        raise RejectedInput("no-garment", "the cut-out shows no garment: send a photo of the garment alone")
    turned, symmetry, middle = _axis(rough, box)
    rotation = np.vstack([_rotation(middle, -turned), [0, 0, 1]])
    corners = cv2.findContours(rough.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    turned_points = np.concatenate(corners).reshape(-1, 2) @ rotation[:2, :2].T + rotation[:2, 2]
    low, high = turned_points.min(axis=0), turned_points.max(axis=0)
    scale = SIDE / float((high - low).max())
    margin = SIDE // 16
    width, height = (round(float(v)) + 2 * margin for v in (high - low) * scale)
    move = np.array([[scale, 0, margin - low[0] * scale], [0, scale, margin - low[1] * scale], [0, 0, 1]])
    there = (move @ rotation)[:2]
    flat = cv2.warpAffine(rough.astype(np.float32), there, (width, height), flags=cv2.INTER_AREA)
    whole = flat > 0.5
    solid = _clean(whole)
    hooked = _hooked(whole, solid)
    (axis,) = (there @ np.array([[middle[0]], [middle[1]], [1.0]]))[:1, 0]
    rows = np.flatnonzero(solid.any(axis=1))
    top, unit = float(rows[0]), float(rows[-1] + 1 - rows[0])
    left, right = _halves(solid, float(axis))
    halves = tuple(
        Half(np.stack([sign * (half[:, 0] - axis) / unit, (half[:, 1] - top) / unit], axis=1), sign)
        for half, sign in ((left, -1), (right, 1))
    )
    return Silhouette((halves[0], halves[1]), solid, there, float(axis), top, unit, symmetry, turned, hooked)


def _largest(mask: Mask) -> Mask:
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if count < 2:
        return mask
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))


def _disc(radius: int) -> npt.NDArray[Any]:
    import cv2

    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))


def _clean(mask: Mask) -> Mask:
    """Without thin things and small holes. A hole as large as a leg's width stays out of the outline anyway."""
    import cv2

    radius = max(2, round(_STRAY * SIDE))
    padded = np.pad(mask.astype(np.uint8), 4 * radius)
    # Small holes first, so that opening does not tear what is worn to shreds.
    contours, tree = cv2.findContours(padded, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for contour, (_, _, _, parent) in zip(contours, tree[0], strict=True):
        if parent >= 0 and cv2.contourArea(contour) < (8 * radius) ** 2:
            cv2.drawContours(padded, [contour], -1, 1, cv2.FILLED)
    opened = cv2.morphologyEx(padded, cv2.MORPH_OPEN, _disc(radius))
    kept = _largest(opened > 0)
    inner = slice(4 * radius, -4 * radius)
    return np.asarray(kept[inner, inner])


def _hooked(whole: Mask, solid: Mask) -> bool:
    """Whether something thin stands above the garment's middle: a hanger's hook."""
    rows = np.flatnonzero(solid.any(axis=1))
    above = whole[: rows[0]]
    columns = np.flatnonzero(above.any(axis=0))
    across = np.flatnonzero(solid.any(axis=0))
    if not len(columns):
        return False
    tall = np.flatnonzero(above.any(axis=1))
    middle = (columns[0] + columns[-1]) / 2 - (across[0] + across[-1]) / 2
    return len(tall) > 0.04 * len(rows) and abs(middle) < 0.25 * len(across)


def _rotation(middle: tuple[float, float], degrees: float) -> Floats:
    """By which points of a picture turn clockwise about ``middle``."""
    a = math.radians(degrees)
    turn = np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    return np.hstack([turn, (np.array(middle) - turn @ np.array(middle))[:, None]])


def _axis(mask: Mask, box: tuple[int, int, int, int]) -> tuple[float, float, tuple[float, float]]:
    """The angle in degrees by which the garment is turned clockwise, how alike its halves are then, and a point of
    its mirror axis: the best over angles, near upright a little sooner, and over places of the axis."""
    import cv2

    left, top, right, bottom = box
    scale = _SEARCH / max(right - left, bottom - top)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    small = cv2.resize(mask[top:bottom, left:right].astype(np.float32), size, interpolation=cv2.INTER_AREA)
    side = 2 * _SEARCH
    moments = cv2.moments(small)
    cx, cy = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]

    def judged(degrees: float) -> tuple[float, float]:
        turn = _rotation((cx, cy), -degrees)
        turn[:, 2] += np.array([side / 2 - cx, side / 2 - cy])
        flat = cv2.warpAffine(small, turn, (side, side))
        best = (-1.0, 0.0)
        columns = np.flatnonzero(flat.sum(axis=0) > 0.5)
        reach = max(2, (columns[-1] - columns[0]) // 8)
        for twice in range(-2 * reach, 2 * reach + 1):
            # The mirror image about x = side / 2 + twice / 2 is the flipped picture moved by ``twice``.
            mirrored = np.roll(flat[:, ::-1], twice + 1, axis=1)
            both = float(np.minimum(flat, mirrored).sum())
            share = both / (2 * float(flat.sum()) - both)
            best = max(best, (share, twice / 2))
        return best

    def worth(degrees: float) -> float:
        return judged(degrees)[0] - 0.0015 * abs(degrees)

    coarse = max(range(-_MOST_TURN, _MOST_TURN + 1, 5), key=worth)
    fine = max((coarse + step for step in range(-4, 5)), key=worth)
    symmetry, across = judged(fine)
    # From the searched frame back into the photo.
    turn = _rotation((cx, cy), fine)
    x, y = turn[:, :2] @ np.array([cx + across, cy]) + turn[:, 2]
    return float(fine), symmetry, (left + (x + 0.5) / scale - 0.5, top + (y + 0.5) / scale - 0.5)


def _halves(solid: Mask, axis: float) -> tuple[Floats, Floats]:
    """The outline's left and right half, pixels, each from the top's middle to the bottom's."""
    import cv2

    padded = np.pad(solid.astype(np.uint8), 1)
    contours, _ = cv2.findContours(padded, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    ring = np.asarray(max(contours, key=cv2.contourArea).reshape(-1, 2) - 1, np.float64)
    steps = np.linalg.norm(np.diff(ring, axis=0, append=ring[:1]), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    closed = np.vstack([ring, ring[:1]])
    where = np.linspace(0, along[-1], _POINTS, endpoint=False)
    even = np.stack([np.interp(where, along, closed[:, i]) for i in (0, 1)], axis=1)
    even = _smoothed(even)
    near = np.abs(even[:, 0] - axis) <= max(2.0, 1.5 * along[-1] / _POINTS)
    crossings = np.flatnonzero(near)
    first = int(crossings[np.argmin(even[crossings, 1])])
    last = int(crossings[np.argmax(even[crossings, 1])])
    one = np.roll(even, -first, axis=0)[: (last - first) % _POINTS + 1]
    other = np.roll(even[::-1], -(_POINTS - 1 - first), axis=0)[: (first - last) % _POINTS + 1]
    return (one, other) if one[:, 0].mean() < other[:, 0].mean() else (other, one)


def _smoothed(ring: Floats) -> Floats:
    weights = np.exp(-0.5 * (np.arange(-4, 5) / 1.5) ** 2)
    weights /= weights.sum()
    return np.asarray(sum(w * np.roll(ring, k, axis=0) for w, k in zip(weights, range(-4, 5), strict=True)))
