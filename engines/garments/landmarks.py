"""A garment's places, read off its half outlines (engines/garments/silhouette.py).

The method, place by place; what is said of one half holds of the other, and left and right are the wearer's:

- armpit: the deepest dent of the half outline's convex hull that is the root of a limb: the outline before it is at
  least 1.45 times as long as the shortest way across. Where a sleeve lies against the body, that dent is only where
  they part; the armpit is then higher, two fifths of the chest's width below the shoulder, on the line of the side.
- cuff, leg end: of all pairs of corners between the limb's root and its other side the pair that sticks out, is
  square and has a straight edge between. Outer is the one on the shoulder's or hip's side.
- collar: the dent between shoulder and neck where a collar stands up, else the corner where the neckline begins;
  its centre is the outline's top on the axis.
- shoulder: the bend between collar and cuff, about as far out as the armpit.
- hem, waist (of trousers and skirts): the corners at the ends of the last or first straight edge. The waist of a dress
  is where it is narrowest between armpit and hip.
- crotch: where the halves meet from below, if that is deep enough to be between two legs.
- sleeveless: the armpit is the lower end of the armhole, the widest bend below the shoulder.

Every confidence is by how clear the corner or dent is, and falls where a place and its counterpart on the other half
disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from engines.garments.corners import bulge, dents, isthmus, turning
from engines.garments.silhouette import Floats, Silhouette
from engines.protocols.fitting import GarmentKind

NAMES: Mapping[str, str] = {
    "collar-centre": "the middle of the collar's upper edge",
    "crotch": "where the legs part",
    **{
        f"{place}-{side}": told
        for side in ("left", "right")
        for place, told in {
            "collar": "where the collar or neckline meets the shoulder",
            "shoulder": "the shoulder's end, where a sleeve begins",
            "armpit": "the lower end of the armhole",
            "cuff-outer": "the corner of a sleeve's end on the shoulder's side",
            "cuff-inner": "the corner of a sleeve's end on the body's side",
            "hem": "the lower corner of a top's, a dress's or a skirt's side",
            "waist": "the upper corner of trousers or a skirt, or the narrowest place of a dress",
            "leg-outer": "the outer corner of a leg's end",
            "leg-inner": "the inner corner of a leg's end",
        }.items()
    },
}

_LEAN = 0.08
"""How much further in the armpit is than where a sleeve that lies on the body leaves it, a unit of height."""

_UNEVEN = 0.06
"""Of a garment's height, by which its armpits may differ before the lower one is doubted."""

LIMB = 1.45
"""Times as long as the shortest way across: the outline of a sleeve. A waist comes to 1.3, a cap sleeve to 1.5."""


CENTRES: Mapping[str, int] = {"collar-centre": 0, "crotch": -1}
"""What lies on the axis: the first or the last point of both halves."""

_LEAST_FORK = 0.08
"""Of a garment's height: what parts less than this at the bottom are no two legs."""


@dataclass(slots=True)
class Places:
    """The places of one half.

    ``points`` are (u, v, confidence) by name. ``at`` are the indices of those on its path, ``parting`` that of where
    sleeve and body part, None without a sleeve; ``bib`` says that trousers go up over the chest.
    """

    points: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    at: dict[str, int] = field(default_factory=dict)
    parting: int | None = None
    bib: bool = False

    def put(self, path: Floats, name: str, index: int, sure: float) -> None:
        """A place on the path."""
        self.at[name] = index
        self.points[name] = float(path[index, 0]), float(path[index, 1]), sure


def forked(sil: Silhouette, kind: GarmentKind) -> bool:
    """Whether it ends in two legs: both halves reach lower than where they meet."""
    if kind in (GarmentKind.UPPER, GarmentKind.OUTERWEAR):
        return False
    return all(float(half.path[:, 1].max() - half.path[-1, 1]) > _LEAST_FORK for half in sil.halves)


def places(path: Floats, kind: GarmentKind, legs: bool) -> Places:
    """Of a half outline, by what kind of garment it is of."""
    if kind is GarmentKind.LOWER:
        return lower(path, legs)
    found = upper(path)
    if kind is GarmentKind.DRESS and "armpit" in found.points:
        begin = found.at.get("armpit", found.parting or 0)
        found.put(path, "waist", *narrowest(path, begin, found.at["hem"]))
    return found


def _sure(degrees: float) -> float:
    return float(np.clip(degrees / 60.0, 0.1, 1.0))


def reach_of(path: Floats, share: float = 0.035) -> int:
    """Points that make ``share`` of the garment's height."""
    step = float(np.linalg.norm(np.diff(path, axis=0), axis=1).mean())
    return max(3, round(share / max(step, 1e-6)))


def upper(path: Floats) -> Places:
    """Of a half outline from the neck's middle to the hem's."""
    found = Places()
    bend = turning(path, reach_of(path))
    root = _root(path, bend)
    if root is None:
        _sleeveless(path, bend, found)
    else:
        armpit, opening, outside = root
        found.parting = armpit
        outer, inner, sure = limb_end(path, bend, outside, armpit)
        found.put(path, "cuff-outer", outer, sure)
        found.put(path, "cuff-inner", inner, sure)
        _neck_and_shoulder(path, bend, found, outer, float(path[armpit, 0]))
        found.put(path, "hem", *_hem(path, bend, armpit))
        _armpit(path, found, armpit, opening)
    return found


