"""The arithmetic that every small head on an encoder shares."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Real = TypeVar("Real", np.float32, np.float64)

_LEAST_LENGTH = 1e-6
"""What a row is divided by at the least: one of zeros stays zeros."""


def unit(rows: npt.NDArray[Real], axis: int = -1) -> npt.NDArray[Real]:
    """The same rows brought to length 1 along ``axis``, of the same shape and precision."""
    lengths = np.linalg.norm(rows, axis=axis, keepdims=True)
    units: npt.NDArray[Real] = rows / np.maximum(lengths, rows.dtype.type(_LEAST_LENGTH))
    return units


def softmax(scores: npt.NDArray[Real]) -> npt.NDArray[Real]:
    """Probabilities (…, kinds) of scores (…, kinds), of the same precision."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    rows: npt.NDArray[Real] = powers / powers.sum(axis=-1, keepdims=True)
    return rows
