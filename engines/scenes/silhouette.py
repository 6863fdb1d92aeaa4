"""Whether a mask is the product's: what it leaves out, what it takes in, what has grown beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.looks.cutouts import solid
from engines.looks.regions import Mask, bounds, widened, window
from engines.protocols import RGB, Alpha, Segmenter, Subject
from engines.protocols.scenes import Placement

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

_ROOM = 0.3
"""Of the product's size, around it, when a segmenter is asked again: enough to see what was cut off."""

_SLACK = 0.012
"""Of the picture's longer side: two segmenters differ so much along one edge."""

_EDGE = 1.5, 6.0
"""Distance in CIELAB of two sides that makes an edge, before the plainest background and before a busy one."""

_VARIES = 3.0


@dataclass(frozen=True, slots=True)
class Contour:
    """The pixels (n,) along a mask's edge, and the unit vectors that lead out of it there."""

    y: Integers
    x: Integers
    out_y: Floats
    out_x: Floats

    def at(self, values: npt.NDArray[Any], steps: float) -> tuple[npt.NDArray[Any], Mask]:
        """What lies so many pixels outwards (negative: inwards), and where that is still inside the picture."""
        height, width = values.shape[:2]
        y = np.rint(self.y + steps * self.out_y).astype(np.int64)
        x = np.rint(self.x + steps * self.out_x).astype(np.int64)
        there = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        return values[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)], there


def contour(alpha: Alpha) -> Contour:
    """Around every solid part of it, and around its holes."""
    import cv2

    inside = solid(alpha)
    edge = inside & (cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) == 0)
    smooth = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 2.5)
    down, across = cv2.Sobel(smooth, cv2.CV_32F, 0, 1), cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    y, x = np.nonzero(edge)
    length = np.maximum(np.hypot(down[y, x], across[y, x]), 1e-6)
    out_y, out_x = (np.asarray(-slope[y, x] / length, np.float32) for slope in (down, across))
    return Contour(y, x, out_y, out_x)


def framed(alpha: Alpha, placement: Placement) -> float:
    """How much of the product's own width or height the photo's border cuts it off along, at the worst side.

    A side that lies at the same border of the canvas does not count: there a cut looks like any picture's.
    """
    inside = solid(alpha)
    box = bounds(inside)
    if box is None:
        return 0.0
    wide, high = box[2] - box[0], box[3] - box[1]
    sides = {
        "top": np.count_nonzero(inside[0]) / wide,
        "bottom": np.count_nonzero(inside[-1]) / wide,
        "left": np.count_nonzero(inside[:, 0]) / high,
        "right": np.count_nonzero(inside[:, -1]) / high,
    }
    return float(
        max((share for side, share in sides.items() if side not in at_border(placement)), default=0.0)
    )


def at_border(placement: Placement) -> set[str]:
    """The borders of the canvas that the product lies at."""
    left, top, right, bottom = placement.crop
    there = {
        "left": placement.left <= 0,
        "top": placement.top <= 0,
        "right": placement.left + placement.scale * (right - left) >= placement.width - 1,
        "bottom": placement.top + placement.scale * (bottom - top) >= placement.height - 1,
    }
    return {side for side, is_there in there.items() if is_there}


def unmarked(lab: Floats, alpha: Alpha, reach: int = 4) -> float:
    """The longest stretch of the mask's edge at which the photo shows none, as a share of the product's longer side.

    ``lab`` is the photo with its background. What makes an edge is measured by how much that background varies by
    itself: before white paper a white shirt has one.
    """
    import cv2

    line = contour(alpha)
    if not len(line.y):
        return 0.0
    even = cv2.blur(lab, (3, 3))
    (inner, here), (outer, there) = line.at(even, -reach), line.at(even, reach)
    further, _ = line.at(even, 2 * reach)
    known = here & there
    least = np.clip(_VARIES * np.median(np.linalg.norm(further - outer, axis=1)), *_EDGE)
    blind = known & (np.linalg.norm(inner - outer, axis=1) < least)
    marks = np.zeros(alpha.shape, np.uint8)
    marks[line.y[blind], line.x[blind]] = 1
    _, labels = cv2.connectedComponents(cv2.dilate(marks, np.ones((5, 5), np.uint8)))
    runs = np.bincount(labels[line.y[blind], line.x[blind]], minlength=1)
    side = max(np.ptp(line.y), np.ptp(line.x)) + 1
    return float(runs.max(initial=0) / side)


def second_look(segmenter: Segmenter, source: Subject) -> tuple[float, float]:
    """What a segmenter that looks at the photo again, closer, takes for more of the product, and what of the cut-out
    it takes for none of it; both as shares of the product."""
    box = bounds(solid(source.alpha))
    if box is None:
        return 0.0, 0.0
    part = window(widened(box, _ROOM, source.alpha.shape))
    (again,) = segmenter.segment([np.ascontiguousarray(source.picture[part])], [source.facts])
    alpha = source.alpha[part]
    whole = max(1, int(np.count_nonzero(solid(alpha))))
    return _beside(again, alpha) / whole, _beside(alpha, again) / whole


def again(segmenter: Segmenter, picture: RGB, alpha: Alpha) -> tuple[float, float]:
    """Intersection over union of the mask with what a segmenter takes for the product in the finished picture, and
    what else it takes for it, as a share of the product."""
    (found,) = segmenter.segment([picture])
    one, other = solid(alpha), solid(found)
    union = np.count_nonzero(one | other)
    overlap = np.count_nonzero(one & other) / union if union else 0.0
    return overlap, _beside(found, alpha) / max(1, int(np.count_nonzero(one)))


def _beside(found: Alpha, alpha: Alpha) -> int:
    """How many pixels the first surely covers that are not even near the second."""
    import cv2

    slack = max(2, round(_SLACK * max(alpha.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * slack + 1, 2 * slack + 1))
    near = cv2.dilate(solid(alpha).astype(np.uint8), kernel)
    return int(np.count_nonzero((found > 0.6) & (near == 0)))
