"""What is to be kept of a product when a model paints around it: its fine lines, its outline, its relief.

Every function takes a product on a canvas as a SceneRequest has it (``foreground`` (H, W, 3), ``alpha`` (H, W)) and
gives one map (H, W) in [0, 1]. The product's old background is not in it, and nothing here may bring a border back:
lines are looked for on the product laid over its own mean colour, and its outline is drawn from the alpha.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.protocols import RGB, Alpha
from engines.protocols.scenes import DepthEstimator, EdgeDetector

CANNY = (100, 200)
"""Hysteresis thresholds, as ControlNet's Canny model was trained with: https://arxiv.org/abs/2302.05543, appendix."""

_INSIDE = 0.5
_FAR = 0.25
"""The nearness of the product's own farthest point: what is not the product is at zero, behind it."""

_LEAST_CONTRAST = 24.0
"""Grey levels a pixel that count as a full edge at least: without it, the grain of a plain product would be drawn."""


def over_own_colour(foreground: RGB, alpha: Alpha) -> RGB:
    """The product over its own mean colour: its border is no edge any more."""
    weight = alpha.sum(dtype=np.float64)
    if weight <= 0:
        return np.full_like(foreground, 127)
    cover = alpha[..., None]
    mean = (foreground * cover).sum(axis=(0, 1), dtype=np.float64) / weight
    laid: RGB = (foreground * cover + mean.astype(np.float32) * (1 - cover) + 0.5).astype(np.uint8)
    return laid


def silhouette(alpha: Alpha) -> Alpha:
    """One where the product is, zero elsewhere."""
    return (alpha > _INSIDE).astype(np.float32)


def outline(alpha: Alpha) -> Alpha:
    """The silhouette's outermost pixels; where it leaves the canvas there is no line."""
    import cv2

    inside = (alpha > _INSIDE).astype(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return (inside - cv2.erode(inside, cross)).astype(np.float32)


def canny(foreground: RGB, alpha: Alpha) -> Alpha:
    """Canny's edges within the product, and its outline: zeros and ones.

    Source: J. Canny, "A Computational Approach to Edge Detection", 1986.
    """
    import cv2

    lines = cv2.Canny(over_own_colour(foreground, alpha), *CANNY) > 0
    found: Alpha = np.maximum((lines & (alpha > _INSIDE)).astype(np.float32), outline(alpha))
    return found


def soft_edges(foreground: RGB, alpha: Alpha, detector: EdgeDetector) -> Alpha:
    """What ``detector`` sees within the product, and its outline, as soft."""
    import cv2

    (seen,) = detector.edges([over_own_colour(foreground, alpha)])
    around = cv2.GaussianBlur(outline(alpha), (0, 0), _softness(alpha.shape))
    peak = float(around.max())
    soft = around / peak if peak else around
    found: Alpha = np.maximum(seen * alpha, soft).astype(np.float32)
    return found


def depth(foreground: RGB, alpha: Alpha, estimator: DepthEstimator) -> Alpha:
    """The product's relief, nearest at one; what is not the product is at zero."""
    (near,) = estimator.depth([over_own_colour(foreground, alpha)])
    inside = alpha > _INSIDE
    if not inside.any():
        return np.zeros_like(alpha)
    low, high = float(near[inside].min()), float(near[inside].max())
    relief = (near - low) / (high - low) if high > low else np.ones_like(near)
    return np.where(inside, _FAR + (1 - _FAR) * relief, 0).astype(np.float32)


def gradients(picture: RGB) -> Alpha:
    """Soft edges without a model: the strongest gradient of the three channels, after a blur.

    It sees contrast, where a learnt detector sees objects: fine texture is drawn as well.
    """
    import cv2

    smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), _softness(picture.shape[:2]))
    across, down = (
        cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8),
        cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8),
    )
    strength: npt.NDArray[np.float32] = np.hypot(across, down).max(axis=2)
    most = max(_LEAST_CONTRAST, float(np.quantile(strength, 0.995)))
    found: Alpha = np.clip(strength / most, 0, 1)
    return found


def _softness(shape: tuple[int, ...]) -> float:
    """Standard deviation of a blur in pixels: the same share of any canvas."""
    return max(1.0, max(shape) / 512)
