"""Shapes of a set: grids of points in space with what covers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.scenes.studio.noise import Field
from engines.scenes.studio.textures import Colour, Surface

Points = npt.NDArray[np.float32]
"""(rows, columns, 3)."""


@dataclass(frozen=True, slots=True)
class Material:
    """What covers a shape: a drawn ``surface`` or an even ``colour``.

    ``gloss`` in [0, 1] is how much a lacquer reflects, 0 for a matt one; ``roughness`` that of the lacquer where no
    surface says it. ``tinted`` ones take the set's colour and are near white themselves.
    """

    surface: Surface | None = None
    colour: Colour = (235.0, 235.0, 235.0)
    gloss: float = 0.0
    roughness: float = 0.3
    tinted: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """A grid of points; the surface is stretched over it from its first to its last row and column."""

    points: Points
    material: Material
    smooth: bool = True


def quad(corner: npt.ArrayLike, right: npt.ArrayLike, down: npt.ArrayLike) -> Points:
    """A flat rectangle from its upper left corner along two edges."""
    start, along, below = (np.asarray(v, np.float32) for v in (corner, right, down))
    return np.stack([np.stack([start, start + along]), np.stack([start + below, start + along + below])])


def extruded(profile: Sequence[tuple[float, float]], left: float, right: float) -> Points:
    """The curve of (y, z) points drawn along x."""
    line = np.asarray(profile, np.float32)
    ends = [np.column_stack([np.full(len(line), x, np.float32), line]) for x in (left, right)]
    return np.stack(ends, axis=1)


def turned(profile: Sequence[tuple[float, float]], x: float, z: float, sides: int = 128) -> Points:
    """The curve of (radius, y) points turned about the upright axis at (x, z)."""
    line = np.asarray(profile, np.float32)
    # The seam is at the back.
    angle = np.linspace(-np.pi, np.pi, sides + 1, dtype=np.float32)
    radius, height = line[:, :1], line[:, 1:]
    return np.stack(
        [
            x + radius * np.sin(angle),
            np.broadcast_to(height, (len(line), sides + 1)),
            z + radius * np.cos(angle),
        ],
        -1,
    ).astype(np.float32)


def rounded(
    start: tuple[float, float],
    corner: tuple[float, float],
    end: tuple[float, float],
    radius: float,
    steps: int = 16,
) -> list[tuple[float, float]]:
    """From ``start`` to ``end`` with the corner between them rounded by a quarter of an ellipse."""
    a, c, b = (np.asarray(p, np.float64) for p in (start, corner, end))
    into, out = (a - c) / np.linalg.norm(a - c), (b - c) / np.linalg.norm(b - c)
    turn = np.linspace(0, np.pi / 2, steps)[:, None]
    arc = c + radius * ((1 - np.sin(turn)) * into + (1 - np.cos(turn)) * out)
    return [(float(p), float(q)) for p, q in (a, *arc, b)]


def draped(across: float, down: float, height: Field) -> Points:
    """A cloth in the plane z = 0, ``height`` (rows, columns) above it, about the origin."""
    rows, columns = height.shape
    x = np.linspace(-across / 2, across / 2, columns, dtype=np.float32)
    y = np.linspace(down / 2, -down / 2, rows, dtype=np.float32)
    return np.stack([*np.meshgrid(x, y), height], axis=-1).astype(np.float32)
