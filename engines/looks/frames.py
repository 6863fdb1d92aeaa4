"""Pictures brought to a size, each by itself, so that what else is in a batch changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from engines.protocols import RGB

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
"""ImageNet's, over channels in [0, 1]."""

Colour = tuple[int, int, int]


def scaled(shape: tuple[int, ...], longest: int) -> tuple[int, int]:
    """The width and height, in this order, of a picture of (H, W, …) brought to a longest side, in pixels."""
    height, width = shape[:2]
    scale = longest / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def shrunk(
    pixels: npt.NDArray[Any], longest: int, how: Image.Resampling = Image.Resampling.BOX
) -> Image.Image:
    """A picture or an alpha, no side of it over ``longest`` pixels; a smaller one as it is."""
    size = scaled(pixels.shape, min(longest, max(pixels.shape[:2])))
    return Image.fromarray(pixels).resize(size, how)


def framed(picture: RGB, side: int) -> tuple[npt.NDArray[np.float32], tuple[int, int]]:
    """(3, side, side) with the whole picture in the upper left, zero elsewhere; its height and width there."""
    width, height = scaled(picture.shape, side)
    frame = np.zeros((3, side, side), np.float32)
    frame[:, :height, :width] = normalised(picture, (height, width))
    return frame, (height, width)


def normalised(picture: RGB, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """(3, height, width) of the picture brought to ``size``, by ImageNet's mean and deviation."""
    resized = Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    values = (np.asarray(resized, np.float32) / np.float32(255) - MEAN) / STD
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def squared(picture: RGB, around: Colour = (127, 127, 127)) -> RGB:
    """The whole picture in the middle of a square, grey unless told: what crops to a square cuts nothing off."""
    height, width = picture.shape[:2]
    if height == width:
        return picture
    side = max(height, width)
    square = np.full((side, side, 3), around, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    return square
