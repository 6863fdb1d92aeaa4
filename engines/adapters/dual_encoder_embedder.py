"""Embeddings by CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020), SigLIP (Zhai et al. 2023,
https://arxiv.org/abs/2303.15343) and SigLIP 2 (Tschannen et al. 2025, https://arxiv.org/abs/2502.14786)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from engines.declaration import Loading, engine
from engines.looks.cutouts import GREY
from engines.looks.dual_encoders import DualEncoder
from engines.looks.frames import squared
from engines.looks.sights import views
from engines.looks.towers import ImageTower, Pixels
from engines.protocols import RGB, Embedder, Subject
from engines.words.text import holds_word, one_line

_LONGEST = 4000
"""Characters of a text that are read: far more than any text tower's 77 tokens."""


@engine(
    "clip_embedder",
    capability=Embedder,
    hub="openai/clip-vit-base-patch32",
    extra="models",
    licence="MIT",
    memory_mb=1000,
)
@engine(
    "clip_large_embedder",
    capability=Embedder,
    hub="openai/clip-vit-large-patch14",
    extra="models",
    licence="MIT",
    batch=16,
    memory_mb=2500,
)
@engine(
    "siglip_embedder",
    capability=Embedder,
    hub="google/siglip-base-patch16-224",
    extra="models",
    licence="Apache-2.0",
    memory_mb=1500,
)
@engine(
    "siglip2_embedder",
    capability=Embedder,
    hub="google/siglip2-base-patch16-224",
    extra="models",
    licence="Apache-2.0",
    memory_mb=2200,
)
@engine(
    "tinyclip_embedder",
    capability=Embedder,
    hub="wkcn/TinyCLIP-ViT-8M-16-Text-3M-YFCC15M",
    extra="models",
    licence="MIT",
    memory_mb=300,
)
class DualEncoderEmbedder:
    """Photographs and words as a model of two towers has them, in the one space it was trained for.

    SigLIP 2 reads Chinese; CLIP, TinyCLIP and SigLIP were trained on English, and make little of it.
    """

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        self._encoder = self._loaded(loading)

    def _loaded(self, loading: Loading) -> DualEncoder:
        return DualEncoder.of_transformers(loading)

    @property
    def dimension(self) -> int:
        return self._encoder.dimension

    def warm_up(self) -> None:
        self.embed_photos([Subject(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32))])
        self.embed_texts(["a"])

    def embed_photos(self, subjects: Sequence[Subject]) -> npt.NDArray[np.float32]:
        return self._encoder.pictures(_shown(subject) for subject in subjects)

    def image_tower(self) -> ImageTower:
        tower = self._encoder.image_tower()

        def prepared(photos: Sequence[RGB]) -> Pixels:
            return tower.prepared([_square(photo) for photo in photos])

        return replace(tower, prepared=prepared)

    def embed_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        lines = [one_line(text, _LONGEST) for text in texts]
        worded = [at for at, line in enumerate(lines) if holds_word(line)]
        rows = np.zeros((len(lines), self.dimension), np.float32)
        rows[worded] = self._encoder.texts(lines[at] for at in worded)
        return rows


def _shown(subject: Subject) -> RGB:
    """A grey square with what the alpha covers, close up; with the whole photo where it covers all, or fails."""
    return _square(subject.picture if subject.alpha.min() == 1 else views(subject)[-1])


def _square(photo: RGB) -> RGB:
    return squared(photo, (GREY, GREY, GREY))
