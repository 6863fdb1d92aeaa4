"""IS-Net, dichotomous segmentation: Qin et al. 2022, https://arxiv.org/abs/2203.03041."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from engines.declaration import Loading, engine
from engines.looks.saliency import SaliencyModel, spread, squeezed
from engines.protocols import RGB, Alpha, CatalogFacts, Segmenter

_SIDE = 1024


@engine(
    "isnet",
    capability=Segmenter,
    artifacts=("isnet",),
    licence="MIT (weights; they come in a package under AGPL-3.0)",
    batch=4,
    memory_mb=2000,
)
class IsnetSegmenter:
    """Cuts the salient object out of its background; the alpha is sharp to 1/1024 of the picture's sides.

    Opt-in: `vitrine engines --fetch isnet`, then choose it for the role segmenter.
    """

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        self._model = SaliencyModel(loading.device.onnx_session(loading.path("isnet")))

    def warm_up(self) -> None:
        self.segment([np.zeros((8, 8, 3), np.uint8)])

    def segment(self, pictures: Sequence[RGB], facts: Sequence[CatalogFacts] = ()) -> list[Alpha]:
        # One at a time: a picture fills all cores, and its activations take most of a gigabyte.
        return [spread(self._model.saliency(_prepare(picture)), picture) for picture in pictures]


def _prepare(picture: RGB) -> npt.NDArray[np.float32]:
    """(1024, 1024, 3) in [-0.5, 0.5)."""
    return (squeezed(picture, _SIDE, Image.Resampling.BILINEAR) - 128.0) / 256.0
