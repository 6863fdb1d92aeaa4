"""Path tracing: a set to a picture in linear light, by Mitsuba 3 and Open Image Denoise."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.scenes.studio.geometry import Material, Shape, quad
from engines.scenes.studio.lights import Light, Panel
from engines.scenes.studio.noise import Field
from engines.scenes.studio.sets import Gobo, StudioSet
from engines.scenes.studio.view import DISTANCE, View

Picture = npt.NDArray[np.float32]
"""(H, W, 3) in linear light; 1 is what a white surface sends back in the set's full light."""

_BOUNCES = 5
_variant = threading.Lock()
"""Mitsuba's variant is one for the whole process."""


@dataclass(frozen=True, slots=True)
class Traced:
    """What a set looks like: in the light of its key and of its fill, and where it takes a tint, in [0, 1]."""

    key: Picture
    fill: Picture
    tint: Field


def trace(stage: StudioSet, view: View, samples: int) -> Traced:
    """The set without a product. ``samples`` a pixel and light. The same for the same arguments."""
    mi = _mitsuba()
    shapes = stage.shapes(view)
    meshes = {name: _mesh(shape, mi) for name, shape in shapes.items()}
    marks = {name: _mesh(_marked(shape), mi) for name, shape in shapes.items()}
    lens = _sensor(view, stage.aperture, max(4, samples // 2), mi)
    seen = _shot({**meshes, "sensor": lens, "integrator": _aov("albedo", "sh_normal")}, 0, mi)
    mask = _shot({**marks, "sensor": lens, "integrator": _aov("albedo")}, 0, mi)
    albedo, normal = np.clip(seen[..., -6:-3], 0, 1), seen[..., -3:]
    lights = []
    for seed, light in enumerate((stage.rig.key, stage.rig.fill), 1):
        scene = {**meshes, "sensor": _sensor(view, stage.aperture, samples, mi), **_lights(light, mi)}
        if light is stage.rig.key:
            scene |= {f"gobo{i}": _mesh(shape, mi) for i, shape in enumerate(_hung(stage.gobo, light))}
        noisy = _shot({**scene, "integrator": {"type": "path", "max_depth": _BOUNCES}}, seed, mi)
        lights.append(_clean(noisy, albedo, normal))
    return Traced(lights[0], lights[1], np.clip(mask[..., -1], 0, 1))


def places(stage: StudioSet, view: View) -> tuple[Picture, Picture]:
    """Where in space each pixel is, and its surface's normal on the camera's side; both (H, W, 3), sharp."""
    mi = _mitsuba()
    bare = {
        name: _mesh(replace(shape, material=Material()), mi) for name, shape in stage.shapes(view).items()
    }
    scene = {**bare, "sensor": _sensor(view, 0.0, 1, mi), "integrator": _aov("position", "sh_normal")}
    seen = _shot(scene, 0, mi)
    position, normal = seen[..., -6:-3], seen[..., -3:]
    away = np.einsum("ijk,ijk->ij", normal, position - np.array((0, view.eye, DISTANCE), np.float32)) > 0
    return np.ascontiguousarray(position), np.where(away[..., None], -normal, normal)


def _mitsuba() -> Any:
    import mitsuba

    with _variant:
        if mitsuba.variant() != "scalar_rgb":
            mitsuba.set_variant("scalar_rgb")
    return mitsuba


def _aov(*what: str) -> dict[str, Any]:
    return {"type": "aov", "aovs": ",".join(f"{name.replace('_', '')}:{name}" for name in what)}


def _shot(scene: dict[str, Any], seed: int, mi: Any) -> Picture:
    return np.array(mi.render(mi.load_dict({"type": "scene", **scene}), seed=seed), np.float32)


def _lights(light: Light, mi: Any) -> dict[str, Any]:
    made = {
        f"panel{index}": {
            "type": "rectangle",
            "to_world": _facing(panel, mi),
            "emitter": {"type": "area", "radiance": _grey(panel.radiance)},
        }
        for index, panel in enumerate(light.panels)
    }
    return made | ({"sky": {"type": "constant", "radiance": _grey(light.sky)}} if light.sky else {})


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
    black = Material(colour=(0.0, 0.0, 0.0))
    return [
        Shape(
            quad(middle + left * side + top * up, (right - left) * side, (bottom - top) * up),
            black,
            smooth=False,
        )
        for left, bottom, right, top in gobo
    ]


def _marked(shape: Shape) -> Shape:
    """White where it takes a tint, else black."""
    return replace(shape, material=Material(colour=(255.0,) * 3 if shape.material.tinted else (0.0,) * 3))


def _clean(picture: Picture, albedo: Picture, normal: Picture) -> Picture:
    import pyoidn

    return np.asarray(
        pyoidn.denoise(
            np.ascontiguousarray(picture),
            albedo=np.ascontiguousarray(np.clip(albedo, 0, 1)),
            normal=np.ascontiguousarray(normal),
            hdr=True,
        ),
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


def _grey(value: float) -> dict[str, Any]:
    return {"type": "rgb", "value": [float(value)] * 3}


def _facing(panel: Panel, mi: Any) -> Any:
    up = [0, 1, 0] if abs(panel.facing[1]) < 0.95 else [0, 0, 1]
    turn = mi.ScalarTransform4f()
    size = panel.size / 2
    return turn.look_at(list(panel.at), list(panel.towards), up) @ turn.scale([size, size, 1])


def _bitmap(values: npt.NDArray[np.float32], mi: Any) -> dict[str, Any]:
    return {
        "type": "bitmap",
        "bitmap": mi.Bitmap(np.ascontiguousarray(values, np.float32)),
        "raw": True,
        "wrap_mode": "clamp",
    }


def _bsdf(material: Material, mi: Any) -> dict[str, Any]:
    surface = material.surface
    if surface is None:
        share = np.asarray(material.colour) / 255
        base: dict[str, Any] = {"type": "rgb", "value": [float(v) for v in share**2.2]}
    else:
        base = _bitmap(surface.albedo, mi)
    made: dict[str, Any]
    if material.gloss:
        rough = material.roughness if surface is None or material.roughness < 0.3 else 0.0
        made = {
            "type": "principled",
            "base_color": base,
            "specular": 0.5 * material.gloss,
            "roughness": rough
            or (_bitmap(surface.roughness[..., None], mi) if surface else material.roughness),
        }
    else:
        made = {"type": "diffuse", "reflectance": base}
    if surface is not None and np.ptp(surface.height) > 0:
        made = {
            "type": "bumpmap",
            "nested_texture": _bitmap(surface.height[..., None], mi),
            "scale": 1.0,
            "bsdf": made,
        }
    return {"type": "twosided", "nested": made}


def _mesh(shape: Shape, mi: Any) -> Any:
    rows, columns = shape.points.shape[:2]
    index = np.arange(rows * columns, dtype=np.uint32).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack([a, d, b], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(1, 0, rows))
    told = mi.Properties()
    told["bsdf"] = mi.load_dict(_bsdf(shape.material, mi))
    mesh = mi.Mesh(
        "grid",
        rows * columns,
        len(faces),
        has_vertex_normals=shape.smooth,
        has_vertex_texcoords=True,
        props=told,
    )
    values = mi.traverse(mesh)
    values["vertex_positions"] = shape.points.astype(np.float32).ravel()
    values["vertex_texcoords"] = np.stack([u, v], -1).astype(np.float32).ravel()
    values["faces"] = faces.astype(np.uint32).ravel()
    values.update()
    return mesh
