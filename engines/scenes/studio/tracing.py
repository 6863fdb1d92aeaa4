"""Path tracing: a set to a picture in linear light, by Mitsuba 3 and Open Image Denoise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.scenes.studio.geometry import Material, Shape, quad
from engines.scenes.studio.lights import Light
from engines.scenes.studio.meshes import facing, grey, mesh, mitsuba
from engines.scenes.studio.noise import Field
from engines.scenes.studio.sets import Gobo, StudioSet
from engines.scenes.studio.view import DISTANCE, View

Picture = npt.NDArray[np.float32]
"""(H, W, 3) in linear light; 1 is what a white surface sends back in the set's full light."""

_BOUNCES = 5


@dataclass(frozen=True, slots=True)
class Traced:
    """What a set looks like: in the light of its key and of its fill, and where it takes a tint, in [0, 1]."""

    key: Picture
    fill: Picture
    tint: Field


def trace(stage: StudioSet, view: View, samples: int) -> Traced:
    """The set without a product. ``samples`` a pixel and light. The same for the same arguments."""
    mi = mitsuba()
    shapes = stage.shapes(view)
    meshes = {name: mesh(shape, mi) for name, shape in shapes.items()}
    albedo, tint = _guides(shapes, stage, view, max(4, samples // 2), mi)
    lights = []
    for seed, light in enumerate((stage.rig.key, stage.rig.fill), 1):
        scene = {**meshes, "sensor": _sensor(view, stage.aperture, samples, mi), **_lights(light, mi)}
        if light is stage.rig.key:
            scene |= {f"gobo{i}": mesh(shape, mi) for i, shape in enumerate(_hung(stage.gobo, light))}
        noisy = _shot({**scene, "integrator": {"type": "path", "max_depth": _BOUNCES}}, seed, mi)
        lights.append(_clean(noisy, albedo))
    return Traced(lights[0], lights[1], tint)


def places(stage: StudioSet, view: View) -> tuple[Picture, Picture]:
    """Where in space each pixel is, and its surface's normal on the camera's side; both (H, W, 3), sharp."""
    mi = mitsuba()
    bare = {name: mesh(replace(shape, material=Material()), mi) for name, shape in stage.shapes(view).items()}
    scene = {**bare, "sensor": _sensor(view, 0.0, 1, mi), "integrator": _aov("position", "sh_normal")}
    seen = _shot(scene, 0, mi)
    position, normal = seen[..., -6:-3], seen[..., -3:]
    away = np.einsum("ijk,ijk->ij", normal, position - np.array((0, view.eye, DISTANCE), np.float32)) > 0
    return np.ascontiguousarray(position), np.where(away[..., None], -normal, normal)


def _guides(
    shapes: Mapping[str, Shape], stage: StudioSet, view: View, samples: int, mi: Any
) -> tuple[Picture, Field]:
    """The set's albedo and where it takes a tint, both in [0, 1].

    Lit from the camera, where nothing seen is in shadow, and divided by the same set all white: what is left of
    light and slope cancels, sample by sample. Mitsuba's own ``aov`` integrator takes ten times as long.
    """
    lamp = {"type": "point", "position": [0, view.eye, DISTANCE], "intensity": grey(np.pi * DISTANCE**2)}
    shown = {
        "sensor": _sensor(view, stage.aperture, samples, mi),
        "lamp": lamp,
        "integrator": {"type": "path", "max_depth": 2},
    }

    def lit(cover: Callable[[Material], Material]) -> Picture:
        covered = {name: replace(shape, material=cover(shape.material)) for name, shape in shapes.items()}
        return _shot({**{name: mesh(shape, mi) for name, shape in covered.items()}, **shown}, 0, mi)

    white = np.maximum(lit(lambda _: _WHITE), 1e-4)
    albedo = np.asarray(np.clip(lit(_matt) / white, 0, 1), np.float32)
    tinted = {shape.material.tinted for shape in shapes.values()}
    if len(tinted) == 1:
        return albedo, np.full(white.shape[:2], tinted.pop(), np.float32)
    marks = lit(lambda material: _WHITE if material.tinted else _BLACK)
    return albedo, np.asarray(np.clip(marks[..., 0] / white[..., 0], 0, 1), np.float32)


_WHITE = Material(colour=(255.0,) * 3)
_BLACK = Material(colour=(0.0,) * 3)


def _matt(material: Material) -> Material:
    """Its colours alone."""
    surface = material.surface
    return replace(
        material, gloss=0.0, surface=surface and replace(surface, height=np.zeros_like(surface.height))
    )


def _aov(*what: str) -> dict[str, Any]:
    return {"type": "aov", "aovs": ",".join(f"{name.replace('_', '')}:{name}" for name in what)}


def _shot(scene: dict[str, Any], seed: int, mi: Any) -> Picture:
    return np.array(mi.render(mi.load_dict({"type": "scene", **scene}), seed=seed), np.float32)


def _lights(light: Light, mi: Any) -> dict[str, Any]:
    made = {
        f"panel{index}": {
            "type": "rectangle",
            "to_world": facing(panel, mi),
            "emitter": {"type": "area", "radiance": grey(panel.radiance)},
        }
        for index, panel in enumerate(light.panels)
    }
    return made | ({"sky": {"type": "constant", "radiance": grey(light.sky)}} if light.sky else {})


def _hung(gobo: Gobo, light: Light) -> list[Shape]:
    """The gobo, not quite half way from the first light to the middle of the set."""
    if not gobo:
        return []
    panel = light.panels[0]
    facing = panel.facing
    side = np.cross(facing, (0.0, 1.0, 0.0))
    side /= np.linalg.norm(side)
    up = np.cross(side, facing)
    middle = np.asarray(panel.at) + 0.45 * np.linalg.norm(np.subtract(panel.at, panel.towards)) * facing
    return [
        Shape(
            quad(middle + left * side + top * up, (right - left) * side, (bottom - top) * up),
            _BLACK,
            smooth=False,
        )
        for left, bottom, right, top in gobo
    ]


def _clean(picture: Picture, albedo: Picture) -> Picture:
    import pyoidn

    return np.asarray(
        pyoidn.denoise(np.ascontiguousarray(picture), albedo=np.ascontiguousarray(albedo), hdr=True),
        np.float32,
    )


def _sensor(view: View, aperture: float, samples: int, mi: Any) -> dict[str, Any]:
    """A shifted lens: the middle part of a taller film whose axis is level."""
    axis = view.origin[1] - view.eye * view.height
    tall = 2 * int(np.ceil(max(view.height - axis, axis, 1)))
    field = np.degrees(2 * np.arctan(view.across / DISTANCE))
    lens = (
        {"type": "thinlens", "aperture_radius": aperture, "focus_distance": DISTANCE}
        if aperture
        else {"type": "perspective"}
    )
    return {
        **lens,
        "fov": float(field),
        "fov_axis": "x",
        "to_world": mi.ScalarTransform4f().look_at([0, view.eye, DISTANCE], [0, view.eye, 0], [0, 1, 0]),
        "sampler": {"type": "independent" if samples < 4 else "multijitter", "sample_count": samples},
        "film": {
            "type": "hdrfilm",
            "width": view.width,
            "height": tall,
            "crop_offset_x": 0,
            "crop_offset_y": round(tall / 2 - axis),
            "crop_width": view.width,
            "crop_height": view.height,
            "rfilter": {"type": "box"},
            "pixel_format": "rgb",
        },
    }
