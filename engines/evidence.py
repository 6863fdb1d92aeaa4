"""What classifiers say of a product: seen close up, and cut out on plain grey, heard with equal weight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engines.cutouts import shows_subject
from engines.protocols import RGB, Classifier, GarmentClassifier, Subject
from engines.vocabulary import Vocabulary

_MARGIN = 0.1
"""Around the cut-out's box, as a share of its sides: a classifier wants a little surrounding."""


_PLAIN = 200
"""The grey behind a cut-out, on every channel."""

CATEGORY_FLOOR, TYPE_FLOOR = 0.35, 0.4
"""Under these a category or a product type is not named.

With EfficientNet-Lite2, of 66 catalog products 47 of 48 named categories and 32 of 34 types were right at
these floors, of 140 phone photos of clothes 121 of 124 and 41 of 48.
"""

GARMENT_FLOOR = 0.7
"""Under this the garment head names no type.

Over the folds of its training part it names a type on 86% of the photographs, and 94.7% of these are right.
"""

_WORN_FLOOR = 0.2
"""Under this a category worn is too faint a suspicion to ask the garment head, which always names one."""

_WORN = ("clothing", "footwear")


@dataclass(frozen=True, slots=True)
class Finding:
    """The best-supported category and, within it, product type; None where it stays under the floor.

    ``evidence`` names the classes that speak for it, most probable first; ``garment`` the garment head's word
    where the type rests on it. ``worn`` says that the garment head may be asked.
    """

    category: str | None
    category_confidence: float
    product_type: str | None
    type_confidence: float
    evidence: str
    worn: bool
    garment: str = ""


def views(subject: Subject) -> list[RGB]:
    """The pictures to classify: the product close up, and the same cut out on grey.

    Where the cut-out shows no subject, the whole photo alone; it is not heard otherwise, since a photo in
    which the product is small says more of the surroundings.
    """
    if not shows_subject(subject.alpha):
        return [subject.picture]
    inside = subject.alpha > 0.5
    height, width = inside.shape
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    down, across = round(_MARGIN * (bottom - top)), round(_MARGIN * (right - left))
    box = np.s_[
        max(0, top - down) : min(height, bottom + down), max(0, left - across) : min(width, right + across)
    ]
    close, alpha = subject.picture[box], subject.alpha[box][..., np.newaxis]
    return [close, (close * alpha + _PLAIN * (1 - alpha)).astype(np.uint8)]


def probabilities(classifier: Classifier, subjects: Sequence[Subject]) -> list[dict[str, float]]:
    """For each subject the mean over its views of every class's probability, by class name."""
    seen = [views(subject) for subject in subjects]
    labels = iter(classifier.classify([view for several in seen for view in several]))
    return [
        mean([{label.name: label.confidence for label in next(labels)} for _ in several]) for several in seen
    ]


def mean(several: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of distributions given by name; a name missing from one counts zero there."""
    names: Iterable[str] = dict.fromkeys(name for one in several for name in one)
    return {name: sum(one.get(name, 0.0) for one in several) / len(several) for name in names}


def findings(
    vocabulary: Vocabulary,
    classifier: Classifier,
    garments: GarmentClassifier,
    products: Sequence[Sequence[Subject]],
) -> list[Finding]:
    """What each product is, its photos heard together; the garment head is asked only of what is worn."""
    heard = iter(probabilities(classifier, [subject for subjects in products for subject in subjects]))
    found = [find(vocabulary, mean([next(heard) for _ in subjects])) for subjects in products]
    asked = [subjects for finding, subjects in zip(found, products, strict=True) if finding.worn]
    kinds = iter(garments.classify_garments([subject for subjects in asked for subject in subjects]))
    told = iter(
        [
            mean([{label.name: label.confidence for label in next(kinds)} for _ in subjects])
            for subjects in asked
        ]
    )
    return [refine(vocabulary, one, next(told)) if one.worn else one for one in found]


def find(vocabulary: Vocabulary, by_class: Mapping[str, float]) -> Finding:
    """Decide on category and product type, or abstain from either under its floor."""
    weighed = vocabulary.weigh(by_class)
    category, confidence = max(weighed.categories.items(), key=lambda item: item[1])
    product_type, type_confidence = max(weighed.types[category].items(), key=lambda item: item[1])
    entry = vocabulary.categories[category]
    testifying = {*entry.classes, *(name for item in entry.types.values() for name in item.classes)}
    heard = sorted(
        ((p, name) for name, p in by_class.items() if name in testifying and p >= 0.05), reverse=True
    )
    strongest = entry.types[product_type]
    known = bool(strongest.garment or strongest.kind_of)
    # Among clothes the head may know better; socks that are surely socks it does not know.
    askable = known or (category in _WORN and type_confidence < TYPE_FLOOR)
    return Finding(
        category=category if confidence >= CATEGORY_FLOOR else None,
        category_confidence=min(1.0, confidence),
        product_type=product_type if type_confidence >= TYPE_FLOOR else None,
        type_confidence=min(1.0, type_confidence),
        evidence=", ".join(f"{name} {p:.2f}" for p, name in heard[:3]),
        worn=askable and confidence >= _WORN_FLOOR,
    )


def refine(vocabulary: Vocabulary, finding: Finding, by_garment: Mapping[str, float]) -> Finding:
    """The finding with the garment head's type where it is sure, unless the finding's own is a narrower one."""
    word, confidence = max(by_garment.items(), key=lambda item: item[1])
    if confidence < GARMENT_FLOOR:
        return finding
    category, product_type = vocabulary.garment(word)
    if finding.category == category and finding.product_type is not None:
        own = vocabulary.categories[category].types[finding.product_type]
        if product_type in own.kind_of:
            return finding
    return replace(
        finding,
        category=category,
        product_type=product_type,
        type_confidence=min(1.0, confidence),
        garment=f"{word} {confidence:.2f}",
    )
