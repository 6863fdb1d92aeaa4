"""Pictures as square inputs of one size, so that what else is in a batch changes nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from engines.protocols import RGB

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)
"""ImageNet's, over channels in [0, 1]."""


def framed(picture: RGB, side: int) -> tuple[npt.NDArray[np.float32], tuple[int, int]]:
    """(3, side, side) with the whole picture in the upper left, zero elsewhere; its height and width there."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    frame = np.zeros((3, side, side), np.float32)
    frame[:, : size[0], : size[1]] = normalised(picture, size)
    return frame, size


def normalised(picture: RGB, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """(3, height, width) of the picture brought to ``size``, by ImageNet's mean and deviation."""
    resized = Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    values = (np.asarray(resized, np.float32) / np.float32(255) - _MEAN) / _STD
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def squared(picture: RGB, grey: int = 127) -> RGB:
    """The whole picture in the middle of a grey square: what crops to a square then cuts nothing off."""
    height, width = picture.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), grey, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    return square
