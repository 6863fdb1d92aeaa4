"""U^2-Net (small), salient object segmentation: Qin et al. 2020, https://arxiv.org/abs/2005.09007."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from engines.declaration import Loading, engine
from engines.looks.frames import MEAN, STD
from engines.looks.saliency import SaliencyModel, spread, squeezed
from engines.protocols import RGB, Alpha, CatalogFacts, Segmenter

_SIDE = 320

_SURE = 0.5
"""A map that nowhere gets this high found no subject; stretching it to 1 would invent one."""


@engine(
    "u2netp",
    capability=Segmenter,
    artifacts=("u2netp",),
    licence="Apache-2.0",
    batch=16,
    memory_mb=300,
)
class U2NetpSegmenter:
    """Cuts the salient object out of its background; the alpha is sharp to 1/320 of the picture's sides."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        self._model = SaliencyModel(loading.device.onnx_session(loading.path("u2netp")))

    def warm_up(self) -> None:
        self.segment([np.zeros((8, 8, 3), np.uint8)])

    def segment(self, pictures: Sequence[RGB], facts: Sequence[CatalogFacts] = ()) -> list[Alpha]:
        # The graph has a fixed batch of one, and all cores are busy with one picture: a batch in one call,
        # the graph rewritten for it, took three times as long a picture.
        return [self._segment(picture) for picture in pictures]

    def _segment(self, picture: RGB) -> Alpha:
        saliency = self._model.saliency(_prepare(picture))
        low, high = float(saliency.min()), float(saliency.max())
        return spread((saliency - low) / max(high - low, _SURE), picture)


def _prepare(picture: RGB) -> npt.NDArray[np.float32]:
    """(320, 320, 3), scaled by the picture's own maximum as in the authors' code."""
    values = squeezed(picture, _SIDE, Image.Resampling.LANCZOS)
    return (values / max(float(values.max()), 1.0) - MEAN) / STD
