"""Whether a person's photo is fit for a kind of garment, and what is needed where it is not."""

from __future__ import annotations

from math import atan2, degrees

import numpy as np

from engines.protocols.fitting import GarmentKind, Person, Points
from pipeline.errors import RejectedInput

NOSE = 0
SHOULDERS, ELBOWS, WRISTS, FINGERS = (11, 12), (13, 14), (15, 16), (19, 20)
HIPS, KNEES, ANKLES, TOES = (23, 24), (25, 26), (27, 28), (31, 32)
"""Rows of a pose, the wearer's left first (BlazePose, https://arxiv.org/abs/2006.10204)."""

SEEN = 0.5
"""How surely a point must be seen to be relied on."""

_MARGIN = 0.02
"""A point so far outside the picture, as a share of its longer side, may still be in it."""

_NEEDED: dict[GarmentKind, tuple[tuple[str, tuple[int, int]], ...]] = {
    GarmentKind.UPPER: (("shoulders", SHOULDERS), ("elbows", ELBOWS), ("hips", HIPS)),
    GarmentKind.OUTERWEAR: (("shoulders", SHOULDERS), ("elbows", ELBOWS), ("hips", HIPS)),
    GarmentKind.DRESS: (("shoulders", SHOULDERS), ("hips", HIPS), ("knees", KNEES)),
    GarmentKind.LOWER: (("hips", HIPS), ("knees", KNEES), ("ankles", ANKLES)),
    GarmentKind.FOOTWEAR: (("ankles", ANKLES), ("feet", TOES)),
    GarmentKind.ACCESSORY: (("shoulders", SHOULDERS),),
}
_DOWN_TO_HIPS = (GarmentKind.UPPER, GarmentKind.OUTERWEAR, GarmentKind.ACCESSORY)
_OVER_TORSO = (GarmentKind.UPPER, GarmentKind.OUTERWEAR, GarmentKind.DRESS)
_OVER_LEGS = (GarmentKind.LOWER, GarmentKind.DRESS)

_MOST_LEAN = 35.0
"""Degrees of the torso from upright."""

_LEAST_WIDTH = 0.4
"""Shoulders' width as a share of the torso's length: of eight people seen from the front it is 0.58 to 0.72."""

_LEAST_THIGH = 0.45
"""How far a knee is under its hip, as a share of the torso's length: standing 0.75 and more, seated near nothing."""


def fit_for(kind: GarmentKind, person: Person) -> None:
    """Nothing where the person can wear it; else a RejectedInput whose sentence says what photo is needed."""
    missing = [part for part, both in _NEEDED[kind] if not all(_in_view(person, one) for one in both)]
    if missing:
        down = "the body down to the hips" if kind in _DOWN_TO_HIPS else "the whole body down to the feet"
        raise RejectedInput(
            "half-body", f"The {_listed(missing)} cannot be seen: a photo is needed that shows {down}."
        )
    if kind is GarmentKind.FOOTWEAR:
        return
    if abs(lean(person)) > _MOST_LEAN:
        raise RejectedInput(
            "not-upright",
            "The person lies or leans far over: a photo is needed that shows them standing upright.",
        )
    if facing_away(person):
        raise RejectedInput(
            "facing-away",
            "No face is seen: a photo from the front is needed, with the face towards the camera.",
        )
    if shoulder_share(person) < _LEAST_WIDTH:
        raise RejectedInput(
            "turned-sideways",
            "The person is turned sideways: a photo is needed that shows them from the front.",
        )
    if kind in _OVER_TORSO and arms_before_torso(person):
        raise RejectedInput(
            "arms-before-torso",
            "Arms or hands are before the chest: a photo is needed with the arms hanging beside the body.",
        )
    if kind in _OVER_LEGS and _seated(person):
        raise RejectedInput(
            "seated", "The person is sitting: a photo is needed that shows them standing upright."
        )


def facing_away(person: Person) -> bool:
    """Whether no face is seen, or the wearer's left shoulder is at the picture's left."""
    left, right = (person.pose[one, 0] for one in SHOULDERS)
    return person.face is None or bool(left <= right)


def lean(person: Person) -> float:
    """Degrees of the line from hips to shoulders from upright, positive to the picture's right."""
    across, down = _middle(person.pose, SHOULDERS) - _middle(person.pose, HIPS)
    return degrees(atan2(float(across), float(-down)))


def shoulder_share(person: Person) -> float:
    """The shoulders' width as a share of the torso's length: little where the body is turned."""
    left, right = (person.pose[one, :2] for one in SHOULDERS)
    return float(np.linalg.norm(left - right)) / _torso(person.pose)


def arms_before_torso(person: Person) -> bool:
    """Whether an elbow, a wrist, fingers or the middle of a forearm lies clearly inside shoulders and hips."""
    points = person.pose[:, :2]
    corners = points[[SHOULDERS[0], SHOULDERS[1], HIPS[1], HIPS[0]]]
    middle = corners.mean(axis=0)
    # Hanging arms touch the sides of a body; what is in its inner part is before it. Hips are joints: the body is
    # wider there, so a hand at the hip is not yet before it.
    inner = middle + (corners - middle) * 0.8
    for elbow, wrist, finger in zip(ELBOWS, WRISTS, FINGERS, strict=True):
        seen = [one for one in (elbow, wrist, finger) if person.pose[one, 2] >= SEEN]
        places = [points[one] for one in seen]
        if elbow in seen and wrist in seen:
            places.append((points[elbow] + points[wrist]) / 2)
        if any(_inside(place, inner) for place in places):
            return True
    return False


def _seated(person: Person) -> bool:
    drops = [person.pose[knee, 1] - person.pose[hip, 1] for knee, hip in zip(KNEES, HIPS, strict=True)]
    return float(min(drops)) < _LEAST_THIGH * _torso(person.pose)


def _in_view(person: Person, point: int) -> bool:
    height, width = person.mask.shape
    x, y, seen = person.pose[point]
    margin = _MARGIN * max(height, width)
    return bool(-margin <= x <= width + margin and -margin <= y <= height + margin and seen >= SEEN)


def _middle(pose: Points, both: tuple[int, int]) -> Points:
    return np.asarray(pose[list(both), :2].mean(axis=0), np.float32)


def _torso(pose: Points) -> float:
    return max(1.0, float(np.linalg.norm(_middle(pose, SHOULDERS) - _middle(pose, HIPS))))


def _inside(place: Points, corners: Points) -> bool:
    """Whether it is on one and the same side of every edge of a convex polygon."""
    edges = np.roll(corners, -1, axis=0) - corners
    towards = place - corners
    turns = edges[:, 0] * towards[:, 1] - edges[:, 1] * towards[:, 0]
    return bool((turns > 0).all() or (turns < 0).all())


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
