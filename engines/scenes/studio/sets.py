"""The sets: what stands where, what covers it, and how it is lit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from engines.scenes.presets import Pose, Studio
from engines.scenes.studio.geometry import Material, Points, Shape, draped, extruded, quad, rounded, turned
from engines.scenes.studio.lights import Light, Panel, Rig
from engines.scenes.studio.noise import Sheet, clouds, noise, step
from engines.scenes.studio.textures import OAK, PALE_OAK, WHITEWASHED, boards, linen, marble, paper, plaster
from engines.scenes.studio.view import View

Gobo = tuple[tuple[float, float, float, float], ...]
"""Opaque rectangles before a light: left, bottom, right, top in units, about the line from light to set."""


@dataclass(frozen=True, slots=True)
class StudioSet:
    """A set and how it is photographed.

    ``shapes`` draws it as fine as the view needs. ``aperture`` is the lens's radius in units. ``mirror`` in [0, 1]
    is how clearly the floor reflects what stands on it, ``blur`` how quickly that gets soft, in units a unit.
    """

    pose: Pose
    rig: Rig
    shapes: Callable[[View], Mapping[str, Shape]]
    aperture: float = 0.0
    gobo: Gobo = ()
    mirror: float = 0.0
    blur: float = 0.0


def studio_set(studio: Studio) -> StudioSet:
    """The set that a preset names, in its light. A set with a light of its own keeps that."""
    plan = _SETS[studio.set]
    if plan.rig is not _UNLIT:
        return plan
    return replace(plan, rig=(_STANDING if plan.pose is Pose.STANDING else _LYING)[studio.light])


def _panel(at: tuple[float, float, float], size: float, lit: float, up: int) -> Panel:
    """A panel towards the origin that lights a surface there with ``lit`` times pi; ``up`` is its normal's axis."""
    distance = float(np.linalg.norm(at))
    falls = at[up] / distance * size**2 / distance**2
    return Panel(at, (0.0, 0.15, 0.0) if up == 1 else (0.0, 0.0, 0.0), size, lit * np.pi / falls)


def _rig(at: tuple[float, float, float], size: float, key: float, up: int) -> Rig:
    return Rig(Light((_panel(at, size, key, up),)), Light(sky=1.0 - key))


_PAPER = (236.0, 236.0, 236.0)
_UNLIT = Rig(Light(), Light())
_STANDING = {
    "soft-left": _rig((-2.4, 2.3, 0.3), 1.5, 0.6, 1),
    "soft-right": _rig((2.4, 2.3, 0.3), 1.5, 0.6, 1),
    "window-left": _rig((-2.8, 1.8, -0.35), 1.3, 0.66, 1),
    "bright-diffuse": _rig((-1.5, 2.8, 0.0), 2.4, 0.55, 1),
    "spot-above": _rig((-0.9, 3.3, 1.0), 0.6, 0.66, 1),
}
_LYING = {
    "soft-left": _rig((-1.9, 1.5, 2.4), 1.1, 0.6, 2),
    "soft-right": _rig((2.6, 1.7, 2.0), 0.9, 0.64, 2),
    "window-left": _rig((-2.9, 1.1, 1.9), 1.2, 0.64, 2),
    "bright-diffuse": _rig((-0.9, 1.2, 3.0), 2.4, 0.5, 2),
    "spot-above": _rig((-0.8, 1.2, 3.2), 0.5, 0.66, 2),
}


def _fine(view: View) -> float:
    """Pixels a unit of what lies in the plane z = 0."""
    return float(min(view.height, 1400))


def _sweep(view: View) -> Mapping[str, Shape]:
    half = 2.2 + view.across * 1.6
    # A wide cove: where paper turns up the eye must find no line.
    profile = rounded((0.0, 2.6), (0.0, -3.7), (4.8, -3.7), 3.3, 96)
    return {"paper": Shape(extruded(profile, -half, half), Material(colour=_PAPER, tinted=True))}


def _top(view: View, back: float, radius: float) -> tuple[float, Points, Points]:
    """A table's top and its far edge: half its width and both grids of points."""
    front, half = 2.2, view.across * 1.35 + 0.35
    edge = rounded((0.0, front), (0.0, back), (-0.09, back), radius, 8)
    # The top ends where its edge begins to turn, so that the grain is not stretched over the edge.
    top = quad((-half, 0, back + radius), (2 * half, 0, 0), (0, 0, front - back - radius))
    return half, top, extruded(edge[1:], -half, half)


