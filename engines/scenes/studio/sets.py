"""The sets: what stands where, what covers it, and how it is lit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from engines.scenes.presets import Pose, Studio
from engines.scenes.studio.geometry import Material, Shape, draped, extruded, quad, rounded, turned
from engines.scenes.studio.lights import Light, Panel, Rig
from engines.scenes.studio.noise import Field, Sheet, clouds, noise, step
from engines.scenes.studio.textures import OAK, PALE_OAK, WHITEWASHED, boards, linen, marble, paper, plaster
from engines.scenes.studio.view import View


@dataclass(frozen=True, slots=True)
class StudioSet:
    """A set ready to be rendered.

    ``aperture`` is the lens's radius in units. ``gobo`` (H, W), 1 where it shades, hangs before the key light
    ``gobo_size`` units wide. ``mirror`` in [0, 1] is how clearly the floor reflects what stands on it, ``blur`` how
    quickly that gets soft, in units a unit.
    """

    shapes: Mapping[str, Shape]
    rig: Rig
    aperture: float = 0.0
    gobo: Field | None = None
    gobo_size: float = 0.0
    mirror: float = 0.0
    blur: float = 0.0


def built(studio: Studio, view: View) -> StudioSet:
    """The set that a preset names, drawn as fine as the view needs."""
    plan = _SETS[studio.set]
    if plan.pose is not view.pose:
        view = replace(view, pose=plan.pose)
    made = plan.build(view)
    return made if made.rig is not _UNLIT else replace(made, rig=rig(studio.light, view.pose))


def rig(light: str, pose: Pose) -> Rig:
    """The lights by their name in a preset."""
    return _STANDING[light] if pose is Pose.STANDING else _LYING[light]


def _panel(at: tuple[float, float, float], size: float, lit: float, up: int) -> Panel:
    """A panel towards the origin that lights a surface there with ``lit`` times pi; ``up`` is its normal's axis."""
    distance = float(np.linalg.norm(at))
    falls = at[up] / distance * size**2 / distance**2
    return Panel(at, (0.0, 0.15, 0.0) if up == 1 else (0.0, 0.0, 0.0), size, lit * np.pi / falls)


def _rig(at: tuple[float, float, float], size: float, key: float, up: int) -> Rig:
    return Rig(Light((_panel(at, size, key, up),)), Light(sky=1.0 - key))


_UNLIT = Rig(Light(), Light())
_STANDING = {
    "soft-left": _rig((-2.1, 2.5, 1.5), 1.7, 0.62, 1),
    "soft-right": _rig((2.1, 2.5, 1.5), 1.7, 0.62, 1),
    "window-left": _rig((-2.7, 1.75, 0.1), 1.5, 0.66, 1),
    "bright-diffuse": _rig((-1.0, 3.0, 1.2), 2.6, 0.5, 1),
    "spot-above": _rig((-0.9, 3.3, 1.0), 0.6, 0.66, 1),
}
_LYING = {
    "soft-left": _rig((-1.9, 1.5, 2.4), 1.1, 0.6, 2),
    "soft-right": _rig((1.9, 1.5, 2.4), 1.1, 0.6, 2),
    "window-left": _rig((-2.9, 1.1, 1.9), 1.2, 0.64, 2),
    "bright-diffuse": _rig((-0.9, 1.2, 3.0), 2.4, 0.5, 2),
    "spot-above": _rig((-0.8, 1.2, 3.2), 0.5, 0.66, 2),
}


def _fine(view: View) -> float:
    """Pixels a unit of what lies in the plane z = 0."""
    return float(min(view.height, 1400))


def _sweep(view: View) -> StudioSet:
    half, back = 2.2 + view.across * 1.6, -2.6
    profile = [*rounded((0.0, 2.6), (0.0, back), (4.2, back), 1.35, 48)]
    surface = paper(Sheet(2 * half, 6.5, 200.0), 11)
    cove = Material(replace(surface, height=np.zeros_like(surface.height)), tinted=True)
    return StudioSet({"paper": Shape(extruded(profile, -half, half), cove)}, _UNLIT)


