"""EfficientNet-Lite2 on ImageNet-1k, a mobile variant of Tan and Le 2019, https://arxiv.org/abs/1905.11946."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from engines.declaration import Loading, engine
from engines.protocols import RGB, Classifier, Label

_SIDE = 260
_GREY = 127
_CHUNK = 8
"""Pictures a call of the model: more at once is slower on a CPU, whose caches they outgrow."""

FEATURES = 1280
"""Channels of the last convolution: the length of what ``encode`` says of a picture."""

_LEAST = 0.001
"""Labels under this probability are left out: hundreds of them, which together say nothing."""


@engine(
    "efficientnet_lite2",
    capability=Classifier,
    artifacts=("efficientnet-lite2", "imagenet-labels"),
    licence="Apache-2.0",
    batch=32,
    memory_mb=300,
)
class EfficientNetClassifier:
    """Names one of 998 things of ImageNet; its probabilities are on the low side of the truth.

    It is an ``ImageEncoder`` as well, for heads trained on what it sees.
    """

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        self._torch = loading.device.torch()
        from efficientnet_lite_pytorch import EfficientNet

        self._kind, self._dtype = loading.device.kind, getattr(self._torch, loading.device.dtype)
        model = EfficientNet.from_name("efficientnet-lite2")
        model.load_state_dict(self._torch.load(loading.path("efficientnet-lite2"), weights_only=True))
        # Depthwise convolutions over channels-last memory take 0.6 of the time.
        layout = self._torch.channels_last
        self._model = model.eval().to(self._kind, self._dtype, memory_format=layout)
        self._names: list[str] = json.loads(loading.path("imagenet-labels").read_text("utf-8"))

    def warm_up(self) -> None:
        self.classify([np.zeros((8, 8, 3), np.uint8)])

    def classify(self, pictures: Sequence[RGB]) -> list[list[Label]]:
        chunks = [pictures[start : start + _CHUNK] for start in range(0, len(pictures), _CHUNK)]
        return [self._labels(row) for chunk in chunks for row in self._run(chunk, self._probabilities)]

    def encode(self, pictures: Sequence[RGB]) -> npt.NDArray[np.float32]:
        """(N, 1280), the last convolution's channels averaged over the picture; not normalised."""
        chunks = [pictures[start : start + _CHUNK] for start in range(0, len(pictures), _CHUNK)]
        rows = [self._run(chunk, self._features) for chunk in chunks]
        return np.concatenate([np.zeros((0, FEATURES), np.float32), *rows])

    def _probabilities(self, batch: Any) -> Any:
        return self._model(batch).float().softmax(dim=1)

    def _features(self, batch: Any) -> Any:
        return self._model.extract_features(batch).float().mean(dim=(2, 3))

    def _run(self, pictures: Sequence[RGB], read: Callable[[Any], Any]) -> npt.NDArray[np.float32]:
        values = np.stack([_prepare(picture) for picture in pictures])
        with self._torch.inference_mode():
            batch = self._torch.from_numpy(values).permute(0, 3, 1, 2).to(self._kind, self._dtype)
            rows: npt.NDArray[np.float32] = read(batch).cpu().numpy()
        if not np.isfinite(rows).all():
            raise FloatingPointError("efficientnet_lite2 answered NaN or infinity")
        return rows

    def _labels(self, row: npt.NDArray[np.float32]) -> list[Label]:
        # Two names stand for two classes each ("sunglasses", "missile"): one label with their sum.
        by_name: defaultdict[str, float] = defaultdict(float)
        for index in np.flatnonzero(row >= min(_LEAST, float(row.max()))):
            by_name[self._names[index]] += float(row[index])
        return sorted((Label(name, p) for name, p in by_name.items()), key=lambda label: -label.confidence)


def _prepare(picture: RGB) -> npt.NDArray[np.float32]:
    """(260, 260, 3), the whole picture on a grey square: a centre crop would cut products off."""
    height, width = picture.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)
    square = Image.new("RGB", (_SIDE, _SIDE), (_GREY, _GREY, _GREY))
    square.paste(small, ((_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2))
    values: npt.NDArray[np.float32] = (np.asarray(square, np.float32) - _GREY) / np.float32(128)
    return values
