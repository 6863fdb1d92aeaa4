"""From a garment's photo and cut-out to its map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.garments import parts
from engines.garments.fitness import cut_off, kind_reason, shape_reason
from engines.garments.gaps import without_gap
from engines.garments.landmarks import CENTRES, Places, agree, forked, places
from engines.garments.seams import seam
from engines.garments.silhouette import Floats, Half, Silhouette, silhouette
from engines.protocols import RGB, Alpha
from engines.protocols.fitting import Garment, GarmentKind, GarmentMap, Landmark, Side
from engines.scenes.matting import sharpened
from pipeline.errors import RejectedInput

_APART = 0.08
"""Of a garment's height: a place that lies so far from its counterpart's mirror image is half as sure."""


def map_garment(garment: Garment) -> GarmentMap:
    """Its places and parts. Raises RejectedInput where the cut-out is empty."""
    refused = kind_reason(garment.kind)
    if refused:
        return GarmentMap(garment.kind, garment.side, {}, {}, 0.0, 0.0, refused)
    if not (garment.subject.alpha < 0.05).any():
        raise RejectedInput(
            "no-background",
            "the cut-out covers all of the photo: send a photo of the garment with space around it",
        )
    subject = sharpened(garment.subject)
    if garment.kind is GarmentKind.LOWER:
        subject = without_gap(subject)
    sil = silhouette(subject.alpha)
    legs = forked(sil, garment.kind)
    left, right = (places(half.path, garment.kind, legs) for half in sil.halves)
    agree(left, right)
    lines = [
        _settled(sil, half, own, subject.picture) for half, own in zip(sil.halves, (left, right), strict=True)
    ]
    landmarks = _landmarks(sil, (left, right), garment.side, legs)
    masks = _parts(sil, (left, right), lines, garment, legs, subject.alpha)
    sure = float(np.mean([mark.confidence for mark in landmarks.values()])) * min(1.0, sil.symmetry / 0.9)
    why = cut_off(garment.subject.alpha) or shape_reason(garment, sil, left, right, legs, sure)
    return GarmentMap(garment.kind, garment.side, landmarks, masks, sil.symmetry, round(sure, 4), why)


def _settled(sil: Silhouette, half: Half, own: Places, picture: RGB) -> Floats:
    """The line between sleeve and body; an armpit that is hidden moves to its upper end."""
    if own.parting is None:
        return np.empty((0, 2))
    line = seam(sil, half, picture, own.parting, _point(own, "armpit")[0])
    if len(line):
        u, v = half.sign * (line[-1, 0] - sil.axis) / sil.unit, (line[-1, 1] - sil.top) / sil.unit
        own.points["armpit"] = float(u), float(v), own.points["armpit"][2]
    return line


def sides(side: Side) -> tuple[str, str]:
    """Which of the wearer's sides are on the picture's left and right."""
    return ("right", "left") if side is Side.FRONT else ("left", "right")


def _landmarks(sil: Silhouette, both: tuple[Places, Places], side: Side, legs: bool) -> dict[str, Landmark]:
    found = {}
    for half, own, other, of in zip(sil.halves, both, both[::-1], sides(side), strict=True):
        for name, (u, v, sure) in own.points.items():
            if name in other.points:
                apart = float(np.hypot(u - other.points[name][0], v - other.points[name][1]))
                sure *= 0.5 + 0.5 * float(np.exp(-((apart / _APART) ** 2)))
            else:
                sure *= 0.5
            ((x, y),) = sil.in_photo(np.array([[u, v]]), half.sign)
            found[f"{name}-{of}"] = Landmark(float(x), float(y), round(sure, 4))
    for name, at in CENTRES.items():
        if (name == "crotch") != legs and name == "crotch":
            continue
        if name == "collar-centre" and "collar" not in both[0].points:
            continue
        middle = np.mean([sil.in_photo(h.path[[at]], h.sign)[0] for h in sil.halves], axis=0)
        found[name] = Landmark(float(middle[0]), float(middle[1]), round(sil.symmetry, 4))
    return dict(sorted(found.items()))


def _parts(
    sil: Silhouette,
    both: tuple[Places, Places],
    lines: Sequence[Floats],
    garment: Garment,
    legs: bool,
    alpha: Alpha,
) -> dict[str, Alpha]:
    base = "skirt" if "waist" in both[0].points and not legs and "armpit" not in both[0].points else "torso"
    areas: list[tuple[str, Floats]] = []
    right = float(sil.solid.shape[1])
    bottom = float(sil.solid.shape[0])
    if all("waist" in own.points for own in both) and (legs or base == "torso"):
        waist = [
            sil.upright(_point(own, "waist"), h.sign)[0] for h, own in zip(sil.halves, both, strict=True)
        ]
        (ax, ay), (bx, by) = waist
        slope = (by - ay) / max(bx - ax, 1e-6)
        below = np.array(
            [[0, ay - slope * ax], [right, ay + slope * (right - ax)], [right, bottom], [0, bottom]]
        )
        if not any(own.bib for own in both) and "armpit" not in both[0].points:
            below[:2, 1] = 0
        areas.append(("hips" if legs else "skirt", below))
    if legs:
        fork = np.mean([sil.upright(h.path[[-1]], h.sign)[0] for h in sil.halves], axis=0)
        for edge, of in zip((0.0, right), sides(garment.side), strict=True):
            areas.append((f"{of}-leg", np.array([fork, [edge, fork[1]], [edge, bottom], [fork[0], bottom]])))
    for index, (own, of) in enumerate(zip(both, sides(garment.side), strict=True)):
        if own.parting is None:
            continue
        armpit = _point(own, "armpit")[0]
        areas.append(
            (f"{of}-sleeve", parts.sleeve(sil, index, own.at["shoulder"], own.parting, armpit, lines[index]))
        )
    if all("collar" in own.at for own in both):
        ends = both[0].at["collar"], both[1].at["collar"]
        areas.append(("collar", parts.collar(sil, ends, garment.side)))
    labels = parts.spread(parts.painted(sil.solid.shape, base, areas), sil)
    return dict(parts.soft(labels, sil, alpha))


def _point(own: Places, name: str) -> Floats:
    u, v, _ = own.points[name]
    return np.array([[u, v]])
