"""Why a garment cannot be fitted to anybody, in one sentence that says what to do; empty where it can."""

from __future__ import annotations

import numpy as np

from engines.garments.landmarks import Places
from engines.garments.silhouette import Silhouette
from engines.protocols import Alpha
from engines.protocols.fitting import Garment, GarmentKind

_NO_BODY = {
    GarmentKind.FOOTWEAR: "Footwear is not fitted to people: only what is worn on trunk, arms and legs is.",
    GarmentKind.ACCESSORY: "An accessory is not fitted to people: only what is worn on trunk, arms and legs is.",
}

_SLEEVED = frozenset(
    {"long-sleeve-top", "sweatshirt", "cardigan", "jacket", "coat", "suit", "shirt", "lab-coat"}
)
_LEGGED = frozenset({"trousers", "jeans", "shorts"})

_LEAST_SYMMETRY, _LEAST_SURE = 0.75, 0.35
_TOUCHING = 0.04


def kind_reason(kind: GarmentKind) -> str:
    """Of what can be fitted to nobody, whatever its photo shows."""
    return _NO_BODY.get(kind, "")


def cut_off(alpha: Alpha) -> str:
    """Of a garment that reaches the photo's edge."""
    solid = alpha > 0.5
    edges = {"top": solid[0], "bottom": solid[-1], "left": solid[:, 0], "right": solid[:, -1]}
    size = max(int(np.count_nonzero(solid.any(axis=0))), int(np.count_nonzero(solid.any(axis=1))))
    cut = [name for name, edge in edges.items() if np.count_nonzero(edge) > _TOUCHING * size]
    if not cut:
        return ""
    return (
        f"The photo cuts the garment off at the {' and the '.join(cut)}: send a photo that shows all of it."
    )


def shape_reason(
    garment: Garment, sil: Silhouette, left: Places, right: Places, legs: bool, sure: float
) -> str:
    """Of a garment whose shape does not say where its places are."""
    if sil.hooked:
        return "The garment hangs on a hanger, which is in its cut-out: send a photo of it lying flat."
    sleeves = [own.parting is not None for own in (left, right)]
    types = frozenset(garment.types)
    if garment.kind is not GarmentKind.LOWER:
        if any(sleeves) and not all(sleeves):
            return (
                "Only one sleeve is to be seen, the other lies on the garment or is folded: send a photo of it "
                "lying flat with both sleeves spread."
            )
        if types & _SLEEVED and not any(sleeves):
            return (
                "No sleeves are to be seen, so they are folded or lie on the garment: send a photo of it lying "
                "flat with both sleeves spread."
            )
    elif types & _LEGGED and not legs:
        return "The legs cannot be told apart: send a photo of it lying flat with the legs spread a little."
    if sil.symmetry < _LEAST_SYMMETRY:
        return (
            f"The halves of the garment are not alike (only {sil.symmetry:.0%}), so it is folded, turned or worn: "
            "send a photo of it lying flat, seen from straight above."
        )
    if sure < _LEAST_SURE:
        return "The garment's shape is not clear enough to find its places: send a photo of it lying flat."
    return ""
