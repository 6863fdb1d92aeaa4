"""Tags of the shop's vocabulary from ImageNet classes, the garment head, and the colours of the cut-out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from engines.colours import mean_palette, palette
from engines.declaration import Loading, engine
from engines.evidence import Finding, findings
from engines.protocols import Classifier, Evidence, GarmentClassifier, Subject, Tag, Tagger, Witness
from engines.vocabulary import FILE, Vocabulary, vocabulary

_CLASSIFIER, _GARMENTS = "efficientnet_lite2", "garment_head"

_LEAST_SHARE = 0.15
"""The least share of the product's surface that makes a colour a tag."""


@engine(
    "imagenet_vocabulary",
    capability=Tagger,
    needs=(_CLASSIFIER, _GARMENTS),
    data=(FILE,),
    licence="Apache-2.0",
    batch=16,
    memory_mb=50,
)
class ImageNetTagger:
    """Category, product type and colours, told from the pixels alone: the merchant's words are not used.

    Photos of one product are heard together: probabilities and shares are averaged over them.
    """

    version: ClassVar[int] = 2

    def __init__(self, loading: Loading) -> None:
        self._classifier: Classifier = loading.engine(_CLASSIFIER)
        self._garments: GarmentClassifier = loading.engine(_GARMENTS)
        self._vocabulary = vocabulary()

    def warm_up(self) -> None:
        self.tag([[Subject(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32))]])

    def tag(self, products: Sequence[Sequence[Subject]]) -> list[list[Tag]]:
        found = findings(self._vocabulary, self._classifier, self._garments, products)
        return [
            _tags(self._vocabulary, subjects, finding)
            for subjects, finding in zip(products, found, strict=True)
        ]


def _tags(words: Vocabulary, subjects: Sequence[Subject], finding: Finding) -> list[Tag]:
    if not subjects:
        return []
    photos = f"{len(subjects)} photo{'s' if len(subjects) > 1 else ''}"
    tags = []
    if finding.category is not None:
        reason = f"the classifier sees {finding.evidence} in {photos}"
        tags.append(_seen("category", finding.category, finding.category_confidence, reason))
        if finding.product_type is not None:
            if finding.garment:
                reason = f"the garment head sees {finding.garment} in {photos}"
            tags.append(_seen("product_type", finding.product_type, finding.type_confidence, reason))
    if words.applies("colour", finding.category):
        for colour in mean_palette([palette(subject) for subject in subjects]):
            if colour.share >= _LEAST_SHARE:
                reason = f"{colour.share:.0%} of the cut-out's pixels in {photos}"
                tags.append(_seen("colour", colour.name, min(1.0, colour.share), reason))
    return tags


def _seen(attribute: str, value: str, confidence: float, words: str) -> Tag:
    return Tag(attribute, value, confidence, (Evidence(Witness.PHOTO, words, photo=0),))
