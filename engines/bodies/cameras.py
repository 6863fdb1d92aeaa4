"""Cameras around a house body: a long lens, level, as a shop's photographer would place it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from engines.bodies.skeleton import Places

DISTANCE = 7.0
"""Metres from the camera to the body's axis: about 135 mm on a full frame."""

_MARGIN = 0.06
"""Share of the picture's height that is free above and below the body."""


class Facing(StrEnum):
    """From where the body is seen."""

    FRONT = "front"
    THREE_QUARTER = "three-quarter"
    SIDE = "side"
    BACK = "back"

    @property
    def degrees(self) -> float:
        """How far the camera has gone round to the body's left."""
        return {"front": 0.0, "three-quarter": 38.0, "side": 90.0, "back": 180.0}[self.value]


@dataclass(frozen=True, slots=True)
class Camera:
    """A picture of (``width``, ``height``) pixels of a body ``tall`` metres high."""

    facing: Facing
    width: int
    height: int
    tall: float

    @property
    def axes(self) -> npt.NDArray[np.float64]:
        """(3, 3), rows: to the picture's right, up, and towards the camera."""
        turn = np.radians(self.facing.degrees)
        return np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]])

    @property
    def middle(self) -> float:
        """Metres above the floor at which the camera stands and looks."""
        return self.tall / 2

    @property
    def place(self) -> npt.NDArray[np.float64]:
        """(3,): where the camera is."""
        return np.asarray((0, self.middle, 0) + DISTANCE * self.axes[2], np.float64)

    @property
    def focal(self) -> float:
        """Pixels of a metre at a metre's distance."""
        return float(self.height * (1 - 2 * _MARGIN) / self.tall * DISTANCE)

    def project(self, points: Places) -> Places:
        """(N, 3): pixels to the right and down, and the distance along the axis in metres."""
        seen = (np.asarray(points, np.float64) - self.place) @ self.axes.T
        far = -seen[:, 2]
        x = self.width / 2 + self.focal * seen[:, 0] / far
        y = self.height / 2 - self.focal * seen[:, 1] / far
        return np.stack([x, y, far], -1).astype(np.float32)
