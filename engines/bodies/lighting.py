"""The light that falls on a body in a studio, path-traced by Mitsuba 3 and cleaned by Open Image Denoise.

Everything is lit as if it were of one grey, and the picture is divided by that grey: what is left is light, and the
surfaces' own colours, known exactly from a z-buffer, are laid under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.bodies.cameras import DISTANCE, Camera
from engines.bodies.rasterising import Floats, rasterised
from engines.bodies.skeleton import Places
from engines.scenes.studio.geometry import Material, Shape, extruded, rounded
from engines.scenes.studio.lights import Panel
from engines.scenes.studio.meshes import facing, grey, mesh, mitsuba

Surface = tuple[Places, npt.NDArray[np.integer]]
"""Points (V, 3) in metres and faces (F, 3)."""

SAMPLES = 8
_BOUNCES = 4
_GREY = 0.62
_PANELS = (
    Panel((-2.6, 3.1, 3.2), (0.0, 0.9, 0.0), 2.2, 11.0),
    Panel((3.2, 2.2, 2.6), (0.0, 0.9, 0.0), 2.4, 2.0),
)
_SKY = 0.5


def light(surfaces: Sequence[Surface], camera: Camera, samples: int = SAMPLES) -> Floats:
    """(H, W, 1) in linear light: what a white surface at that place sends back. The lamps go with the camera."""
    import pyoidn

    mi = mitsuba()
    turned = [(np.asarray(points @ camera.axes.T.astype(np.float32)), faces) for points, faces in surfaces]
    scene: dict[str, Any] = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": _BOUNCES},
        "sensor": _sensor(camera, samples, mi),
        "room": mesh(_room(), mi),
        "sky": {"type": "constant", "radiance": grey(_SKY)},
    }
    for index, (points, faces) in enumerate(turned):
        scene[f"surface{index}"] = _mesh(points, faces, mi)
    for index, panel in enumerate(_PANELS):
        emitter = {"type": "area", "radiance": grey(panel.radiance)}
        scene[f"panel{index}"] = {"type": "rectangle", "to_world": facing(panel, mi), "emitter": emitter}
    noisy = np.array(mi.render(mi.load_dict(scene), seed=1), np.float32)
    clean = pyoidn.denoise(
        np.ascontiguousarray(noisy),
        albedo=np.full_like(noisy, _GREY),
        normal=np.ascontiguousarray(_normals(surfaces, camera)),
        hdr=True,
    )
    return np.asarray(np.clip(clean.mean(-1, keepdims=True) / _GREY, 0, 4), np.float32)


def normals(points: Places, faces: npt.NDArray[np.integer]) -> Places:
    """(V, 3), of length 1: each the mean of its triangles', by their areas."""
    corners = points[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.stack(
        [sum(np.bincount(faces[:, k], across[:, j], len(points)) for k in range(3)) for j in range(3)], -1
    )
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12), np.float32)


def _normals(surfaces: Sequence[Surface], camera: Camera) -> Floats:
    """(H, W, 3) of what the camera sees; the room's are left at zero."""
    starts = np.cumsum([0, *(len(points) for points, _ in surfaces)])
    faces = np.concatenate(
        [f.astype(np.int64) + start for (_, f), start in zip(surfaces, starts, strict=False)]
    )
    seen = rasterised(
        camera.project(np.concatenate([p for p, _ in surfaces])), faces, camera.width, camera.height
    )
    return seen.of(np.concatenate([normals(p, f) for p, f in surfaces]), faces)


def _room() -> Shape:
    """A floor that runs up into a wall."""
    return Shape(extruded(rounded((0.0, 9.0), (0.0, -4.0), (7.0, -4.0), 2.4), -9.0, 9.0), _PAPER)


_PAPER = Material(colour=(255 * _GREY ** (1 / 2.2),) * 3)


def _mesh(points: Places, faces: npt.NDArray[np.integer], mi: Any) -> Any:
    told = mi.Properties()
    told["bsdf"] = mi.load_dict(
        {"type": "twosided", "nested": {"type": "diffuse", "reflectance": grey(_GREY)}}
    )
    made = mi.Mesh("surface", len(points), len(faces), has_vertex_normals=True, props=told)
    values = mi.traverse(made)
    values["vertex_positions"] = points.astype(np.float32).ravel()
    values["vertex_normals"] = normals(points, faces).ravel()
    values["faces"] = faces.astype(np.uint32).ravel()
    values.update()
    return made


def _sensor(camera: Camera, samples: int, mi: Any) -> dict[str, Any]:
    place, level = [0, camera.middle, DISTANCE], [0, camera.middle, 0]
    return {
        "type": "perspective",
        "fov": float(np.degrees(2 * np.arctan(camera.height / 2 / camera.focal))),
        "fov_axis": "y",
        "to_world": mi.ScalarTransform4f().look_at(place, level, [0, 1, 0]),
        "sampler": {"type": "independent" if samples < 4 else "multijitter", "sample_count": samples},
        "film": {
            "type": "hdrfilm",
            "width": camera.width,
            "height": camera.height,
            "rfilter": {"type": "box"},
            "pixel_format": "rgb",
        },
    }
