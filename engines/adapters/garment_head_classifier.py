"""Ten kinds of garment by a linear head on EfficientNet-Lite2; ``engines/training/garment_head.py`` trains it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from engines.declaration import Loading, engine
from engines.looks.heads import softmax, unit
from engines.looks.sights import views
from engines.protocols import RGB, GarmentClassifier, ImageEncoder, Label, Subject

_ENCODER = "efficientnet_lite2"

WEIGHTS = "looks/garment_head.safetensors"
"""Beside the engines' modules: ``weight`` (features, kinds), ``bias`` (kinds), divided by the temperature."""

KINDS = (
    "dress",
    "hat",
    "longsleeve",
    "outwear",
    "pants",
    "shirt",
    "shoes",
    "shorts",
    "skirt",
    "t-shirt",
)
"""In the order of the weights, as the photographs it was trained on name them."""


@engine(
    "garment_head",
    capability=GarmentClassifier,
    needs=(_ENCODER,),
    data=(WEIGHTS,),
    licence="Apache-2.0; trained on CC0-1.0 photographs",
    batch=32,
    memory_mb=10,
)
class GarmentHead:
    """Which of ten kinds a garment is. It always names one: ask it only about what is worn."""

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        from safetensors.numpy import load_file

        self._encoder: ImageEncoder = loading.engine(_ENCODER)
        tensors = load_file(weights_path())
        self._weight = tensors["weight"].astype(np.float32)
        self._bias = tensors["bias"].astype(np.float32)

    def warm_up(self) -> None:
        self.classify_garments([Subject(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32))])

    def classify_garments(self, subjects: Sequence[Subject]) -> list[list[Label]]:
        rows = softmax(features(self._encoder, subjects) @ self._weight + self._bias)
        return [
            [Label(KINDS[kind], float(row[kind])) for kind in np.argsort(-row, kind="stable")] for row in rows
        ]


def weights_path() -> Path:
    """Where the package keeps the weights."""
    return Path(__file__).parents[1] / WEIGHTS


def features(encoder: ImageEncoder, subjects: Sequence[Subject]) -> npt.NDArray[np.float32]:
    """(N, D): the whole photo, the product close up, and cut out on grey, each encoded to length 1."""
    encoded = encoder.encode([view for subject in subjects for view in three_views(subject)])
    return normalised(encoded.reshape(len(subjects), 3, encoded.shape[1]))


def three_views(subject: Subject) -> list[RGB]:
    """The whole photo, the product close up, and cut out; the whole photo thrice without a usable cut-out."""
    seen = views(subject)
    return [subject.picture, seen[0], seen[-1]]


def normalised(encoded: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(N, views * D) from (N, views, D): every view brought to length 1, so that none speaks louder."""
    return unit(encoded, axis=2).reshape(len(encoded), encoded.shape[1] * encoded.shape[2])
