"""How a head is held, from its face's points: an average face of known size is turned until its points fall on them."""

from __future__ import annotations

from dataclasses import dataclass
from math import asin, degrees
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.protocols.fitting import Points

Floats = npt.NDArray[np.float64]

_ABOVE_MOUTH = -2.5
"""Height in the average face's centimetres: what is lower moves when somebody speaks."""


def average_face(path: Path) -> Floats:
    """(468, 3) in centimetres, x to the picture's right, y up, z towards the camera: the artifact ``face-shape``.

    The file is a run of protobuf's floats, each with a byte before it; five a point, of which two place a texture.
    """
    numbers = np.frombuffer(path.read_bytes(), np.dtype([("tag", "u1"), ("value", "<f4")]))["value"]
    return numbers.reshape(-1, 5)[:, :3].astype(np.float64)


@dataclass(frozen=True, slots=True)
class Head:
    """Takes places of the average face to the picture. ``yaw``, ``pitch``, ``roll`` in degrees: positive is turned to
    the picture's right, downwards, and clockwise."""

    turn: Floats
    scale: float
    at: Floats

    def onto_picture(self, places: Floats) -> Points:
        """(N, 2) in pixels of (N, 3) in centimetres. Without perspective: a face is flat beside its distance."""
        seen = places @ self.turn[:2].T * self.scale
        return np.asarray(seen * (1, -1) + self.at, np.float32)

    @property
    def yaw(self) -> float:
        return degrees(asin(float(np.clip(self.turn[0, 2], -1, 1))))

    @property
    def pitch(self) -> float:
        return degrees(asin(float(np.clip(-self.turn[1, 2], -1, 1))))

    @property
    def roll(self) -> float:
        return degrees(float(np.arctan2(-self.turn[1, 0], self.turn[0, 0])))


def head(face: Points, average: Floats) -> Head:
    """The turn, scale and place that bring the average face nearest to a face's points (weak perspective)."""
    steady = average[:, 1] > _ABOVE_MOUTH
    model, seen = average[steady], face[steady].astype(np.float64) * (1, -1)
    middle, place = model.mean(axis=0), seen.mean(axis=0)
    spread, *_ = np.linalg.lstsq(model - middle, seen - place, rcond=None)
    # The nearest two rows at right angles and of equal length; the third is what is left of a rotation.
    left, lengths, right = np.linalg.svd(spread.T, full_matrices=False)
    rows = left @ right
    turn = np.vstack([rows, np.cross(rows[0], rows[1])])
    scale = float(lengths.mean())
    at = place - middle @ turn[:2].T * scale
    return Head(turn, scale, at * (1, -1))
