"""What a product is, concluded from what the models say of its photos.

Every photo speaks for categories and product types through three witnesses: ImageNet's classes, the detector's
objects, and the garment head. Photos are averaged, each by how sure it is, so that a photo of a detail neither
has the last word nor drowns the others; their order changes nothing. How often such a conclusion is right was
fitted on labelled photos (``engines.training.understanding_calibration``), and under a floor it is not drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engines.looks.calibration import calibration
from engines.looks.hearing import Heard, Voices, hear, together
from engines.looks.regions import iou
from engines.looks.sights import SURELY, Sight
from engines.protocols import Evidence, Witness
from engines.words.vocabulary import Vocabulary

CATEGORY_FLOOR, TYPE_FLOOR = 0.75, 0.75
"""Under these probabilities of being right a category or a product type is not named."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """The likeliest value, and the features that its probability is calculated from."""

    value: str
    features: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Told:
    """A value with the probability that it is right and what speaks for it."""

    value: str
    confidence: float
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Finding:
    """What a product is; None where that cannot be told. A type is never told without its category."""

    category: Told | None
    product_type: Told | None


def find(words: Vocabulary, sights: Sequence[Sight]) -> Finding:
    """Decide on category and product type from all photos, or abstain from either under its floor."""
    if not sights:
        return Finding(None, None)
    each = [hear(words, sight) for sight in sights]
    heard = together(each)
    category, product_type = candidates(words, heard)
    probable = calibration("category").probability(category.features)
    if probable < CATEGORY_FLOOR:
        return Finding(None, None)
    told = Told(
        category.value,
        probable,
        _evidence(words, sights, category.value, lambda one: each[one].categories[category.value]),
    )
    if product_type is None:
        return Finding(told, None)
    value = product_type.value
    type_probable = calibration("product_type").probability(product_type.features)
    if type_probable < TYPE_FLOOR:
        return Finding(told, None)
    evidence = _evidence(words, sights, value, lambda one: each[one].types[category.value][value])
    # A type is right only where its category is.
    return Finding(told, Told(value, min(probable, type_probable), evidence))


def candidates(words: Vocabulary, heard: Heard) -> tuple[Candidate, Candidate | None]:
    """The likeliest category and, within it, product type, with what their probabilities rest on."""
    category = max(heard.categories, key=lambda key: heard.categories[key].support)
    voices = heard.categories[category]
    chosen = Candidate(category, {"classes": voices.classes, "objects": voices.objects, "worn": heard.worn})
    product_type = _likeliest_type(words, category, heard.types[category])
    if product_type is None:
        return chosen, None
    its = heard.types[category][product_type]
    features = {
        "classes": its.classes,
        "objects": its.objects,
        "garments": its.garments,
        "category": voices.support,
    }
    return chosen, Candidate(product_type, features)


def _likeliest_type(words: Vocabulary, category: str, types: Mapping[str, Voices]) -> str | None:
    """The garment head's where it was asked, unless a narrower one, or one it does not know, is clear."""
    entries = words.categories[category].types
    best = max(types, key=lambda key: types[key].support)
    garments = [key for key in types if entries[key].garment and types[key].garments > 0]
    if garments:
        worn = max(garments, key=lambda key: types[key].garments)
        others = [key for key in types if not entries[key].garment]
        best = max(others, key=lambda key: types[key].support, default=worn)
        fits = worn in entries[best].kind_of or not entries[best].kind_of
        return best if fits and types[best].support >= SURELY else worn
    return best if types[best].support > 0 else None


def _evidence(
    words: Vocabulary, sights: Sequence[Sight], value: str, voices: Callable[[int], Voices]
) -> Evidence:
    """The photo that speaks strongest for a value, where in it, and what was seen there."""
    photo = max(range(len(sights)), key=lambda one: (voices(one).support, voices(one).garments))
    sight, speaks = sights[photo], voices(photo)
    agreeing = [
        item
        for item in sight.objects
        if words.objects.get(item.name) in (value, *_around(words, value))
        and (sight.cutout is None or iou(item.box, sight.cutout) >= 0.5)
    ]
    said = [f"the classifier sees {classes}"] if (classes := _classes(words, sight, value)) else []
    if agreeing:
        said.append(f"the detector sees {agreeing[0].name.lower()} {agreeing[0].confidence:.2f}")
    if speaks.garments > 0 and sight.garments:
        word, p = max(sight.garments.items(), key=lambda item: item[1])
        said.append(f"the garment head sees {word} {p:.2f}")
    told = ", ".join(said) or "the photos together suggest it"
    more = f", clearest of {len(sights)} photos" if len(sights) > 1 else ""
    return Evidence(
        Witness.PHOTO, told + more, photo=photo, box=agreeing[0].box if agreeing else sight.cutout
    )


def _around(words: Vocabulary, value: str) -> tuple[str, ...]:
    """The keys whose objects speak for a value as well: a type's category, and a category's types."""
    if value in words.categories:
        return tuple(words.categories[value].types)
    return (words.category_of(value),)


def _classes(words: Vocabulary, sight: Sight, value: str) -> str:
    """The three most probable classes that testify for a value, with their probabilities."""
    if value in words.categories:
        entry = words.categories[value]
        testifying = {*entry.classes, *(name for item in entry.types.values() for name in item.classes)}
    else:
        testifying = set(words.categories[words.category_of(value)].types[value].classes)
    heard = sorted(
        ((p, name) for name, p in sight.by_class.items() if name in testifying and p >= 0.05), reverse=True
    )
    return ", ".join(f"{name} {p:.2f}" for p, name in heard[:3])