def _table(view: View) -> StudioSet:
    back, front, half = -1.25, 2.2, view.across * 1.35 + 0.35
    fine = _fine(view)
    top = boards(Sheet(2 * half, front - back, fine), OAK, width=0.21, length=9.0, gap=0.0, seed=5)
    board = Material(top, gloss=0.35)
    edge = rounded((0.0, front), (0.0, back), (-0.09, back), 0.02, 8)
    wall = Material(plaster(Sheet(12.0, 7.0, 90.0), 3, 0.0), tinted=True)
    shapes = {
        # The board ends where its edge begins to turn, so that the grain is not stretched over the edge.
        "table": Shape(quad((-half, 0, back + 0.02), (2 * half, 0, 0), (0, 0, front - back - 0.02)), board),
        "edge": Shape(extruded(edge[1:], -half, half), Material(colour=(176, 138, 98), gloss=0.3)),
        "wall": Shape(quad((-6, 4.5, -4.8), (12, 0, 0), (0, -7, 0)), wall),
    }
    return (
        StudioSet(shapes, _UNLIT, aperture=0.055, mirror=0.10, blur=0.5)
        if view
        else StudioSet(shapes, _UNLIT)
    )


def _marble(view: View) -> StudioSet:
    back, front, half = -1.05, 2.2, view.across * 1.35 + 0.35
    top = marble(Sheet(2 * half, front - back, _fine(view)), 4)
    edge = rounded((0.0, front), (0.0, back), (-0.08, back), 0.012, 8)
    wall = Material(plaster(Sheet(9.0, 6.0, 140.0), 7, 0.006), tinted=True)
    shapes = {
        "slab": Shape(
            quad((-half, 0, back + 0.012), (2 * half, 0, 0), (0, 0, front - back - 0.012)),
            Material(top, gloss=1.0, roughness=0.1),
        ),
        "edge": Shape(
            extruded(edge[1:], -half, half), Material(colour=(226, 226, 224), gloss=1.0, roughness=0.1)
        ),
        "wall": Shape(quad((-4.5, 4.0, -2.7), (9, 0, 0), (0, -6, 0)), wall),
    }
    return StudioSet(shapes, _UNLIT, aperture=0.045, mirror=0.3, blur=0.16)


def _plinth(view: View) -> StudioSet:
    radius = 0.62 * min(view.across * 2, 1.25)
    centre, floor, back = -0.52 * radius, -0.16, -2.3
    drum = [(0.0, 0.0), *rounded((radius * 0.6, 0.0), (radius, 0.0), (radius, floor), 0.018, 10)]
    step_radius = radius * 1.5
    stage = [
        (0.0, floor),
        *rounded((radius, floor), (step_radius, floor), (step_radius, floor - 0.14), 0.018, 10),
    ]
    matt = Material(plaster(Sheet(3.0, 1.0, 60.0), 5, 0.0), tinted=True)
    wall = Material(plaster(Sheet(10.0, 6.0, 120.0), 9, 0.004), tinted=True)
    ground = floor - 0.14
    cove = rounded((ground, 3.0), (ground, back), (4.0, back), 0.5, 24)
    shapes = {
        "drum": Shape(turned(drum, 0.0, centre), matt),
        "stage": Shape(turned(stage, 0.0, centre), matt),
        "cove": Shape(extruded(cove, -5.0, 5.0), replace(wall, surface=None)),
    }
    return StudioSet(shapes, _UNLIT, aperture=0.03)


def _room(view: View) -> StudioSet:
    back, corner = -1.35, view.across * 1.02
    left = -view.across * 1.5 - 1.6
    fine = _fine(view)
    floor = boards(
        Sheet(corner - left, 2.4 - back, fine),
        PALE_OAK,
        width=0.085,
        length=0.9,
        gap=0.0022,
        seed=21,
        along_x=True,
    )
    wall = Material(plaster(Sheet(corner - left, 3.4, 300.0), 13, 0.002), tinted=True)
    side = Material(plaster(Sheet(4.0, 3.4, 200.0), 14, 0.002), tinted=True)
    white = Material(colour=(238, 236, 232), gloss=0.2)
    skirt = [(0.0, back + 0.014), (0.062, back + 0.014), (0.07, back + 0.006), (0.07, back)]
    shapes = {
        "floor": Shape(
            quad((left, 0, back), (corner - left, 0, 0), (0, 0, 2.4 - back)), Material(floor, gloss=0.3)
        ),
        "wall": Shape(quad((left, 3.4, back), (corner - left, 0, 0), (0, -3.4, 0)), wall),
        "side": Shape(quad((corner, 3.4, back), (0, 0, 4.0), (0, -3.4, 0)), side),
        "skirting": Shape(extruded(skirt, left, corner), white, smooth=False),
        "skirting-side": Shape(
            np.stack(
                [
                    np.asarray([(corner - (z - back), y, zz) for y, z in skirt], np.float32)
                    for zz in (back, 2.4)
                ],
                axis=1,
            ),
            white,
            smooth=False,
        ),
    }
    sun = _panel((-5.6, 4.6, 4.4), 0.42, 0.62, 1)
    window = _panel((-2.9, 1.5, 1.0), 1.6, 0.14, 1)
    light = Rig(Light((sun,)), Light((window,), sky=0.26))
    return StudioSet(shapes, light, aperture=0.03, gobo=_panes(), gobo_size=6.0, mirror=0.07, blur=0.6)


