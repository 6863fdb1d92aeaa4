"""Tags of the shop's vocabulary from ImageNet classes, detected objects, the garment head, and the cut-out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from engines import calibration
from engines.colours import mean_palette, palette
from engines.declaration import Loading, engine
from engines.evidence import find
from engines.protocols import Evidence, Subject, Tag, Tagger, Witness
from engines.sights import MODELS, Models, Sight, sights
from engines.vocabulary import FILE, Vocabulary, vocabulary

_LEAST_SHARE = 0.15
"""The least share of the product's surface that makes a colour a tag."""

_SLEEVES = {"t-shirt": "short", "long-sleeve-top": "long", "sweatshirt": "long", "cardigan": "long"}
"""What the name of a type already says of its sleeves."""


@engine(
    "imagenet_vocabulary",
    capability=Tagger,
    needs=MODELS,
    data=(FILE, calibration.FILE),
    licence="Apache-2.0",
    batch=16,
    memory_mb=50,
)
class ImageNetTagger:
    """Category, product type and colours, told from the pixels alone: the merchant's words are not used.

    Photos of one product are heard together, each by how sure it is.
    """

    version: ClassVar[int] = 3

    def __init__(self, loading: Loading) -> None:
        self._models = Models.of(loading)
        self._vocabulary = vocabulary()

    def warm_up(self) -> None:
        self.tag([[Subject(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32))]])

    def tag(self, products: Sequence[Sequence[Subject]]) -> list[list[Tag]]:
        photos = [subject for subjects in products for subject in subjects]
        seen = iter(sights(self._vocabulary, self._models, photos))
        return [_tags(self._vocabulary, subjects, [next(seen) for _ in subjects]) for subjects in products]


def _tags(words: Vocabulary, subjects: Sequence[Subject], seen: Sequence[Sight]) -> list[Tag]:
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
        tags += _colours(subjects, seen)
    if finding.product_type is not None:
        tags += _sleeves(words, finding.product_type.value, finding.product_type.confidence)
    return tags


def _colours(subjects: Sequence[Subject], seen: Sequence[Sight]) -> list[Tag]:
    palettes = [palette(subject) for subject in subjects]
    tags = []
    for colour in mean_palette(palettes):
        if colour.share < _LEAST_SHARE:
            continue
        shares = [sum(one.share for one in several if one.name == colour.name) for several in palettes]
        photo = max(range(len(shares)), key=lambda index: shares[index])
        said = f"{shares[photo]:.0%} of the cut-out's pixels"
        evidence = Evidence(Witness.PHOTO, said, photo=photo, box=seen[photo].cutout)
        tags.append(Tag("colour", colour.name, min(1.0, colour.share), (evidence,)))
    return tags


def _sleeves(words: Vocabulary, product_type: str, confidence: float) -> list[Tag]:
    length = _SLEEVES.get(product_type)
    if length is None or "sleeve_length" not in words.attributes:
        return []
    if length not in words.values("sleeve_length"):
        return []
    said = f"{words.values('product_type')[product_type].en} says so"
    return [Tag("sleeve_length", length, confidence, (Evidence(Witness.ATTRIBUTES, said),))]
