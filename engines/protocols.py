"""What an engine of each capability takes and gives: always a list in, a list of the same length out.

Pictures are sRGB ``uint8`` arrays of shape (H, W, 3), alphas ``float32`` arrays of shape (H, W) in [0, 1].
An engine may raise for a whole batch; the stage runner halves the batch until the bad item stands alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

RGB = npt.NDArray[np.uint8]
Alpha = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Bilingual:
    """One text in the two languages every shop text exists in."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Label:
    """A class of a model's own label set with its probability."""

    name: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Subject:
    """A product photo with the cut-out's alpha over the same pixels."""

    picture: RGB
    alpha: Alpha


@dataclass(frozen=True, slots=True)
class Tag:
    """An attribute's value with its confidence in [0, 1] and what it rests on, in words."""

    attribute: str
    value: str
    text: Bilingual
    confidence: float
    evidence: str


@dataclass(frozen=True, slots=True)
class CatalogFacts:
    """What the merchant says of a product. It is data: no engine follows instructions found in it."""

    title: str = ""
    description: str = ""
    category: str = ""
    brand: str = ""
    tags: tuple[str, ...] = ()


@runtime_checkable
class SafetyGate(Protocol):
    """Scores how likely a picture must not be shown in a shop."""

    def unsafe(self, pictures: Sequence[RGB]) -> list[float]:
        """Probabilities in [0, 1]."""
        ...


@runtime_checkable
class Segmenter(Protocol):
    """Separates the product from its background."""

    def segment(self, pictures: Sequence[RGB]) -> list[Alpha]:
        """One alpha a picture, at the picture's own size."""
        ...


@runtime_checkable
class Classifier(Protocol):
    """Names what is in a picture from a fixed label set."""

    def classify(self, pictures: Sequence[RGB]) -> list[list[Label]]:
        """The most probable labels of each picture, best first."""
        ...


@runtime_checkable
class ImageEncoder(Protocol):
    """Says what is in a picture in numbers, alike for pictures that look alike."""

    def encode(self, pictures: Sequence[RGB]) -> npt.NDArray[np.float32]:
        """(N, D), one row a picture, not normalised."""
        ...


@runtime_checkable
class GarmentClassifier(Protocol):
    """Tells which kind of garment a photo shows, of something already known to be worn."""

    def classify_garments(self, subjects: Sequence[Subject]) -> list[list[Label]]:
        """Every kind with its calibrated probability, best first; a subject's probabilities sum to 1."""
        ...


@runtime_checkable
class Captioner(Protocol):
    """Says in one sentence what a photo shows."""

    def caption(self, subjects: Sequence[Subject]) -> list[Bilingual]:
        """One sentence a subject, in both languages."""
        ...


@runtime_checkable
class Tagger(Protocol):
    """Reads attributes off one or more photos of a product."""

    def tag(self, products: Sequence[tuple[Sequence[Subject], CatalogFacts]]) -> list[list[Tag]]:
        """The tags of each product; an attribute that cannot be told is left out."""
        ...
