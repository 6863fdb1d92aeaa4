"""Path tracing: a set to a picture in linear light, by Mitsuba 3 and Open Image Denoise."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.scenes.studio.geometry import Material, Shape
from engines.scenes.studio.lights import Light, Panel
from engines.scenes.studio.noise import Field
from engines.scenes.studio.sets import StudioSet
from engines.scenes.studio.view import DISTANCE, View

Picture = npt.NDArray[np.float32]
"""(H, W, 3) in linear light; 1 is what a white surface sends back in the set's full light."""

_BOUNCES = 6
_variant = threading.Lock()
"""Mitsuba's variant is one for the whole process."""


@dataclass(frozen=True, slots=True)
class Traced:
    """What a set looks like: in the light of its key and of its fill, and where it takes a tint, in [0, 1]."""

    key: Picture
    fill: Picture
    tint: Field


def trace(stage: StudioSet, view: View, samples: int, seed: int = 1) -> Traced:
    """The set without a product. ``samples`` a pixel and light. The same for the same arguments."""
    key, albedo, normal = _render(stage, view, stage.rig.key, stage.gobo, samples, seed)
    fill, more, normals = _render(stage, view, stage.rig.fill, None, samples, seed + 1)
    albedo, normal = (albedo + more) / 2, (normal + normals) / 2
    mask = _points(stage, view, "albedo", 16, blurred=True)
    return Traced(_clean(key, albedo, normal), _clean(fill, albedo, normal), mask[..., 0])


def places(stage: StudioSet, view: View) -> tuple[Picture, Picture]:
    """Where in space each pixel is, and its surface's normal; both (H, W, 3), sharp."""
    return _points(stage, view, "position", 1), _points(stage, view, "sh_normal", 1)


def _mitsuba() -> Any:
    import mitsuba

    with _variant:
        if mitsuba.variant() != "scalar_rgb":
            mitsuba.set_variant("scalar_rgb")
    return mitsuba


def _render(
    stage: StudioSet, view: View, light: Light, gobo: Field | None, samples: int, seed: int
) -> tuple[Picture, Picture, Picture]:
    mi = _mitsuba()
    scene: dict[str, Any] = {
        "type": "scene",
        "integrator": {
            "type": "aov",
            "aovs": "al:albedo,nn:sh_normal",
            "inner": {"type": "path", "max_depth": _BOUNCES},
        },
        "sensor": _sensor(view, stage.aperture, samples, mi),
        **{name: _mesh(shape, mi) for name, shape in stage.shapes.items()},
    }
    for index, panel in enumerate(light.panels):
        scene[f"panel{index}"] = {
            "type": "rectangle",
            "to_world": _facing(panel, panel.size, mi),
            "emitter": {"type": "area", "radiance": _grey(panel.radiance)},
        }
        if gobo is not None:
            scene[f"gobo{index}"] = _gobo(panel, gobo, stage.gobo_size, mi)
    if light.sky:
        scene["sky"] = {"type": "constant", "radiance": _grey(light.sky)}
    seen = np.array(mi.render(mi.load_dict(scene), seed=seed), np.float32)
    return seen[..., :3], seen[..., -6:-3], seen[..., -3:]


def _points(stage: StudioSet, view: View, what: str, samples: int, blurred: bool = False) -> Picture:
    mi = _mitsuba()
    plain = (
        {
            name: {**_mesh(shape, mi)} if what != "albedo" else _mesh(_marked(shape), mi)
            for name, shape in stage.shapes.items()
        }
        if what == "albedo"
        else {name: _mesh(_bare(shape), mi) for name, shape in stage.shapes.items()}
    )
    scene = {
        "type": "scene",
        "integrator": {"type": "aov", "aovs": f"it:{what}"},
        "sensor": _sensor(view, stage.aperture if blurred else 0.0, samples, mi),
        **plain,
    }
    seen = np.array(mi.render(mi.load_dict(scene), seed=0), np.float32)
    return np.ascontiguousarray(seen[..., -3:])


def _bare(shape: Shape) -> Shape:
    return Shape(shape.points, Material(), shape.smooth)


def _marked(shape: Shape) -> Shape:
    """White where it takes a tint, else black."""
    return Shape(
        shape.points, Material(colour=(255.0,) * 3 if shape.material.tinted else (0.0,) * 3), shape.smooth
    )


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


def _facing(panel: Panel, size: float, mi: Any, nearer: float = 0.0) -> Any:
    at = np.asarray(panel.at) + nearer * panel.facing
    up = [0, 1, 0] if abs(panel.facing[1]) < 0.95 else [0, 0, 1]
    turn = mi.ScalarTransform4f()
    return turn.look_at([float(v) for v in at], list(panel.towards), up) @ turn.scale([size / 2, size / 2, 1])


def _gobo(panel: Panel, gobo: Field, size: float, mi: Any) -> dict[str, Any]:
    """Two thirds of the way from the light to the middle of the set."""
    distance = float(np.linalg.norm(np.subtract(panel.at, panel.towards)))
    return {
        "type": "rectangle",
        "to_world": _facing(panel, size, mi, nearer=distance * 0.66),
        "bsdf": {
            "type": "mask",
            "opacity": _bitmap(gobo[..., None], mi),
            "nested": {"type": "diffuse", "reflectance": _grey(0.0)},
        },
    }


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
    if shape.material.emits:
        told["emitter"] = mi.load_dict({"type": "area", "radiance": _grey(shape.material.emits)})
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
