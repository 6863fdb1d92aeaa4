"""EfficientNet-Lite2 on ImageNet-1k, a mobile variant of Tan and Le 2019, https://arxiv.org/abs/1905.11946."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from engines.declaration import Loading, engine
from engines.looks.frames import scaled, squared
from engines.looks.recent import Recent
from engines.looks.towers import ImageTower, Pixels
from engines.protocols import RGB, Classifier, ImageEncoder, Label

_SIDE = 260
_GREY = 127
_CHUNK = 8
"""Pictures a call of the model: more at once is slower on a CPU, whose caches they outgrow."""

FEATURES = 1280
"""Channels of the last convolution: the length of what ``encode`` says of a picture."""

PATCHES = 81
"""Places of its feature map, nine by nine."""

_LEAST = 0.001
"""Labels under this probability are left out: hundreds of them, which together say nothing."""


@engine(
    "efficientnet_lite2",
    capability=(Classifier, ImageEncoder),
    artifacts=("efficientnet-lite2", "imagenet-labels"),
    licence="Apache-2.0",
    batch=32,
    memory_mb=300,
)
class EfficientNetClassifier:
    """Names one of 998 things of ImageNet; its probabilities are on the low side of the truth.

    It is a ``PatchEncoder`` as well, for what is trained on what it sees.
    """

    version: ClassVar[int] = 2

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
        # Classes and heads rest on the same features, and more than one stage asks about a photo.
        self._recent: Recent[npt.NDArray[np.float32]] = Recent()

    def warm_up(self) -> None:
        self.classify([np.zeros((8, 8, 3), np.uint8)])

    def classify(self, pictures: Sequence[RGB]) -> list[list[Label]]:
        features = self._torch.from_numpy(self.encode(pictures)).to(self._kind, self._dtype)
        with self._torch.inference_mode():
            # The last layer of the model, which features skip; its dropout does nothing outside training.
            rows = self._model._fc(features).float().softmax(dim=1).cpu().numpy()
        return [self._labels(row) for row in rows]

    def encode(self, pictures: Sequence[RGB]) -> npt.NDArray[np.float32]:
        """(N, 1280), the last convolution's channels averaged over the picture; not normalised."""
        rows = self._recent.answers([_square(picture) for picture in pictures], self._features)
        return np.stack(rows) if rows else np.zeros((0, FEATURES), np.float32)

    def image_tower(self) -> ImageTower:
        model, torch = self._model, self._torch

        class Features(torch.nn.Module):  # type: ignore[name-defined,misc]
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, pixels: Any) -> Any:
                return self.model.extract_features(pixels).mean(dim=(2, 3))

        return ImageTower(Features().eval(), lambda photos: _pixels([_square(photo) for photo in photos]))

    def _features(self, squares: Sequence[RGB]) -> list[npt.NDArray[np.float32]]:
        chunks = [squares[start : start + _CHUNK] for start in range(0, len(squares), _CHUNK)]
        return [row for chunk in chunks for row in self._run(chunk)]

    def patches(self, pictures: Sequence[RGB]) -> npt.NDArray[np.float32]:
        """(N, 81, 1280), the last convolution's channels at every place of the picture, row by row."""
        found = [np.zeros((0, PATCHES, FEATURES), np.float32)]
        for start in range(0, len(pictures), _CHUNK):
            places = self._convolved([_square(picture) for picture in pictures[start : start + _CHUNK]])
            found.append(_finite(places.flatten(2).transpose(1, 2).cpu().numpy()))
        return np.concatenate(found)

    def _run(self, squares: Sequence[RGB]) -> npt.NDArray[np.float32]:
        return _finite(self._convolved(squares).mean(dim=(2, 3)).cpu().numpy())

    def _convolved(self, squares: Sequence[RGB]) -> Any:
        """(N, 1280, 9, 9), a tensor."""
        with self._torch.inference_mode():
            batch = self._torch.from_numpy(_pixels(squares)).to(self._kind, self._dtype)
            return self._model.extract_features(batch).float()

    def _labels(self, row: npt.NDArray[np.float32]) -> list[Label]:
        # Two names stand for two classes each ("sunglasses", "missile"): one label with their sum.
        by_name: defaultdict[str, float] = defaultdict(float)
        for index in np.flatnonzero(row >= min(_LEAST, float(row.max()))):
            by_name[self._names[index]] += float(row[index])
        return sorted((Label(name, p) for name, p in by_name.items()), key=lambda label: -label.confidence)


def _pixels(squares: Sequence[RGB]) -> Pixels:
    """(N, 3, 260, 260) as the model takes them, in the layout that is quickest to it: channels last."""
    values = (np.stack(squares).astype(np.float32) - _GREY) / np.float32(128)
    return values.transpose(0, 3, 1, 2)


def _finite(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    if not np.isfinite(rows).all():
        raise FloatingPointError("efficientnet_lite2 answered NaN or infinity")
    return rows


def _square(picture: RGB) -> RGB:
    """(260, 260, 3), the whole picture on a grey square: a centre crop would cut products off."""
    small = Image.fromarray(picture).resize(scaled(picture.shape, _SIDE), Image.Resampling.BICUBIC)
    return squared(np.asarray(small), (_GREY, _GREY, _GREY))
