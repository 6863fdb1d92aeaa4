"""What the embedded models say of single photos, before anything is concluded from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from engines.declaration import Loading
from engines.looks.cutouts import cropped, cutout_bounds, on_grey
from engines.looks.regions import Bounds, as_shares, widened
from engines.protocols import RGB, Box, Classifier, Detection, GarmentClassifier, ObjectDetector, Subject
from engines.words.vocabulary import Vocabulary, Weighed

MODELS = ("efficientnet_lite2", "oid_ssd", "garment_head")
"""The engines asked; an adapter that looks through them names them as its needs."""

_MARGIN = 0.1
"""Around the cut-out's box, as a share of its sides: a classifier wants a little surrounding."""

_LEAST_WORN = 0.15
"""Under this something worn is too faint a suspicion to ask the garment head, which always names a kind."""

SURELY = 0.4
"""From this mass on, a type of clothes that the garment head does not know is believed to be just that."""

_WORN = ("clothing", "footwear")


@dataclass(frozen=True, slots=True)
class Models:
    """The three that look at a photo."""

    classifier: Classifier
    detector: ObjectDetector
    garments: GarmentClassifier

    @classmethod
    def of(cls, loading: Loading) -> Self:
        return cls(*(loading.engine(name) for name in MODELS))


@dataclass(frozen=True, slots=True)
class Sight:
    """One photo as the models see it.

    ``by_class`` is the mean over its views of every ImageNet class's probability. ``objects`` are the
    detector's, their boxes shares of the whole photo; ``cutout`` is the cut-out's box, None where it shows
    nothing. ``garments`` are the garment head's probabilities, empty where it was not asked; ``worn`` is the
    mass of the classes it was asked about.
    """

    by_class: Mapping[str, float]
    objects: tuple[Detection, ...] = ()
    cutout: Box | None = None
    garments: Mapping[str, float] | None = None
    worn: float = 0.0


def views(subject: Subject) -> list[RGB]:
    """The pictures to classify: the product close up, and the same cut out on grey.

    Where the cut-out shows no subject, the whole photo alone; it is not heard otherwise, since a photo in
    which the product is small says more of the surroundings.
    """
    return _views(subject, cutout_bounds(subject))


def _views(subject: Subject, bounds: Bounds | None) -> list[RGB]:
    if bounds is None:
        return [subject.picture]
    close, alpha = cropped(subject, widened(bounds, _MARGIN, subject.alpha.shape))
    return [close, on_grey(close, alpha)]


def sights(words: Vocabulary, models: Models, subjects: Sequence[Subject]) -> list[Sight]:
    """What each photo shows; the garment head is asked only about what looks worn."""
    cutouts = [cutout_bounds(subject) for subject in subjects]
    seen = [_views(subject, bounds) for subject, bounds in zip(subjects, cutouts, strict=True)]
    labels = iter(models.classifier.classify([view for several in seen for view in several]))
    by_class = [
        mean([{label.name: label.confidence for label in next(labels)} for _ in several]) for several in seen
    ]
    # Close up the detector is surer, and sees what lies about the product but not what it lies on.
    found = models.detector.detect([several[0] for several in seen])
    worn = [worn_mass(words, one) for one in by_class]
    asked = [subject for subject, mass in zip(subjects, worn, strict=True) if mass]
    kinds = iter(models.garments.classify_garments(asked))
    return [
        Sight(
            by_class=one,
            objects=tuple(_placed(subject, bounds, item) for item in objects),
            cutout=as_shares(bounds, subject.alpha.shape) if bounds else None,
            garments={label.name: label.confidence for label in next(kinds)} if mass else None,
            worn=mass,
        )
        for subject, bounds, one, objects, mass in zip(subjects, cutouts, by_class, found, worn, strict=True)
    ]


def worn_mass(words: Vocabulary, by_class: Mapping[str, float]) -> float:
    """The mass of all that the garment head may know better; 0 where it should not be asked.

    Socks that are surely socks it does not know, and it has no say where something else is likelier.
    """
    weighed = words.weigh(by_class)
    parts = {category: heard_of_garments(words, weighed, category) for category in words.categories}
    mass = math.fsum(parts.values())
    other = max(weighed.categories[category] - part for category, part in parts.items())
    return mass if mass >= max(_LEAST_WORN, other) else 0.0


def heard_of_garments(words: Vocabulary, weighed: Weighed, category: str) -> float:
    """The part of a category's mass that the garment head may share out anew."""
    types, masses = words.categories[category].types, weighed.types[category]
    if category not in _WORN:
        return math.fsum(mass for key, mass in masses.items() if types[key].garment)
    unknown = (
        mass
        for key, mass in masses.items()
        if mass >= SURELY and not (types[key].garment or types[key].kind_of)
    )
    return weighed.categories[category] - math.fsum(unknown)


def mean(several: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of distributions given by name; a name missing from one counts zero there."""
    names: Iterable[str] = dict.fromkeys(name for one in several for name in one)
    return {name: sum(one.get(name, 0.0) for one in several) / len(several) for name in names}


def _placed(subject: Subject, bounds: Bounds | None, item: Detection) -> Detection:
    """An object of the close-up, its box as shares of the whole photo."""
    if bounds is None:
        return item
    shape = subject.alpha.shape
    close = as_shares(widened(bounds, _MARGIN, shape), shape)
    left, top, wide, high = close[0], close[1], close[2] - close[0], close[3] - close[1]
    box = item.box
    placed = left + box[0] * wide, top + box[1] * high, left + box[2] * wide, top + box[3] * high
    return replace(item, box=placed)
