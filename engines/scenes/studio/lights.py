"""Light: panels and sky, for the path tracer and for the shadows of products alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Point = tuple[float, float, float]
Rays = npt.NDArray[np.float32]
"""(N, 3)."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A softbox or a window: a square of side ``size`` at ``at`` that faces ``towards`` and sends ``radiance``."""

    at: Point
    towards: Point
    size: float
    radiance: float

    def points(self, count: int) -> Rays:
        """``count`` points spread evenly over it (R2 sequence, M. Roberts 2018)."""
        index = np.arange(1, count + 1)[:, None]
        spread = (0.5 + index * np.array([0.7548776662466927, 0.5698402909980532])) % 1.0 - 0.5
        facing = np.subtract(self.towards, self.at)
        facing = facing / np.linalg.norm(facing)
        side = np.cross(facing, (0.0, 1.0, 0.0) if abs(facing[1]) < 0.95 else (0.0, 0.0, 1.0))
        side = side / np.linalg.norm(side)
        up = np.cross(side, facing)
        points = np.asarray(self.at) + self.size * (spread[:, :1] * side + spread[:, 1:] * up)
        return np.asarray(points, np.float32)

    @property
    def facing(self) -> npt.NDArray[np.float32]:
        """The direction it faces, of length 1."""
        facing = np.subtract(self.towards, self.at)
        return np.asarray(facing / np.linalg.norm(facing), np.float32)


@dataclass(frozen=True, slots=True)
class Light:
    """Lights that are rendered together: panels, and a sky of even radiance all round."""

    panels: tuple[Panel, ...] = ()
    sky: float = 0.0


@dataclass(frozen=True, slots=True)
class Rig:
    """How a set is lit. Plates keep what the key makes apart from what the fill makes, since a product keeps more
    of the one than of the other from the set."""

    key: Light
    fill: Light


def hemisphere(count: int, up: Point) -> Rays:
    """``count`` directions about ``up``, as many as a matt surface weighs them: the same weight each."""
    index = np.arange(count) + 0.5
    around = index * (np.pi * (3 - np.sqrt(5)))
    height = np.sqrt(1 - index / count)
    flat = np.sqrt(index / count)
    normal = np.asarray(up, np.float64)
    side = np.cross(normal, (1.0, 0.0, 0.0) if abs(normal[0]) < 0.9 else (0.0, 1.0, 0.0))
    side = side / np.linalg.norm(side)
    other = np.cross(normal, side)
    rays = flat[:, None] * (np.cos(around)[:, None] * side + np.sin(around)[:, None] * other)
    return np.asarray(rays + height[:, None] * normal, np.float32)
