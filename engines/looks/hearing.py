"""How strongly photos speak for categories and product types, and how several photos are heard together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engines.looks.regions import area, iou
from engines.looks.sights import Sight, heard_of_garments
from engines.protocols import Box, Detection
from engines.words.vocabulary import Vocabulary

_OBJECTS = 0.7
"""What the detector's score weighs beside the classes' probability, chosen on the calibration's photos."""

_FAINT = 0.05
"""The weight of a photo that shows nothing known, beside which a sure one has about 1."""


@dataclass(frozen=True, slots=True)
class Voices:
    """How strongly each witness speaks for one thing, in [0, 1]."""

    classes: float = 0.0
    objects: float = 0.0
    garments: float = 0.0

    @property
    def support(self) -> float:
        return self.classes + _OBJECTS * self.objects


@dataclass(frozen=True, slots=True)
class Heard:
    """What one photo, or all photos of a product, say of every category and of every type by category.

    ``worn`` is 1 where the garment head was asked, between 0 and 1 where of some photos only.
    """

    categories: Mapping[str, Voices]
    types: Mapping[str, Mapping[str, Voices]]
    worn: float


def hear(words: Vocabulary, sight: Sight) -> Heard:
    """What one photo says. The mass of what is worn is shared out anew as the garment head says."""
    weighed = words.weigh(sight.by_class)
    masses = dict(weighed.categories)
    by_garment = {words.garment(word): p for word, p in (sight.garments or {}).items()}
    if by_garment:
        for category in masses:
            masses[category] -= heard_of_garments(words, weighed, category)
        for (category, _), p in sorted(by_garment.items()):
            masses[category] += sight.worn * p
    objects = _objects(words, sight)
    types = {
        category: {
            key: Voices(
                classes=min(1.0, weighed.types[category][key]),
                objects=objects.get(key, 0.0),
                garments=max(
                    (by_garment.get((category, name), 0.0) for name in (key, *item.kind_of)), default=0.0
                ),
            )
            for key, item in entry.types.items()
        }
        for category, entry in words.categories.items()
    }
    categories = {
        category: Voices(
            classes=min(1.0, max(0.0, mass)),
            objects=max([objects.get(category, 0.0), *(one.objects for one in types[category].values())]),
            garments=math.fsum(p for (its, _), p in sorted(by_garment.items()) if its == category),
        )
        for category, mass in masses.items()
    }
    return Heard(categories, types, 1.0 if by_garment else 0.0)


def together(each: Sequence[Heard]) -> Heard:
    """The photos' mean, each weighed by its strongest support; sums are exact, so order changes nothing."""
    if len(each) == 1:
        return each[0]
    weights = [max(_FAINT, *(one.support for one in heard.categories.values())) for heard in each]
    return Heard(
        {key: _mean([one.categories[key] for one in each], weights) for key in each[0].categories},
        {
            category: {key: _mean([one.types[category][key] for one in each], weights) for key in types}
            for category, types in each[0].types.items()
        },
        _weighted([one.worn for one in each], weights),
    )


def _mean(several: Sequence[Voices], weights: Sequence[float]) -> Voices:
    return Voices(
        _weighted([one.classes for one in several], weights),
        _weighted([one.objects for one in several], weights),
        _weighted([one.garments for one in several], weights),
    )


def _weighted(values: Sequence[float], weights: Sequence[float]) -> float:
    return math.fsum(w * v for w, v in zip(weights, values, strict=True)) / math.fsum(weights)


def _objects(words: Vocabulary, sight: Sight) -> dict[str, float]:
    """For each category or type that the detector's labels mean: its score, by how much the box is the
    cut-out's. What stands beside the product, or under it, does not speak for it."""
    by_key: dict[str, list[Detection]] = {}
    for item in sight.objects:
        if key := words.objects.get(item.name):
            by_key.setdefault(key, []).append(item)
    return {
        key: max(item.confidence for item in items) * _overlap([item.box for item in items], sight.cutout)
        for key, items in by_key.items()
    }


def _overlap(boxes: Sequence[Box], cutout: Box | None) -> float:
    """The best intersection over union with the cut-out's box, of one box or of all together (a pair)."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    hull = min(lefts), min(tops), max(rights), max(bottoms)
    if cutout is None:
        # The product then fills no known place: the larger an object, the likelier it is meant.
        return math.sqrt(area(hull))
    return max(iou(box, cutout) for box in (*boxes, hull))
