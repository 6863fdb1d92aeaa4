"""stub"""
from __future__ import annotations

import numpy as np
import numpy.typing as npt


def compose(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    r: npt.NDArray[np.float32] = (a + b) / np.linalg.norm(a + b)
    return r
