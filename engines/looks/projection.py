"""Many numbers made few without a training: distances stay, by a random matrix that is always the same."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


def signs(rows: int, columns: int, name: str) -> npt.NDArray[np.float32]:
    """(rows, columns) of ±1/√columns from SHAKE-256 of ``name``, equal on every machine (Achlioptas 2003,
    https://doi.org/10.1016/S0022-0000(03)00025-4)."""
    drawn = hashlib.shake_256(name.encode()).digest((rows * columns + 7) // 8)
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8), count=rows * columns).reshape(rows, columns)
    drawn_signs: npt.NDArray[np.float32] = np.where(bits == 1, 1.0, -1.0).astype(np.float32)
    return drawn_signs / np.float32(np.sqrt(columns))
