"""Where a product lies in a picture: how large, how far from the borders, and on which line it stands."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from engines.looks.cutouts import solid
from engines.looks.regions import bounds
from engines.protocols import Alpha
from engines.protocols.scenes import Placement
from engines.scenes.presets import Pose
from pipeline.errors import RejectedInput

LONG_EDGE = 1024
"""Pixels of the longer edge of a master picture."""

MOST_ENLARGED = 1.6
"""A photo enlarged more looks soft beside the set around it."""

_LARGE = {"furniture": 0.74, "appliances": 0.72, "clothing": 0.80, "lighting": 0.72, "plants": 0.72}
_SMALL = {"jewellery": 0.46, "beauty": 0.52, "stationery": 0.52, "accessories": 0.56}
_USUAL = 0.62
_GROUND = 0.80
"""The row of the canvas, as a share of its height, on which a standing product stands."""

_CUT = 0.04
"""Of a product's width or height that touch the photo's border, from which the border cut it off."""

_HANGS = frozenset(("lampshade", "pendant-lamp", "hanging-plant"))
"""Types that never stand: they hang from the top of the picture."""

_THIRD = 1 / 3
"""From the middle to a third, as a share of the width that is left: where a wide picture puts its subject."""


class Aspect(StrEnum):
    """Width to height of a picture, by what shops call it."""

    SQUARE = "square"  # 1:1
    PORTRAIT = "portrait"  # 4:5
    WIDE = "wide"  # 16:9

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the master in pixels."""
        return {
            Aspect.SQUARE: (LONG_EDGE, LONG_EDGE),
            Aspect.PORTRAIT: (LONG_EDGE * 4 // 5, LONG_EDGE),
            Aspect.WIDE: (LONG_EDGE, LONG_EDGE * 9 // 16),
        }[self]


def place(alpha: Alpha, aspect: Aspect, pose: Pose, kinds: Collection[str], seed: int) -> Placement:
    """The placement of the cut-out ``alpha`` (H, W) of a product of these categories and types.

    In a wide picture ``seed`` chooses the left or the right third, where the product is narrow enough. What the
    photo's border cut off lies at the same border of the canvas, and what hangs, at its top. Raises RejectedInput
    for a cut-out without a solid pixel, and for one that opposite borders cut off.
    """
    box = bounds(solid(alpha))
    if box is None:
        raise RejectedInput("no-subject", "the cut-out has no solid pixel: there is nothing to place")
    cut = _cut_off(alpha)
    if pose is Pose.STANDING and not _HANGS.isdisjoint(kinds):
        cut |= {"top"}
    if {"left", "right"} <= cut or {"top", "bottom"} <= cut:
        raise RejectedInput(
            "cut-off", "the photo's opposite borders cut the product off: no setting can show it whole"
        )
    width, height = aspect.size
    left, top, right, bottom = box
    share = next((s for kind, s in (_LARGE | _SMALL).items() if kind in kinds), _USUAL)
    scale = min(
        share * width / (right - left),
        min(share, _GROUND - 0.06 if pose is Pose.STANDING else 0.88) * height / (bottom - top),
        MOST_ENLARGED,
    )
    wide, high = scale * (right - left), scale * (bottom - top)
    across = (width - wide) / 2
    if aspect is Aspect.WIDE and across > 0.25 * width:
        across *= 1 - _THIRD if seed % 2 else 1 + _THIRD
    across = 0.0 if "left" in cut else width - wide if "right" in cut else across
    ground = round(_GROUND * height) if pose is Pose.STANDING else round((height + high) / 2)
    ground = height if "bottom" in cut else round(high) if "top" in cut else ground
    return Placement(
        width=width,
        height=height,
        crop=box,
        scale=scale,
        left=round(across),
        top=ground - round(high),
        ground=ground,
    )


def _cut_off(alpha: Alpha) -> set[str]:
    """The photo's borders that the product runs into along a good part of its own width or height."""
    inside = solid(alpha)
    along = {"top": inside[0], "bottom": inside[-1], "left": inside[:, 0], "right": inside[:, -1]}
    size = {"top": inside.any(axis=0), "left": inside.any(axis=1)}
    size |= {"bottom": size["top"], "right": size["left"]}
    return {side for side, border in along.items() if border.sum() > _CUT * size[side].sum()}
