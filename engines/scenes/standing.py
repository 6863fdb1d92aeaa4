"""How a product stands in its setting: on the ground, with a shadow, at a likely size, and alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engines.looks.cutouts import solid
from engines.looks.regions import bounds, window
from engines.protocols import RGB, Alpha
from engines.protocols.scenes import Placement
from engines.scenes.presets import Pose

Floats = npt.NDArray[np.float32]

_FOOT = 0.015
"""Of the canvas's height: as near to its lowest row a product touches the ground."""

_SHADE = 0.03, 0.01, 0.015, 0.04
"""Of the canvas's height: from how far behind the feet's lowest row to how far before it a contact shadow lies, and
between which rows before it the ground is lit."""

_AIR = 0.15
"""Of a product's height: so far above its lowest row a part of it is in the air."""

_HANGING = 0.35
"""Of a product's area: more of it in the air than a balloon over a chair."""

_SIDE = 192
"""Pixels of the canvas's longer side when copies are looked for."""

_SIZES = (0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 1.0)
"""Of the product's own, in which a copy is looked for."""

_LEAST_DEVIATION = 6.0
"""Of grey levels in a window, under which it is plain and copies nothing."""


def size(placement: Placement) -> float:
    """The larger of the product's shares of the canvas's width and height, also of what lies outside it."""
    left, top, right, bottom = placement.crop
    return placement.scale * max((right - left) / placement.width, (bottom - top) / placement.height)


def stands(alpha: Alpha) -> bool:
    """Whether all of a cut-out can stand on one ground seen from the front: a good part that hangs in the air says
    that the photo was taken from above."""
    import cv2

    inside = solid(alpha)
    box = bounds(inside)
    if box is None:
        return False
    _, _, parts, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8))
    lowest = parts[1:, cv2.CC_STAT_TOP] + parts[1:, cv2.CC_STAT_HEIGHT]
    air = box[3] - lowest > _AIR * (box[3] - box[1])
    return float(parts[1:, cv2.CC_STAT_AREA][air].sum()) <= _HANGING * float(inside.sum())


def gap(alpha: Alpha, placement: Placement) -> float:
    """How far the product's lowest row is from the ground, up or down, as a share of the canvas's height."""
    box = bounds(solid(alpha))
    return 1.0 if box is None else abs(box[3] - placement.ground) / placement.height


def contact(lightness: Floats, alpha: Alpha) -> float:
    """How much darker the setting is where the product's feet touch it than just before them, in L* of CIELAB.

    ``lightness`` (H, W) is that of the setting without the product, so that what lies under its base counts too: much
    of a contact shadow is hidden by what casts it. Where an engine leaves something of the product in its setting,
    dark feet pass for a shadow.
    """
    inside = solid(alpha)
    box = bounds(inside)
    if box is None:
        return 0.0
    height = len(alpha)
    bottom = box[3]
    feet = inside[max(0, bottom - max(2, round(_FOOT * height))) : bottom].any(axis=0)
    rows = lightness[:, feet].mean(axis=1)
    behind, at, near, far = (round(share * height) for share in _SHADE)
    under = rows[max(0, bottom - behind) : bottom + at]
    before = rows[bottom + near : bottom + far]
    if not len(under) or not len(before):
        return 0.0
    # A few rows together: the grain of a surface is no shadow.
    thick = max(1, height // 200)
    return float(before.mean() - np.convolve(under, np.ones(thick) / thick, "valid").min())


def shade(darker: Floats, alpha: Alpha, pose: Pose) -> float:
    """How much the product darkens what it stands or lies on, in L*, where it does so most: under its feet, or close
    around it. ``darker`` (H, W) is by how much its setting is darker with it than without; what is darker everywhere is
    another exposure and no shadow."""
    import cv2

    inside = solid(alpha)
    box = bounds(inside)
    if box is None:
        return 0.0
    height, unit = len(alpha), max(alpha.shape) / 100
    away = cv2.distanceTransform(1 - inside.astype(np.uint8), cv2.DIST_L2, 3)
    off = darker[away > 6 * unit]
    exposure = float(np.median(off)) if off.size else 0.0
    if pose is Pose.STANDING:
        bottom = box[3]
        feet = inside[max(0, bottom - max(2, round(_FOOT * height))) : bottom].any(axis=0)
        behind, at = (round(share * height) for share in _SHADE[:2])
        rows = darker[max(0, bottom - behind) : bottom + at, feet].mean(axis=1)
        thick = max(1, height // 200)
        return float(np.convolve(rows, np.ones(thick) / thick, "valid").max()) - exposure
    close = darker[(away > 0) & (away < 1.2 * unit)]
    return float(np.percentile(close, 75)) - exposure if close.size else 0.0


def surrounding(lightness: Floats, alpha: Alpha) -> float:
    """How much darker the setting is close around the product than further off, in L*: of one that lies."""
    import cv2

    inside = solid(alpha).astype(np.uint8)
    away = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
    unit = max(alpha.shape) / 100
    close, off = (
        lightness[(away > 0) & (away < 1.2 * unit)],
        lightness[(away > 6 * unit) & (away < 12 * unit)],
    )
    if not close.size or not off.size:
        return 0.0
    return float(np.median(off) - np.percentile(close, 25))


def copy(scenery: RGB, colours: RGB, alpha: Alpha) -> float:
    """How much any place beside the product looks like it, as the best normalised correlation over sizes, also
    mirrored; in [-1, 1]."""

    box = bounds(solid(alpha))
    if box is None:
        return 0.0
    scale = _SIDE / max(alpha.shape)
    small = _shrunk(scenery, scale)
    taken = _shrunk(solid(alpha).astype(np.float32), scale)
    part = window(box)
    best = -1.0
    for share in _SIZES:
        template, mask = (
            _shrunk(colours[part], scale * share),
            _shrunk(solid(alpha)[part].astype(np.float32), scale * share),
        )
        high, wide = mask.shape
        if min(high, wide) < 6 or high > small.shape[0] or wide > small.shape[1]:
            continue
        cover = (mask > 0.5).astype(np.float32)
        if cover.sum() < 30:
            continue
        for turned in (False, True):
            looked, through = (template[:, ::-1], cover[:, ::-1]) if turned else (template, cover)
            best = max(
                best, _best_match(small, taken, np.ascontiguousarray(looked), np.ascontiguousarray(through))
            )
    return best


def _best_match(picture: RGB, taken: Floats, template: RGB, cover: Floats) -> float:
    import cv2

    weights = np.repeat(cover[..., np.newaxis], 3, axis=2)
    found = cv2.matchTemplate(
        picture.astype(np.float32), template.astype(np.float32), cv2.TM_CCOEFF_NORMED, mask=weights
    )
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    n = float(cover.sum())
    mean, square = (cv2.matchTemplate(v, cover, cv2.TM_CCORR) / n for v in (grey, grey * grey))
    own = cv2.matchTemplate(taken, cover, cv2.TM_CCORR) / n
    usable = np.isfinite(found) & (square - mean * mean > _LEAST_DEVIATION**2) & (own < 0.5)
    return float(found[usable].max(initial=-1.0))


def _shrunk(values: npt.NDArray[Any], scale: float) -> npt.NDArray[Any]:
    import cv2

    height, width = values.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA))