def _root(path: Floats, bend: Floats) -> tuple[int, float, int] | None:
    """The dent below a sleeve: its point, the limb's ratio, and the point across the limb."""
    height = float(path[:, 1].max())
    best: tuple[float, tuple[int, float, int]] | None = None
    for point, depth, start, back in dents(path):
        u, v = path[point]
        if depth < 0.02 or u < 0.06 or not 0.1 * height < v < 0.97 * height or path[start, 0] < u + 0.05:
            continue
        # A waist below a short sleeve is in the same dent as the armpit and deeper: the armpit is where it is sharp.
        above = [
            i for i in range(start + 2, back - 1) if v - 0.3 < path[i, 1] < v and abs(path[i, 0] - u) < 0.1
        ]
        sharp = [i for i in above if bend[i] < -35 and bend[i] == bend[i - 6 : i + 7].min()]
        point = max([point, *sharp], key=lambda i: isthmus(path, i, reach_of(path, 0.1))[0])
        ratio, across = isthmus(path, point, reach_of(path, 0.1))
        if ratio >= LIMB and (best is None or depth * ratio > best[0]):
            best = depth * ratio, (point, ratio, across)
    return best[1] if best else None


def limb_end(path: Floats, bend: Floats, first: int, last: int) -> tuple[int, int, float]:
    """The two corners of a limb's end between two points of the outline, the one nearer to ``first`` first."""
    root = (path[first] + path[last]) / 2
    away = np.linalg.norm(path - root, axis=1)
    farthest = float(away[first:last].max())
    step = float(np.linalg.norm(np.diff(path, axis=0), axis=1).mean())
    across = float(np.hypot(*(path[first] - path[last])))
    at = np.arange(first + 2, last - 1)
    at = at[(away[at] > 0.6 * farthest) & (bend[at] > 15)]
    at = at[[bend[i] >= bend[max(0, i - 4) : i + 5].max() - 1e-9 for i in at]]
    best = (-np.inf, first, last)
    for i in at:
        for j in at[at > i]:
            width = float(np.hypot(*(path[i] - path[j])))
            if not 0.25 * across < width < 1.6 * across + 0.05:
                continue
            straight = (j - i) * step / max(width, 1e-6) - 1
            worth = (
                min(bend[i], 100) / 90
                + min(bend[j], 100) / 90
                + (away[i] + away[j]) / farthest
                - 6 * max(0.0, straight - 0.04)
            )
            best = max(best, (float(worth), int(i), int(j)))
    if best[0] == -np.inf:
        far = first + int(np.argmax(away[first:last]))
        return far, far, 0.1
    return best[1], best[2], min(_sure(bend[best[1]]), _sure(bend[best[2]]))


def _hem(path: Floats, bend: Floats, armpit: int) -> tuple[int, float]:
    """The corner between side and hem: sticking out, low and outward."""
    at = np.arange(armpit + 2, len(path))
    if len(at) < 3:
        return len(path) - 1, 0.1
    u, v = path[at, 0], path[at, 1]
    width, height = max(float(u.max()), 1e-6), max(float(v.max() - path[armpit, 1]), 0.08)
    worth = u / width + 0.8 * (v - path[armpit, 1]) / height + np.clip(bend[at], 0, 90) / 90
    best = int(at[np.argmax(worth)])
    return best, _sure(bend[best])


def _neck_and_shoulder(path: Floats, bend: Floats, found: Places, cuff: int, chest: float) -> None:
    wide = turning(path, reach_of(path, 0.06))
    at = np.arange(2, max(cuff - reach_of(path, 0.03), 4))
    u = path[at, 0]
    # A shoulder is a bend about as far out as the armpit, no lower than that.
    likely = np.exp(-0.5 * ((u / max(chest, 1e-6) - 1.02) / 0.13) ** 2)
    worth = (np.clip(wide[at], 0, 60) + 4) * likely
    shoulder = int(at[np.argmax(worth)])
    found.put(path, "shoulder", shoulder, float(np.clip(wide[shoulder] / 30, 0.15, 1.0)))
    found.put(path, "collar", *_collar(path, bend, shoulder))


