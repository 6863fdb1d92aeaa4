"""The product's own pixels: taken out of their old background, laid on a canvas, and put over a scenery."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.looks.regions import widened, window
from engines.protocols import RGB, Alpha, Placement, Subject

_RIM = 0.03
"""How much of the photo around the solid crop comes along, as a share of its size: hair and soft edges."""


def lay(subject: Subject, placement: Placement) -> tuple[RGB, Alpha]:
    """The product's own colours (H, W, 3) and alpha (H, W) on the placement's canvas.

    Colours are those of the product alone: what an edge took from its old background is taken out again. They
    are zero where nothing of the product is.
    """
    import cv2

    around = widened(placement.crop, _RIM, subject.alpha.shape)
    part = window(around)
    alpha = subject.alpha[part]
    colours = foreground(subject.picture[part], alpha)
    moved = np.array(
        [
            [placement.scale, 0.0, placement.left + placement.scale * (around[0] - placement.crop[0])],
            [0.0, placement.scale, placement.top + placement.scale * (around[1] - placement.crop[1])],
        ]
    )
    size = (placement.width, placement.height)
    smooth = cv2.INTER_AREA if placement.scale < 1 else cv2.INTER_CUBIC
    premultiplied = np.dstack([colours * alpha[..., None], alpha]).astype(np.float32)
    if placement.scale < 0.5:
        # A transform reads four pixels around each: what is to shrink more is first shrunk by areas.
        factor = placement.scale
        shrunk = cv2.resize(premultiplied, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        moved[:, :2] = np.eye(2)
        premultiplied, smooth = shrunk, cv2.INTER_LINEAR
    laid = cv2.warpAffine(
        premultiplied, moved, size, flags=smooth if smooth != cv2.INTER_AREA else cv2.INTER_LINEAR
    )
    cover = np.clip(laid[..., 3], 0.0, 1.0)
    colour = laid[..., :3] / np.maximum(cover, 1e-3)[..., None]
    there = cover > 1 / 512
    return (
        np.where(there[..., None], np.clip(colour + 0.5, 0, 255), 0).astype(np.uint8),
        np.where(there, cover, 0).astype(np.float32),
    )


def foreground(picture: RGB, alpha: Alpha) -> npt.NDArray[np.float32]:
    """The colours of the product alone, (H, W, 3) in [0, 255], also where its alpha is not one.

    Source: T. Germer et al., "Fast Multi-Level Foreground Estimation", 2020.
    """
    from pymatting import estimate_foreground_ml

    estimated = estimate_foreground_ml(picture / 255.0, alpha.astype(np.float64))
    return np.asarray(estimated * 255.0, np.float32)


def paste(scenery: RGB, colours: RGB, alpha: Alpha) -> RGB:
    """``colours`` over ``scenery`` by ``alpha``; where alpha is one the picture has exactly these colours."""
    cover = alpha[..., None]
    blended = scenery.astype(np.float32) * (1 - cover) + colours.astype(np.float32) * cover
    return (blended + 0.5).astype(np.uint8)
