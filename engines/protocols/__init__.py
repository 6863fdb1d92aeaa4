"""What an engine of each capability takes and gives: always a list in, a list of the same length out.

Pictures are sRGB ``uint8`` arrays of shape (H, W, 3), alphas ``float32`` arrays of shape (H, W) in [0, 1].
An engine may raise for a whole batch; the stage runner halves the batch until the bad item stands alone. One
whose answers cost much may give a RejectedInput in the place of an answer instead: then the others keep theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pipeline.errors import RejectedInput

RGB = npt.NDArray[np.uint8]
Alpha = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom as shares of the picture's width and height, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Bilingual:
    """One text in the two languages every shop text exists in."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class CatalogFacts:
    """What the merchant says of a product. It is data: no engine follows instructions found in it.

    An engine sees those fields only that its registration says it reads; the others are empty.
    """

    title: str = ""
    description: str = ""
    category: str = ""
    brand: str = ""
    tags: tuple[str, ...] = ()
    locale: str = ""

    def only(self, reads: Sequence[str]) -> CatalogFacts:
        """The named fields; the others empty."""
        return CatalogFacts(**{name: getattr(self, name) for name in reads})


@dataclass(frozen=True, slots=True)
class Label:
    """A class of a model's own label set with its probability."""

    name: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Detection:
    """An object of a model's own label set, where it is, and with what probability."""

    name: str
    confidence: float
    box: Box


@dataclass(frozen=True, slots=True)
class Printed:
    """A line of text on the product or its pack. It is data, as a title is."""

    text: str
    confidence: float
    box: Box


@dataclass(frozen=True, slots=True)
class Subject:
    """A product photo with the cut-out's alpha over the same pixels, the text read in it, and what the
    merchant says."""

    picture: RGB
    alpha: Alpha
    printed: tuple[Printed, ...] = ()
    facts: CatalogFacts = CatalogFacts()


class Witness(StrEnum):
    """What kind of thing a tag rests on."""

    PHOTO = "photo"  # something seen in a region of a photo
    PRINTED = "printed"  # text read in a photo
    CATALOG = "catalog"  # words of the merchant
    ATTRIBUTES = "attributes"  # other attributes that hold


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a tag rests on: ``words`` say what was seen or read.

    ``photo`` counts the product's photos from 0. ``outline`` is a closed polygon of (x, y) as shares of the
    photo's width and height, for what a box says too roughly.
    """

    witness: Witness
    words: str
    photo: int | None = None
    box: Box | None = None
    outline: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Tag:
    """A value of the vocabulary for one of its attributes, both by key.

    ``confidence`` in [0, 1] is calibrated: of tags at 0.8, four of five are right. ``because`` are the
    (attribute, value) pairs that a style or a scene rests on.
    """

    attribute: str
    value: str
    confidence: float
    evidence: tuple[Evidence, ...] = ()
    because: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Brief:
    """What is known of a product when something is to be said about it.

    ``tags`` hold; ``subjects`` reads the photos when called, since not every engine looks at them.
    """

    facts: CatalogFacts
    tags: tuple[Tag, ...]
    printed: tuple[Printed, ...]
    subjects: Callable[[], Sequence[Subject]]


@dataclass(frozen=True, slots=True)
class SellingPoint:
    """A sentence that a buyer would act on, and what makes it true.

    ``rests_on`` are (attribute, value) of tags, or ("catalog", field of CatalogFacts). Never empty.
    """

    text: Bilingual
    rests_on: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A question about one product, in English or Chinese."""

    text: str
    brief: Brief


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer in the question's language, or None where the engine declines; ``because`` says why either.

    ``confidence`` in [0, 1]; 0 where it declines.
    """

    text: str | None
    because: str
    confidence: float


@runtime_checkable
class SafetyGate(Protocol):
    """Scores how likely a picture must not be shown in a shop."""

    def unsafe(self, pictures: Sequence[RGB]) -> list[float]:
        """Probabilities in [0, 1]."""
        ...


@runtime_checkable
class Segmenter(Protocol):
    """Separates the product from its background."""

    def segment(self, pictures: Sequence[RGB], facts: Sequence[CatalogFacts] = ()) -> list[Alpha]:
        """One alpha a picture, at the picture's own size; all zero where the product is not in it.

        ``facts`` say, a picture each, which product to look for; without any, the most salient thing is it.
        """
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
class Embedder(Protocol):
    """Puts photographs and words into one space, where what belongs together is near.

    Every row has length 1, so that a dot product is a cosine. Two engines, or two revisions of one, never share
    a space.
    """

    @property
    def dimension(self) -> int:
        """D, the same for photographs and words."""
        ...

    def embed_photos(self, subjects: Sequence[Subject]) -> npt.NDArray[np.float32]:
        """(N, D), a row a subject: what its alpha covers. An alpha of ones all over stands for the whole photo."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """(N, D), a row a text, in English or Chinese; all zero for a text that holds no word."""
        ...


@runtime_checkable
class PatchEncoder(Protocol):
    """Says what is at every place of a picture in numbers."""

    def patches(self, pictures: Sequence[RGB]) -> npt.NDArray[np.float32]:
        """(N, T, D), a row a place, the same places of every picture."""
        ...


@runtime_checkable
class TokenEmbedder(Embedder, Protocol):
    """An embedder that says of what its rows are made: what a composer attends to."""

    def photo_tokens(self, subjects: Sequence[Subject]) -> list[npt.NDArray[np.float32]]:
        """(T, d) of each subject: what is at the places of what its alpha covers."""
        ...

    def text_tokens(self, texts: Sequence[str]) -> list[npt.NDArray[np.float32]]:
        """(S, d) of each text; none of one that holds no word."""
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

    def caption(self, subjects: Sequence[Subject]) -> Sequence[Bilingual | RejectedInput]:
        """One sentence a subject, in both languages."""
        ...


@runtime_checkable
class TextReader(Protocol):
    """Reads the text printed in a picture."""

    def read_text(self, pictures: Sequence[RGB]) -> list[list[Printed]]:
        """The lines of each picture, from top to bottom."""
        ...


@runtime_checkable
class ObjectDetector(Protocol):
    """Finds objects of a fixed label set."""

    def detect(self, pictures: Sequence[RGB]) -> list[list[Detection]]:
        """The objects of each picture, best first."""
        ...


@runtime_checkable
class PhraseDetector(Protocol):
    """Finds in a picture what a phrase names."""

    def locate(self, pictures: Sequence[RGB], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Where each picture shows any of its own phrases, best first; nothing where none is surely there.

        A detection's name is the phrase that it answers.
        """
        ...


@runtime_checkable
class Tagger(Protocol):
    """Reads attributes off one or more photos of a product."""

    def tag(self, products: Sequence[Sequence[Subject]]) -> Sequence[list[Tag] | RejectedInput]:
        """The tags of each product, from all its photos; an attribute that cannot be told is left out."""
        ...


@runtime_checkable
class Pitcher(Protocol):
    """Says what speaks for a product."""

    def pitch(self, briefs: Sequence[Brief]) -> Sequence[list[SellingPoint] | RejectedInput]:
        """The selling points of each product, strongest first."""
        ...


@runtime_checkable
class Answerer(Protocol):
    """Answers questions about a product from its photos and what is known of it."""

    def answer(self, questions: Sequence[Question]) -> Sequence[Answer | RejectedInput]:
        """One answer a question, in its language."""
        ...