def _panes() -> Field:
    """A window of two by three panes in a dark wall."""
    size = 720
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    wide, tall, bar = 0.30, 0.36, 0.016
    inside = (np.abs(x - 0.5) < wide / 2) & (np.abs(y - 0.5) < tall / 2)
    across = ((x - 0.5 + wide / 2) / wide * 2) % 1.0
    down = ((y - 0.5 + tall / 2) / tall * 3) % 1.0
    edge = bar / wide, bar / tall * 1.5
    open_pane = inside & (across > edge[0]) & (across < 1 - edge[0]) & (down > edge[1]) & (down < 1 - edge[1])
    return 1.0 - open_pane.astype(np.float32)


def _fabric(view: View) -> StudioSet:
    across, down = view.across * 2 + 0.5, 1.5
    rows = max(64, min(900, view.height))
    sheet = Sheet(across, down, rows / down)
    x, y = sheet.coordinates()
    x, y = x - across / 2, y - down / 2
    bend = clouds((31, 1), sheet, 0.9, 0.9, 3)
    total = np.zeros(sheet.shape, np.float32)
    for index, (angle, place, wide, high) in enumerate(
        (
            (0.9, -0.62, 0.055, 0.05),
            (0.75, -0.50, 0.03, 0.022),
            (1.05, 0.60, 0.06, 0.05),
            (0.6, 0.74, 0.035, 0.03),
            (1.35, 0.05, 0.11, 0.010),
            (0.5, 0.30, 0.09, 0.008),
        )
    ):
        along = np.cos(angle) * y - np.sin(angle) * x
        off = np.cos(angle) * x + np.sin(angle) * y - place + 0.07 * bend
        grows = step(-1.4, 1.2, noise((31, 2, index), sheet, 0.8, 0.8))
        width = wide * (0.7 + 0.6 * step(-1, 1, noise((31, 3, index), sheet, 1.2, 1.2)))
        total += high * grows * np.exp(-((np.abs(off) / width) ** 1.6)) * (1 + 0.1 * np.cos(5 * along))
    total += 0.006 * clouds((31, 5), sheet, 2.2, 2.2, 3)
    cloth = linen(Sheet(across, down, _fine(view)), 2)
    return StudioSet(
        {"cloth": Shape(draped(across, down, total - 0.01), Material(cloth, tinted=True))}, _UNLIT
    )


def _boards(view: View) -> StudioSet:
    across, down = view.across * 2 + 0.3, 1.3
    wood = boards(
        Sheet(across, down, _fine(view)),
        WHITEWASHED,
        width=0.19,
        length=2.6,
        gap=0.004,
        seed=8,
        along_x=False,
    )
    flat = quad((-across / 2, down / 2, 0), (across, 0, 0), (0, -down, 0))
    return StudioSet({"boards": Shape(flat, Material(wood, gloss=0.12))}, _UNLIT)


def _paper(view: View) -> StudioSet:
    across, down = view.across * 2 + 0.3, 1.3
    card = paper(Sheet(across, down, _fine(view)), 6)
    flat = quad((-across / 2, down / 2, 0), (across, 0, 0), (0, -down, 0))
    return StudioSet({"paper": Shape(flat, Material(card, tinted=True))}, _UNLIT)


@dataclass(frozen=True, slots=True)
class _Plan:
    pose: Pose
    build: Callable[[View], StudioSet]


_SETS: Mapping[str, _Plan] = {
    "sweep": _Plan(Pose.STANDING, _sweep),
    "table": _Plan(Pose.STANDING, _table),
    "marble": _Plan(Pose.STANDING, _marble),
    "plinth": _Plan(Pose.STANDING, _plinth),
    "room": _Plan(Pose.STANDING, _room),
    "fabric": _Plan(Pose.LYING, _fabric),
    "boards": _Plan(Pose.LYING, _boards),
    "paper": _Plan(Pose.LYING, _paper),
}
