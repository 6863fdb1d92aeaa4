"""Random fields that look the same at every resolution: a lattice of random values, drawn as fine as is asked.

Lengths are in units of the picture's height (``view.py``); a field has mean 0 and a standard deviation of about 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
"""(H, W)."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A rectangle of surface: ``across`` by ``down`` units, drawn with ``pixels`` a unit."""

    across: float
    down: float
    pixels: float

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return max(2, round(self.down * self.pixels)), max(2, round(self.across * self.pixels))

    def coordinates(self) -> tuple[Field, Field]:
        """x from the left and y from the top of every pixel's middle, in units; both (H, W)."""
        height, width = self.shape
        x = (np.arange(width, dtype=np.float32) + 0.5) * (self.across / width)
        y = (np.arange(height, dtype=np.float32) + 0.5) * (self.down / height)
        across, down = np.meshgrid(x, y)
        return across, down


def noise(seed: tuple[int, ...], sheet: Sheet, across: float, down: float) -> Field:
    """Smooth noise with ``across`` and ``down`` cells a unit. A cell finer than two pixels averages out."""
    import cv2

    height, width = sheet.shape
    columns, rows = sheet.across * across, sheet.down * down
    whole = (int(np.ceil(rows)) + 3, int(np.ceil(columns)) + 3)
    lattice = np.random.default_rng(seed).standard_normal(whole, np.float32)
    # Shrinking first where cells are finer than pixels: a resize by cubics would only pick some of them.
    finer = (min(whole[1], 2 * width), min(whole[0], 2 * height))
    if finer != (whole[1], whole[0]):
        spread = max(whole[1] / finer[0], 1.0) * max(whole[0] / finer[1], 1.0)
        lattice = cv2.resize(lattice, finer, interpolation=cv2.INTER_AREA) * np.float32(
            np.sqrt(spread) ** 0.5
        )
    step = np.array(
        [[columns / width * finer[0] / whole[1], 0, 1.0], [0, rows / height * finer[1] / whole[0], 1.0]],
        np.float32,
    )
    drawn = cv2.warpAffine(
        lattice,
        step,
        (width, height),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(drawn * 1.35, np.float32)


def clouds(seed: tuple[int, ...], sheet: Sheet, across: float, down: float, octaves: int = 4) -> Field:
    """Noise of several sizes, each half as large and half as strong as the one before."""
    total = np.zeros(sheet.shape, np.float32)
    for octave in range(octaves):
        total += noise((*seed, octave), sheet, across * 2**octave, down * 2**octave) * np.float32(0.5**octave)
    return total / np.float32(1.15)


def moved(field: Field, sheet: Sheet, right: Field, below: Field) -> Field:
    """``field`` read ``right`` and ``below`` units from every place."""
    import cv2

    height, width = sheet.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.asarray(
        cv2.remap(
            field,
            x + right * np.float32(sheet.pixels),
            y + below * np.float32(sheet.pixels),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        ),
        np.float32,
    )


def step(low: float, high: float, field: Field) -> Field:
    """0 below ``low``, 1 above ``high``, smooth between."""
    share = np.clip((field - low) / (high - low), 0.0, 1.0)
    return np.asarray(share * share * (3 - 2 * share), np.float32)
