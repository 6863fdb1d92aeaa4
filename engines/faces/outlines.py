"""Outlines of a face's parts, by the rows of MediaPipe's face mesh, and what they cover."""

from __future__ import annotations

import numpy as np

from engines.protocols import Alpha
from engines.protocols.fitting import Points

LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
LIPS_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
"""From the wearer's right corner along the lower lip and back along the upper one."""

OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)

_STEPS = 8
_FINE = 4


def smooth_loop(points: Points) -> Points:
    """A loop of two arcs between its first point and the middle one, as a curve through all points.

    The corners of a mouth or an eye stay sharp (Catmull and Rom 1974, on each arc by itself).
    """
    half = len(points) // 2
    arcs = (points[: half + 1], np.concatenate([points[half:], points[:1]]))
    return np.concatenate([_curve(arc)[:-1] for arc in arcs]).astype(np.float32)


def covered(outline: Points, shape: tuple[int, int], hole: Points | None = None, soft: float = 0.0) -> Alpha:
    """(H, W): how much of each pixel is inside the outline and outside the hole, falling to 0 over ``soft`` pixels
    inside them; 0 everywhere else."""
    import cv2

    mask = np.zeros(shape, np.float32)
    room = int(np.ceil(3 * soft)) + 2
    left, top = np.maximum(np.floor(outline.min(axis=0)).astype(int) - room, 0)
    right, bottom = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + room, (shape[1], shape[0]))
    if right <= left or bottom <= top:
        return mask
    fine = np.zeros(((bottom - top) * _FINE, (right - left) * _FINE), np.uint8)
    for points, level in ((outline, 255), (hole, 0)):
        if points is not None:
            # Pixels' middles are at whole numbers for OpenCV; it takes 4 binary places.
            places = np.rint(((points - (left, top)) * _FINE - 0.5) * 16).astype(np.int32)
            cv2.fillPoly(fine, [places], level, lineType=cv2.LINE_8, shift=4)
    inside = cv2.resize(fine, (int(right - left), int(bottom - top)), interpolation=cv2.INTER_AREA)
    part = np.asarray(inside, np.float32) / np.float32(255)
    if soft > 0:
        blurred = cv2.GaussianBlur(part, (0, 0), soft)
        part = part * np.clip(1.5 * (2 * blurred - 1) + 0.25, 0, 1).astype(np.float32)
    mask[top:bottom, left:right] = part
    return mask


def _curve(points: Points) -> Points:
    ends = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    before, start, end, after = ends[:-3, None], ends[1:-2, None], ends[2:-1, None], ends[3:, None]
    t = (np.arange(_STEPS, dtype=np.float32) / _STEPS)[None, :, None]
    curve = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    return np.asarray(np.concatenate([curve.reshape(-1, 2), points[-1:]]), np.float32)