def _table(view: View) -> Mapping[str, Shape]:
    back = -1.2
    half, top, edge = _top(view, back, 0.02)
    grain = boards(Sheet(2 * half, 2.2 - back, _fine(view)), OAK, width=0.21, length=9.0, gap=0.0, seed=5)
    wall = Material(plaster(Sheet(12.0, 7.0, 90.0), 3, 0.0), tinted=True)
    x = view.across
    vase = [(0.001, 0.9), (0.1, 0.9), (0.085, 0.72), (0.19, 0.45), (0.23, 0.2), (0.15, -0.08), (0.001, -0.09)]
    jar = [(0.001, 0.42), (0.13, 0.42), (0.15, 0.38), (0.15, -0.09)]
    bowl = [(0.3, 0.25), (0.26, 0.08), (0.12, -0.09), (0.001, -0.09)]
    board = -0.11
    return {
        "table": Shape(top, Material(grain, gloss=0.2)),
        "edge": Shape(edge, Material(colour=(176, 138, 98), gloss=0.3)),
        "wall": Shape(quad((-6, 4.5, -5.2), (12, 0, 0), (0, -7, 0)), wall),
        "sideboard": Shape(
            extruded([(board - 1.5, -3.9), (board, -3.9), (board, -5.2)], -6, 6),
            Material(colour=(206, 196, 182)),
            smooth=False,
        ),
        "vase": Shape(turned(vase, x * 1.25, -4.5), Material(colour=(222, 216, 206), gloss=0.3)),
        "jar": Shape(turned(jar, x * 1.25 - 0.52, -4.3), Material(colour=(148, 120, 92))),
        "bowl": Shape(turned(bowl, -x * 1.45, -4.4), Material(colour=(118, 128, 118), gloss=0.2)),
    }


def _marble(view: View) -> Mapping[str, Shape]:
    back = -1.05
    half, top, edge = _top(view, back, 0.012)
    slab = marble(Sheet(2 * half, 2.2 - back, _fine(view)), 4)
    wall = Material(plaster(Sheet(9.0, 6.0, 140.0), 7, 0.006), tinted=True)
    return {
        "slab": Shape(top, Material(slab, gloss=1.0, roughness=0.1)),
        "edge": Shape(edge, Material(colour=(226, 226, 224), gloss=1.0, roughness=0.1)),
        "wall": Shape(quad((-4.5, 4.0, -2.7), (9, 0, 0), (0, -6, 0)), wall),
    }


def _plinth(view: View) -> Mapping[str, Shape]:
    radius = 0.94 * view.across
    centre, under = -0.62 * radius, -0.13
    floor = under - 0.15
    drum = [(0.001, 0.0), *rounded((radius * 0.6, 0.0), (radius, 0.0), (radius, under), 0.014, 10)]
    wider = radius * 1.55
    stage = [(0.001, under), *rounded((radius, under), (wider, under), (wider, floor), 0.014, 10)]
    matt = Material(colour=_PAPER, tinted=True)
    cove = rounded((floor, 3.0), (floor, -2.4), (4.4, -2.4), 1.0, 32)
    return {
        "drum": Shape(turned(drum, 0.0, centre), matt),
        "stage": Shape(turned(stage, 0.0, centre), matt),
        "cove": Shape(extruded(cove, -5.0, 5.0), matt),
    }


def _room(view: View) -> Mapping[str, Shape]:
    back, corner, front = -1.35, view.across * 1.05, 2.4
    left = -view.across * 1.5 - 1.6
    floor = boards(
        Sheet(corner - left, front - back, _fine(view)), PALE_OAK, width=0.085, length=0.9, gap=0.003, seed=21
    )
    wall = Material(plaster(Sheet(corner - left, 3.4, 150.0), 13, 0.0), tinted=True)
    side = Material(plaster(Sheet(4.0, 3.4, 150.0), 14, 0.0), tinted=True)
    white = Material(colour=(238, 236, 232), gloss=0.2)
    skirt = [(0.0, 0.014), (0.066, 0.014), (0.074, 0.006), (0.074, 0.0)]
    along = np.stack([[(corner - out, y, z) for y, out in skirt] for z in (back, front)], axis=1)
    return {
        "floor": Shape(
            quad((left, 0, back), (corner - left, 0, 0), (0, 0, front - back)), Material(floor, gloss=0.3)
        ),
        "wall": Shape(quad((left, 3.4, back), (corner - left, 0, 0), (0, -3.4, 0)), wall),
        "side": Shape(quad((corner, 3.4, back), (0, 0, 4.0), (0, -3.4, 0)), side),
        "skirting": Shape(extruded([(y, back + out) for y, out in skirt], left, corner), white, smooth=False),
        "skirting-side": Shape(along.astype(np.float32), white, smooth=False),
    }


