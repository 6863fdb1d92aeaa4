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
    ground = view.origin[1] - feet_of((alpha > 0.5).astype(np.uint8), view) * np.float32(view.height)
    rows = np.arange(height, dtype=np.float32)[:, None]
    below = np.maximum(rows + 0.5 - ground[None], 0) / view.height
    across = np.broadcast_to(np.arange(width, dtype=np.float32)[None], alpha.shape)
    source = np.where(below > 0, 2 * ground[None] - rows - 1, -9).astype(np.float32)
    stacked = np.dstack([foreground * alpha[..., None], alpha]).astype(np.float32)
    image = cv2.remap(stacked, across.copy(), source, cv2.INTER_LINEAR, borderValue=0)
    soft = [image, *(cv2.GaussianBlur(image, (0, 0), s * blur * view.height * 0.12) for s in (0.25, 1.0))]
    level = np.clip(below / 0.12, 0, 1)[..., None] * 2
    out = soft[0] * np.clip(1 - level, 0, 1) + soft[1] * np.clip(1 - np.abs(level - 1), 0, 1)
    out += soft[2] * np.clip(level - 1, 0, 1)
    out *= np.exp(-below / 0.3)[..., None]
    return out[..., :3], out[..., 3]
