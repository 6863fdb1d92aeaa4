"""Squares of a picture, turned and scaled, as models want them; and points found in one, put back."""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, ceil, cos, pi, sin
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.protocols import RGB, Alpha
from engines.protocols.fitting import Points

Affine = npt.NDArray[np.float64]
"""(2, 3): takes (x, y, 1) to (x, y)."""


@dataclass(frozen=True, slots=True)
class Square:
    """Of a picture, in its pixels: middle, length of a side, and by how much it is turned, in radians clockwise."""

    x: float
    y: float
    side: float
    turn: float = 0.0

    def onto_picture(self, cells: int) -> Affine:
        """From a raster of ``cells`` a side over the square to the picture, both with (0, 0) at a corner."""
        step = self.side / cells
        across, down = step * cos(self.turn), step * sin(self.turn)
        half = cells / 2
        return np.array(
            [
                [across, -down, self.x - half * across + half * down],
                [down, across, self.y - half * down - half * across],
            ]
        )

    def put_back(self, points: npt.NDArray[np.float32], cells: int) -> Points:
        """(N, 2) of a raster of ``cells`` a side, in pixels of the picture."""
        onto = self.onto_picture(cells)
        return (points @ onto[:, :2].T + onto[:, 2]).astype(np.float32)


def whole(picture: RGB) -> Square:
    """The smallest square around a picture."""
    height, width = picture.shape[:2]
    return Square(width / 2, height / 2, max(height, width))


def standing(foot: Points, head: Points, scale: float) -> Square:
    """Around ``foot`` so that ``head`` is straight above it; ``scale`` times their distance to each side."""
    across, up = float(head[0] - foot[0]), float(foot[1] - head[1])
    return Square(
        float(foot[0]), float(foot[1]), 2 * scale * float(np.hypot(across, up)), pi / 2 - atan2(up, across)
    )


def cut(picture: RGB, square: Square, cells: int) -> npt.NDArray[np.float32]:
    """(cells, cells, 3) in [0, 255]; black outside the picture.

    A picture much finer than the raster is shrunk first: sampled as it is, it would shimmer.
    """
    import cv2

    fine = square.side / cells
    if fine > 2:
        height, width = picture.shape[:2]
        # Rounded up, so that a picture of one pixel's width keeps it.
        size = ceil(width / fine), ceil(height / fine)
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
        stretch = np.array([size[0] / width, size[1] / height])
    else:
        stretch = np.ones(2)
    onto = square.onto_picture(cells) * stretch[:, None]
    return np.asarray(_sampled(picture, onto, (cells, cells)), np.float32)


def lay_back(raster: Alpha, square: Square, shape: tuple[int, int]) -> Alpha:
    """A raster over the square at a picture's (H, W); zero outside the square."""
    onto = square.onto_picture(raster.shape[0])
    back = np.linalg.inv(np.vstack([onto, [0, 0, 1]]))[:2]
    return np.asarray(_sampled(raster, back, shape), np.float32)


def _sampled(values: npt.NDArray[Any], onto: Affine, shape: tuple[int, int]) -> npt.NDArray[Any]:
    """``values`` at (H, W): ``onto`` takes a place of the answer to one of ``values``, between pixels' middles too."""
    import cv2

    # OpenCV counts from the middle of the first pixel, not from its corner.
    middles = onto.copy()
    middles[:, 2] += middles[:, 0] / 2 + middles[:, 1] / 2 - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(values, middles, (shape[1], shape[0]), flags=flags))
