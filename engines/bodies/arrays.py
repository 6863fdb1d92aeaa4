"""The house bodies' arrays, as the file beside this one holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.bodies.skeleton import BONES, Places, posed
from pipeline.errors import ConfigurationError

_FILE = Path(__file__).with_name("house_bodies.npz")

UNIT = 1 / 16000
"""Metres of one step of the stored numbers: 0.06 mm."""

SHAPED = ("height", "chest", "waist", "hip")
"""The measurements, in metres; the last three are girths."""

MARKS = (
    "nose",
    "left-eye",
    "right-eye",
    "left-ear",
    "right-ear",
    "mouth-left",
    "mouth-right",
    "left-shoulder",
    "right-shoulder",
    "left-elbow",
    "right-elbow",
    "left-wrist",
    "right-wrist",
    "left-pinky",
    "right-pinky",
    "left-index",
    "right-index",
    "left-thumb",
    "right-thumb",
    "left-hip",
    "right-hip",
    "left-knee",
    "right-knee",
    "left-ankle",
    "right-ankle",
    "left-heel",
    "right-heel",
    "left-toe",
    "right-toe",
)
"""Places of the body that BlazePose's points are made from."""


@dataclass(frozen=True, slots=True)
class HouseBody:
    """A mannequin in a relaxed A-pose, on the floor. Lengths are in metres.

    ``points`` (V, 3): x to its left, y up, z to its front. ``faces`` (F, 3), anticlockwise from outside. ``regions``
    (V,): the bone that moves a point most, as an index into BONES. ``joints`` (16, 3) and ``marks`` (29, 3) in the
    order of BONES and MARKS. ``bones`` and ``weights`` (V, 4) are for posing. ``measures`` by SHAPED.
    """

    name: str
    points: Places
    faces: npt.NDArray[np.uint16]
    joints: Places
    marks: Places
    bones: npt.NDArray[np.uint8]
    weights: npt.NDArray[np.float32]
    measures: Mapping[str, float]

    @property
    def regions(self) -> npt.NDArray[np.uint8]:
        """(V,): the bone that moves each point most."""
        strongest = np.argmax(self.weights, axis=1)
        return np.asarray(self.bones[np.arange(len(self.bones)), strongest], np.uint8)

    def joint(self, bone: str) -> npt.NDArray[np.float32]:
        """(3,): where the bone begins."""
        return np.asarray(self.joints[BONES.index(bone)], np.float32)

    def mark(self, name: str) -> npt.NDArray[np.float32]:
        """(3,)."""
        return np.asarray(self.marks[MARKS.index(name)], np.float32)

    def in_pose(self, turns: Mapping[str, npt.NDArray[np.float64]]) -> HouseBody:
        """The same body with bones turned; see ``posed``. Its marks move with the nearest point of its surface."""
        points, joints = posed(self.points, self.joints, self.bones, self.weights, turns)
        near = np.array([np.argmin(((self.points - mark) ** 2).sum(1)) for mark in self.marks])
        marks, _ = posed(self.marks, self.joints, self.bones[near], self.weights[near], turns)
        return replace(self, points=points, joints=joints, marks=marks)


def house_bodies() -> tuple[str, ...]:
    """Their names."""
    return tuple(_stored())


def house_body(name: str) -> HouseBody:
    """The body of that name.

    Raises:
        ConfigurationError: there is none.
    """
    if name not in _stored():
        raise ConfigurationError(f"no house body {name!r}: there are {', '.join(_stored())}")
    return _stored()[name]


@cache
def digest() -> str:
    """Of the file: changed bodies are others."""
    return hashlib.sha256(_FILE.read_bytes()).hexdigest()


@cache
def _stored() -> dict[str, HouseBody]:
    with np.load(_FILE, allow_pickle=False) as held:
        arrays = {key: held[key] for key in held.files}
    weights = arrays["weights"].astype(np.float32)
    weights /= weights.sum(1, keepdims=True)
    return {
        str(name): HouseBody(
            name=str(name),
            points=arrays["points"][index].astype(np.float32) * np.float32(UNIT),
            faces=arrays["faces"],
            joints=arrays["joints"][index],
            marks=arrays["marks"][index],
            bones=arrays["bones"],
            weights=weights,
            measures=dict(zip(SHAPED, (float(v) for v in arrays["measures"][index]), strict=True)),
        )
        for index, name in enumerate(arrays["names"])
    }
