"""Models that say of every pixel how much it is the salient object's, and alphas of what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from engines.protocols import RGB, Alpha

Floats = npt.NDArray[np.float32]


class SaliencyModel:
    """An ONNX session that takes one picture at a time; the map is the first of its outputs."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        self._output = session.get_outputs()[0].name

    def saliency(self, values: Floats) -> Floats:
        """(side, side), of a picture as the model wants its values, (side, side, 3)."""
        pixels = np.ascontiguousarray(values.transpose(2, 0, 1)[np.newaxis])
        (found,) = self._session.run([self._output], {self._input: pixels})
        saliency: Floats = found[0, 0]
        return saliency


def squeezed(picture: RGB, side: int, how: Image.Resampling) -> Floats:
    """(side, side, 3) in [0, 255]: the picture's shape is not kept, as in these models' training."""
    return np.asarray(Image.fromarray(picture).resize((side, side), how), np.float32)


def spread(saliency: Floats, picture: RGB) -> Alpha:
    """The map brought to the picture's height and width, within [0, 1]."""
    height, width = picture.shape[:2]
    full = Image.fromarray(saliency).resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(full, np.float32), 0.0, 1.0)
