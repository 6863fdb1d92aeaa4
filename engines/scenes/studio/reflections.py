"""What a level floor shows of a product: its mirror image."""

from __future__ import annotations

import numpy as np

from engines.protocols import Alpha
from engines.scenes.studio.shadows import Picture, feet_of
from engines.scenes.studio.view import View


def mirrored(foreground: Picture, alpha: Alpha, view: View, blur: float) -> tuple[Picture, Alpha]:
    """The product's mirror image in a level floor: linear colours times cover (H, W, 3), and cover (H, W).

    It gets softer and weaker away from where the product stands.
    """
    import cv2

    height, width = alpha.shape
    feet = feet_of((alpha > 0.5).astype(np.uint8), view)
    ground = view.origin[1] - feet * np.float32(view.height)
    first = int(np.clip(ground.min(), 0, height - 1))
    rows = np.arange(first, height, dtype=np.float32)[:, None]
    below = np.maximum(rows + 0.5 - ground[None], 0) / view.height
    across = np.repeat(np.arange(width, dtype=np.float32)[None], len(rows), axis=0)
    source = np.where(below > 0, 2 * ground[None] - rows - 1, -9).astype(np.float32)
    stacked = np.dstack([foreground * alpha[..., None], alpha]).astype(np.float32)
    image = np.asarray(cv2.remap(stacked, across, source, cv2.INTER_LINEAR, borderValue=0), np.float32)
    size = blur * view.height * _FAR
    level = np.clip(below / _FAR, 0, 1)[..., None] * 2
    out = image * np.clip(1 - level, 0, 1) + _soft(image, 0.25 * size) * np.clip(1 - np.abs(level - 1), 0, 1)
    out += _soft(image, size) * np.clip(level - 1, 0, 1)
    out *= np.exp(-below / _FADES)[..., None]
    whole = np.zeros((height, width, 4), np.float32)
    whole[first:] = out
    return whole[..., :3], whole[..., 3]


_FAR, _FADES = 0.12, 0.3
"""Units below the ground line at which a mirror image is at its softest, and over which it fades to a third."""


def _soft(image: Picture, size: float) -> Picture:
    """Blurred by ``size`` pixels. A wide blur is done on a smaller picture, where it costs a sixteenth."""
    import cv2

    shrunk = max(1, min(int(size / 3), 8))
    small = tuple(max(1, side // shrunk) for side in image.shape[1::-1])
    blurred = cv2.GaussianBlur(
        cv2.resize(image, small, interpolation=cv2.INTER_AREA), (0, 0), max(size / shrunk, 0.3)
    )
    return np.asarray(cv2.resize(blurred, image.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)
