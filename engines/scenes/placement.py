"""Where a product lies in a picture: how large, how far from the borders, and on which line it stands."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from engines.looks.cutouts import solid
from engines.looks.regions import bounds
from engines.protocols import Alpha, Placement
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

    In a wide picture ``seed`` chooses the left or the right third, where the product is narrow enough. Raises
    RejectedInput for a cut-out without a solid pixel.
    """
    box = bounds(solid(alpha))
    if box is None:
        raise RejectedInput("no-subject", "the cut-out has no solid pixel: there is nothing to place")
    width, height = aspect.size
    left, top, right, bottom = box
    share = next((s for kind, s in (_LARGE | _SMALL).items() if kind in kinds), _USUAL)
    scale = min(
        share * width / (right - left),
        min(share, _GROUND - 0.06 if pose is Pose.STANDING else 0.88) * height / (bottom - top),
        MOST_ENLARGED,
    )
    across = (width - scale * (right - left)) / 2
    if aspect is Aspect.WIDE and across > 0.25 * width:
        across *= 1 - _THIRD if seed % 2 else 1 + _THIRD
    ground = (
        round(_GROUND * height) if pose is Pose.STANDING else round((height + scale * (bottom - top)) / 2)
    )
    return Placement(
        width=width,
        height=height,
        crop=box,
        scale=scale,
        left=round(across),
        top=ground - round(scale * (bottom - top)),
        ground=ground,
    )
