"""Yahoo's Open NSFW (ResNet-50 thin, 2016): the probability that a picture is pornographic."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from engines.declaration import Loading, engine
from engines.protocols import RGB, SafetyGate

_RESIZED, _CROPPED = 256, 224
_MEAN_BGR = np.array([104.0, 117.0, 123.0], np.float32)


@engine(
    "open_nsfw",
    capability=SafetyGate,
    artifacts=("open-nsfw",),
    licence="BSD-2-Clause",
    batch=32,
    memory_mb=250,
)
class OpenNsfwSafety:
    """Scores nudity only. Its authors call a score under 0.2 safe and one over 0.8 unsafe."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        self._session = loading.device.onnx_session(loading.path("open-nsfw"))
        self._input = self._session.get_inputs()[0].name

    def warm_up(self) -> None:
        self.unsafe([np.zeros((8, 8, 3), np.uint8)])

    def unsafe(self, pictures: Sequence[RGB]) -> list[float]:
        if not pictures:
            return []
        (scores,) = self._session.run(
            None, {self._input: np.stack([_prepare(picture) for picture in pictures])}
        )
        # Columns are safe, unsafe.
        return [float(score) for score in scores[:, 1]]


def _prepare(picture: RGB) -> npt.NDArray[np.float32]:
    """(224, 224, 3) in BGR, mean taken off.

    The network was trained on pictures stored as JPEG after resizing; without that round trip the scores
    shift by some hundredths.
    """
    resized = Image.fromarray(picture).resize((_RESIZED, _RESIZED), Image.Resampling.BILINEAR)
    stored = io.BytesIO()
    resized.save(stored, "JPEG")
    with Image.open(stored) as decoded:
        values = np.asarray(decoded, np.float32)
    edge = (_RESIZED - _CROPPED) // 2
    return values[edge : edge + _CROPPED, edge : edge + _CROPPED, ::-1] - _MEAN_BGR
