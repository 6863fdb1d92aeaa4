"""What a classifier says of a product: seen close up, and cut out on plain grey, heard with equal weight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engines.cutouts import shows_subject
from engines.protocols import RGB, Classifier, Subject
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


@dataclass(frozen=True, slots=True)
class Finding:
    """The best-supported category and, within it, product type; None where it stays under the floor.

    ``evidence`` names the classes that speak for it, most probable first.
    """

    category: str | None
    category_confidence: float
    product_type: str | None
    type_confidence: float
    evidence: str


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
    return Finding(
        category=category if confidence >= CATEGORY_FLOOR else None,
        category_confidence=min(1.0, confidence),
        product_type=product_type if type_confidence >= TYPE_FLOOR else None,
        type_confidence=min(1.0, type_confidence),
        evidence=", ".join(f"{name} {p:.2f}" for p, name in heard[:3]),
    )
