"""Shapes, materials and lamps in Mitsuba's terms."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.scenes.studio.geometry import Material, Shape
from engines.scenes.studio.lights import Panel

_variant = threading.Lock()
"""Mitsuba's variant is one for the whole process."""


def mitsuba() -> Any:
    """Mitsuba 3 in the variant that needs no LLVM."""
    import mitsuba as mi

    with _variant:
        if mi.variant() != "scalar_rgb":
            mi.set_variant("scalar_rgb")
    return mi


def mesh(shape: Shape, mi: Any) -> Any:
    """The shape as a Mitsuba mesh."""
    rows, columns = shape.points.shape[:2]
    index = np.arange(rows * columns, dtype=np.uint32).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack([a, d, b], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)])
    u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(1, 0, rows))
    told = mi.Properties()
    told["bsdf"] = mi.load_dict(_bsdf(shape.material, mi))
    made = mi.Mesh(
        "grid",
        rows * columns,
        len(faces),
        has_vertex_normals=shape.smooth,
        has_vertex_texcoords=True,
        props=told,
    )
    values = mi.traverse(made)
    values["vertex_positions"] = shape.points.astype(np.float32).ravel()
    values["vertex_texcoords"] = np.stack([u, v], -1).astype(np.float32).ravel()
    values["faces"] = faces.astype(np.uint32).ravel()
    values.update()
    return made


def grey(value: float) -> dict[str, Any]:
    """An even spectrum."""
    return {"type": "rgb", "value": [float(value)] * 3}


def facing(panel: Panel, mi: Any) -> Any:
    """Where a unit square lies to be the panel."""
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
