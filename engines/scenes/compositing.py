"""The product's own pixels: taken out of their old background, laid on a canvas, and put over a scenery."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from engines.looks.regions import Bounds, widened, window
from engines.protocols import RGB, Alpha, Subject
from engines.protocols.scenes import Placement
from engines.scenes.matting import foreground

_RIM = 0.03
"""How much of the photo around the solid crop comes along, as a share of its size: hair and soft edges."""

_LEAST = 1 / 255
"""Covered less than this, a pixel shows nothing of the product."""


def lay(subject: Subject, placement: Placement) -> tuple[RGB, Alpha]:
    """The product's own colours (H, W, 3) and alpha (H, W) on the placement's canvas.

    Colours are those of the product alone: what an edge took from its old background is taken out again. They
    are zero where nothing of the product is. The alpha is taken as it is: sharpen it first.
    """
    picture, alpha, to = moved(subject, placement)
    colours = (foreground(picture, alpha) + 0.5).astype(np.uint8)
    there = alpha >= _LEAST
    laid = np.zeros((placement.height, placement.width, 3), np.uint8)
    cover = np.zeros((placement.height, placement.width), np.float32)
    laid[window(to)] = np.where(there[..., np.newaxis], colours, 0)
    cover[window(to)] = np.where(there, alpha, 0)
    return laid, cover


def moved(subject: Subject, placement: Placement, margin: float = _RIM) -> tuple[RGB, Alpha, Bounds]:
    """The photo around the product, its background still in it, and its alpha, both at the canvas's scale; and
    where on the canvas they belong. ``margin`` is a share of the product's size; what lies outside photo or canvas is
    left out."""
    scale, (left, top) = placement.scale, placement.crop[:2]
    around = widened(placement.crop, margin, subject.alpha.shape)
    # The pixels of the canvas that lie in the photo as a whole: none of them is made up.
    to = (
        max(0, math.ceil(placement.left + scale * (around[0] - left))),
        max(0, math.ceil(placement.top + scale * (around[1] - top))),
        min(placement.width, math.floor(placement.left + scale * (around[2] - left))),
        min(placement.height, math.floor(placement.top + scale * (around[3] - top))),
    )
    wide, high = max(1, to[2] - to[0]), max(1, to[3] - to[1])
    to = (to[0], to[1], to[0] + wide, to[1] + high)
    corner = (left + (to[0] - placement.left) / scale, top + (to[1] - placement.top) / scale)
    height, width = subject.alpha.shape
    box = (
        max(0.0, corner[0]),
        max(0.0, corner[1]),
        min(float(width), corner[0] + wide / scale),
        min(float(height), corner[1] + high / scale),
    )
    how = Image.Resampling.BICUBIC
    picture = Image.fromarray(subject.picture).resize((wide, high), how, box=box)
    alpha = Image.fromarray(subject.alpha).resize((wide, high), how, box=box)
    return np.asarray(picture), np.clip(np.asarray(alpha, np.float32), 0.0, 1.0), to


def paste(scenery: RGB, colours: RGB, alpha: Alpha) -> RGB:
    """``colours`` over ``scenery`` by ``alpha``; where alpha is one the picture has exactly these colours."""
    cover = alpha[..., np.newaxis]
    blended = scenery.astype(np.float32) * (1 - cover) + colours.astype(np.float32) * cover
    return (blended + 0.5).astype(np.uint8)