def _collar(path: Floats, bend: Floats, shoulder: int) -> tuple[int, float]:
    out = float(path[shoulder, 0])
    at = np.arange(1, shoulder)
    at = at[(path[at, 0] > 0.12 * out) & (path[at, 0] < 0.8 * out)]
    if not len(at):
        return max(1, shoulder // 2), 0.1
    crest = int(at[np.argmax(np.clip(bend[at], 0, 90) - 200 * (path[at, 1] - path[at, 1].min()))])
    # A standing collar: between its upper corner and the shoulder the outline dips.
    if shoulder - crest > 6:
        dip = -bulge(path, crest, shoulder)
        deepest = int(np.argmax(dip))
        if dip[deepest] > 0.008 and path[crest + deepest, 0] < 0.75 * out:
            return crest + deepest, float(np.clip(dip[deepest] / 0.02, 0.3, 1.0))
    return crest, _sure(bend[crest])


def _armpit(path: Floats, found: Places, parting: int, ratio: float) -> None:
    """The parting of sleeve and body, or higher up where they lie against each other."""
    shoulder = path[found.at["shoulder"]]
    u, v = path[parting]
    depth = 0.8 * u
    sure = float(np.clip((ratio - 1.0) / 2, 0.3, 1.0))
    if v - shoulder[1] <= 1.9 * u:
        found.put(path, "armpit", parting, sure)
        return
    high = float(shoulder[1] + depth)
    found.points["armpit"] = float(u - _LEAN * (v - high)), high, 0.5


def _sleeveless(path: Floats, bend: Floats, found: Places) -> None:
    height = float(path[:, 1].max())
    hem, sure = _hem(path, bend, int(np.argmax(path[:, 1] > 0.5 * height)))
    found.put(path, "hem", hem, sure)
    upper_part = np.flatnonzero((path[:, 1] < 0.5 * height) & (np.arange(len(path)) < hem))
    shoulders = upper_part[path[upper_part, 1] < 0.22 * height]
    widest = float(path[upper_part, 0].max())
    worth = np.clip(bend[shoulders], 0, 90) / 90 + path[shoulders, 0] / widest
    shoulder = int(shoulders[np.argmax(worth)])
    found.put(path, "shoulder", shoulder, _sure(bend[shoulder]))
    found.put(path, "collar", *_collar(path, bend, shoulder))
    below = upper_part[
        (upper_part > shoulder + 3) & (path[upper_part, 1] > path[shoulder, 1] + 0.08 * height)
    ]
    if len(below):
        worth = np.clip(bend[below], -30, 60) / 60 - np.abs(
            path[below, 1] - path[shoulder, 1] - 0.25 * height
        )
        armpit = int(below[np.argmax(worth)])
        found.put(path, "armpit", armpit, 0.5 * _sure(bend[armpit]))


def lower(path: Floats, legs: bool) -> Places:
    """Of a half outline from the waistband's middle to the crotch, or to the hem's middle of a skirt."""
    found = Places()
    bend = turning(path, reach_of(path))
    height = float(path[:, 1].max())
    top = np.flatnonzero((path[:, 1] < 0.25 * height) & (np.arange(len(path)) < len(path) // 2))
    worth = np.clip(bend[top], 0, 90) / 90 - 4 * (path[top, 1] - path[top, 1].min()) / height
    worth += path[top, 0] / max(float(path[top, 0].max()), 1e-6)
    waist = int(top[np.argmax(worth)])
    over = _bib(path, bend, waist) if legs else None
    if over is None:
        found.put(path, "waist", waist, _sure(bend[waist]))
    else:
        found.bib = True
        found.put(path, "shoulder", waist, _sure(bend[waist]))
        found.put(path, "waist", over, _sure(bend[over]))
        waist = over
    if legs:
        level = waist + int(np.argmax(path[waist:, 1] > path[-1, 1]))
        outer, inner, sure = limb_end(path, bend, level, len(path) - 1)
        found.put(path, "leg-outer", outer, sure)
        found.put(path, "leg-inner", inner, sure)
    else:
        found.put(path, "hem", *_hem(path, bend, waist))
    return found


def agree(one: Places, other: Places) -> None:
    """Move an armpit that is much lower than the other one up to it: there the sleeve lies against the body."""
    for low, high in ((one, other), (other, one)):
        if low.parting is None or high.parting is None:
            continue
        (u, v, sure), level = low.points["armpit"], high.points["armpit"][1]
        if v - level > _UNEVEN:
            low.points["armpit"] = u - _LEAN * (v - level), level, min(sure, 0.5)
            low.at.pop("armpit", None)


def _bib(path: Floats, bend: Floats, top: int) -> int | None:
    """Where the hips begin below a bib, None of trousers without one: the side comes back out of a deep dent above
    the crotch."""
    for point, depth, start, back in dents(path):
        if depth > 0.03 and start >= top - 3 and top < point and path[back, 1] < path[-1, 1]:
            return point + 2 + int(np.argmax(bend[point + 2 : back + 1])) if back > point + 2 else back
    return None


def narrowest(path: Floats, armpit: int, hem: int) -> tuple[int, float]:
    """A dress's waist: the narrowest place of its side between 15 and 50 % of the way from armpit to hem."""
    v = path[:, 1]
    low, high = v[armpit] + 0.15 * (v[hem] - v[armpit]), v[armpit] + 0.5 * (v[hem] - v[armpit])
    at = np.arange(armpit + 1, hem)
    at = at[(v[at] >= low) & (v[at] <= high)]
    if not len(at):
        return (armpit + hem) // 2, 0.1
    best = int(at[np.argmin(path[at, 0])])
    dip = -float(bulge(path, armpit, hem)[best - armpit])
    return best, float(np.clip(0.3 + dip / 0.05, 0.3, 1.0))