def _fabric(view: View) -> Mapping[str, Shape]:
    across, down = view.across * 2 + 0.5, 1.5
    sheet = Sheet(across, down, max(64, min(900, view.height)) / down)
    x, y = sheet.coordinates()
    x, y = (x - across / 2) / np.float32(2 * view.across), y - np.float32(down / 2)
    bend = clouds((31, 1), sheet, 0.9, 0.9, 3)
    height = np.zeros(sheet.shape, np.float32)
    for index, (angle, place, wide, high) in enumerate(_FOLDS):
        off = np.cos(angle) * x + np.sin(angle) * y - place + 0.05 * bend
        grows = step(-1.6, 0.8, noise((31, 2, index), sheet, 0.8, 0.8))
        width = wide * (0.7 + 0.6 * step(-1, 1, noise((31, 3, index), sheet, 1.2, 1.2)))
        height += np.asarray(high * grows * np.exp(-((np.abs(off) / width) ** 1.7)), np.float32)
    height += np.float32(0.004) * clouds((31, 5), sheet, 2.2, 2.2, 3)
    cloth = linen(Sheet(across, down, _fine(view)), 2)
    return {"cloth": Shape(draped(across, down, height - np.float32(0.01)), Material(cloth, tinted=True))}


_FOLDS = (
    # Angle in radians, place from the middle, half width, height: high near the corners, low under the product.
    (0.90, -0.50, 0.050, 0.075),
    (0.66, -0.40, 0.030, 0.036),
    (1.20, -0.44, 0.036, 0.040),
    (0.60, 0.42, 0.034, 0.040),
    (0.98, 0.49, 0.052, 0.085),
    (1.30, 0.38, 0.030, 0.030),
    (1.30, 0.06, 0.060, 0.018),
    (0.45, -0.16, 0.050, 0.016),
    (0.80, 0.22, 0.045, 0.022),
)


def _boards(view: View) -> Mapping[str, Shape]:
    across, down = view.across * 2 + 0.3, 1.3
    wood = boards(
        Sheet(across, down, _fine(view)),
        WHITEWASHED,
        width=0.19,
        length=2.6,
        gap=0.0026,
        seed=8,
        along_x=False,
    )
    flat = quad((-across / 2, down / 2, 0), (across, 0, 0), (0, -down, 0))
    return {"boards": Shape(flat, Material(wood, gloss=0.12))}


def _paper(view: View) -> Mapping[str, Shape]:
    across, down = view.across * 2 + 0.3, 1.3
    flat = quad((-across / 2, down / 2, 0), (across, 0, 0), (0, -down, 0))
    return {"paper": Shape(flat, Material(paper(Sheet(across, down, _fine(view)), 6), tinted=True))}


def _panes(
    left: float, bottom: float, width: float, height: float, across: int, down: int, bar: float
) -> Gobo:
    """A window in a large dark wall."""
    far, right, top = 6.0, left + width, bottom + height
    wall = (
        (-far, -far, left, far),
        (right, -far, far, far),
        (left, -far, right, bottom),
        (left, top, right, far),
    )
    upright = tuple(
        (left + width * i / across - bar / 2, bottom, left + width * i / across + bar / 2, top)
        for i in range(1, across)
    )
    level = tuple(
        (left, bottom + height * i / down - bar / 2, right, bottom + height * i / down + bar / 2)
        for i in range(1, down)
    )
    return (*wall, *upright, *level)


_SUNNY = Rig(
    Light((_panel((-3.0, 5.0, 4.3), 0.11, 0.52, 1),)),
    Light((_panel((-2.9, 1.7, 0.6), 1.6, 0.14, 1),), sky=0.26),
)

_SETS: Mapping[str, StudioSet] = {
    "sweep": StudioSet(Pose.STANDING, _UNLIT, _sweep),
    "table": StudioSet(Pose.STANDING, _UNLIT, _table, aperture=0.055, mirror=0.1, blur=0.5),
    "marble": StudioSet(Pose.STANDING, _UNLIT, _marble, aperture=0.045, mirror=0.36, blur=0.14),
    "plinth": StudioSet(Pose.STANDING, _UNLIT, _plinth, aperture=0.03),
    "room": StudioSet(
        Pose.STANDING,
        _SUNNY,
        _room,
        aperture=0.03,
        gobo=_panes(-0.36, -0.24, 0.56, 0.66, 2, 3, 0.024),
        mirror=0.07,
        blur=0.6,
    ),
    "fabric": StudioSet(Pose.LYING, _UNLIT, _fabric),
    "boards": StudioSet(Pose.LYING, _UNLIT, _boards),
    "paper": StudioSet(Pose.LYING, _UNLIT, _paper),
}
