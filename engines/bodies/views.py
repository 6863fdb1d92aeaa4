"""House bodies as pictures, with the maps that dressing them needs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.bodies.arrays import HouseBody, digest, house_body
from engines.bodies.cameras import Camera, Facing
from engines.bodies.lighting import light
from engines.bodies.rasterising import Floats, Seen, rasterised
from engines.kept_arrays import code_digest, kept
from engines.protocols import RGB, Alpha
from engines.protocols.fitting import Person, Points

_FINE = 2
"""Places across a pixel at which colours and masks are looked up."""

_BODY = 0.33
_PAPER = 0.84
"""How much of the light the mannequin and the room send back."""

_DEEP = 0.13
"""Metres that a joint may lie under the surface and still be seen."""

_POSE = (
    ("nose", 1.0),
    *((f"{side}-eye", share) for side in ("left", "right") for share in (0.65, 1.0, 1.35)),
    *((name, 1.0) for name in ("left-ear", "right-ear", "mouth-left", "mouth-right")),
    *(
        (f"{side}-{part}", 1.0)
        for part in ("shoulder", "elbow", "wrist", "pinky", "index", "thumb")
        for side in ("left", "right")
    ),
    *(
        (f"{side}-{part}", 1.0)
        for part in ("hip", "knee", "ankle", "heel", "toe")
        for side in ("left", "right")
    ),
)
"""BlazePose's 33 points by our marks; an eye's corners are the eye nearer to and farther from the middle."""

_SHAPED_BY = ("arrays", "cameras", "lighting", "rasterising", "skeleton", "views")


@dataclass(frozen=True, slots=True)
class BodyView:
    """A house body seen by a camera.

    ``picture`` (H, W, 3) sRGB. ``mask`` (H, W) in [0, 1]. ``depth`` (H, W) in metres, infinite beside the body.
    ``regions`` (H, W): index into BONES, 255 beside the body. ``pose`` (33, 3): pixels and 1, or 0.2 where hidden.
    """

    picture: RGB
    mask: Alpha
    depth: Floats
    regions: npt.NDArray[np.uint8]
    pose: Points

    @property
    def person(self) -> Person:
        """The body as if it were a person in a photo, for what dresses people."""
        return Person(self.pose, self.mask, None)


class BodyViews:
    """The views of a folder; those that are not there yet are rendered and kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str, facing: Facing, width: int, height: int) -> BodyView:
        """The view of a body; the same for the same arguments.

        Raises:
            ConfigurationError: there is no such body.
        """
        body = house_body(name)
        told = f"{_code()} {digest()} {name} {facing} {width} {height}"
        path = self.folder / f"{name}-{facing}-{hashlib.sha256(told.encode()).hexdigest()[:16]}.npz"
        camera = Camera(facing, width, height, body.measures["height"])
        return kept(BodyView, path, lambda: viewed(body, camera), compress=True)


def viewed(body: HouseBody, camera: Camera) -> BodyView:
    """The body alone in the studio."""
    fine = seen_fine(body.points, body.faces, camera)
    mask = averaged((fine.face >= 0)[..., None].astype(np.float32))[..., 0]
    seen = rasterised(camera.project(body.points), body.faces, camera.width, camera.height)
    region = np.where(seen.face >= 0, body.regions[body.faces[np.maximum(seen.face, 0), 0]], 255)
    albedo = _PAPER + mask[..., None] * (_BODY - _PAPER)
    picture = developed(albedo * light([(body.points, body.faces)], camera))
    return BodyView(picture, mask, seen.depth, region.astype(np.uint8), pose(body, camera, seen))


def pose(body: HouseBody, camera: Camera, seen: Seen) -> Points:
    """(33, 3): BlazePose's points of the body in the camera's picture."""
    marks = np.stack([body.mark(name) * (share, 1, 1) for name, share in _POSE])
    placed = camera.project(marks)
    column = np.clip(placed[:, 0], 0, camera.width - 1).astype(int)
    row = np.clip(placed[:, 1], 0, camera.height - 1).astype(int)
    front = seen.depth[row, column]
    hidden = np.isfinite(front) & (placed[:, 2] - front > _DEEP)
    return np.column_stack([placed[:, :2], np.where(hidden, 0.2, 1.0)]).astype(np.float32)


def seen_fine(points: Floats, faces: npt.NDArray[np.integer], camera: Camera) -> Seen:
    """What is seen at several places a pixel; see ``averaged``."""
    scale = np.array([_FINE, _FINE, 1], np.float32)
    return rasterised(camera.project(points) * scale, faces, _FINE * camera.width, _FINE * camera.height)


def averaged(values: Floats) -> Floats:
    """(H, W, K) of (H * fine, W * fine, K)."""
    height, width, kinds = values.shape
    cells = values.reshape(height // _FINE, _FINE, width // _FINE, _FINE, kinds)
    return np.asarray(cells.mean(axis=(1, 3)), np.float32)


def developed(linear: Floats) -> RGB:
    """Linear light to sRGB; what is brighter than white bends softly into it."""
    bent = np.where(linear > 0.8, 0.8 + 0.2 * np.tanh((linear - 0.8) / 0.2), linear)
    curve = np.where(bent <= 0.0031308, 12.92 * bent, 1.055 * np.maximum(bent, 1e-8) ** (1 / 2.4) - 0.055)
    return np.asarray(np.clip(curve, 0, 1) * 255 + 0.5, np.uint8)


@cache
def _code() -> str:
    """The digest of all code that shapes a view."""
    return code_digest(Path(__file__).parent, _SHAPED_BY)
