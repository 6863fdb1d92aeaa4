"""Tags of the shop's vocabulary from classes, objects, the garment and pattern heads, and the cut-out's colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from engines.declaration import Loading, engine
from engines.looks import calibration
from engines.looks.evidence import find
from engines.looks.patterns import WEIGHTS
from engines.looks.sights import MODELS, Models, Sight, sights
from engines.looks.surface import colour_tags, pattern_tags
from engines.protocols import Evidence, ImageEncoder, Subject, Tag, Tagger, Witness
from engines.words.vocabulary import FILE, Vocabulary, vocabulary

ENCODER = "efficientnet_lite2"

_SLEEVES = {"t-shirt": "short", "long-sleeve-top": "long", "sweatshirt": "long", "cardigan": "long"}
"""What the name of a type already says of its sleeves."""


@engine(
    "imagenet_vocabulary",
    capability=Tagger,
    needs=MODELS,
    data=(FILE, calibration.FILE, WEIGHTS),
    licence="Apache-2.0",
    batch=16,
    memory_mb=50,
)
class ImageNetTagger:
    """Category, product type, colours and pattern, told from the pixels alone: the merchant's words are not used.

    Photos of one product are heard together, each by how sure it is.
    """

    version: ClassVar[int] = 5

    def __init__(self, loading: Loading) -> None:
        self._models = Models.of(loading)
        self._encoder: ImageEncoder = loading.engine(ENCODER)
        self._vocabulary = vocabulary()

    def warm_up(self) -> None:
        self.tag([[Subject(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32))]])

    def tag(self, products: Sequence[Sequence[Subject]]) -> list[list[Tag]]:
        photos = [subject for subjects in products for subject in subjects]
        seen = iter(sights(self._vocabulary, self._models, photos))
        return [
            _tags(self._vocabulary, self._encoder, subjects, [next(seen) for _ in subjects])
            for subjects in products
        ]


def _tags(
    words: Vocabulary, encoder: ImageEncoder, subjects: Sequence[Subject], seen: Sequence[Sight]
) -> list[Tag]:
    finding = find(words, seen)
    told = {"category": finding.category, "product_type": finding.product_type}
    tags = [
        Tag(attribute, one.value, one.confidence, (one.evidence,))
        for attribute, one in told.items()
        if one is not None
    ]
    category = finding.category.value if finding.category else None
    product_type = finding.product_type.value if finding.product_type else None
    if words.applies("colour", category, product_type):
        tags += colour_tags(subjects)
    # Of a product that pixels cannot place, the merchant's words may still say that patterns apply.
    if category is None or words.applies("pattern", category, product_type):
        tags += pattern_tags(encoder, subjects)
    if finding.product_type is not None:
        tags += _sleeves(words, finding.product_type.value, finding.product_type.confidence)
    return tags


def _sleeves(words: Vocabulary, product_type: str, confidence: float) -> list[Tag]:
    length = _SLEEVES.get(product_type)
    if length is None or "sleeve_length" not in words.attributes:
        return []
    if length not in words.values("sleeve_length"):
        return []
    said = f"{words.values('product_type')[product_type].en} says so"
    return [Tag("sleeve_length", length, confidence, (Evidence(Witness.ATTRIBUTES, said),))]
