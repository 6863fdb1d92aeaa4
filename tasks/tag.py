"""Read a product's attributes off all its photos, each with its confidence and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engines.protocols import Evidence, Printed, Subject, Tag, Tagger, Witness
from engines.words.trust import Flag, Reviewed, reason, review
from engines.words.vocabulary import vocabulary
from pipeline.errors import RejectedInput, VitrineError
from pipeline.events import ImageRef, Product
from pipeline.graph import Scope
from pipeline.outcomes import Outcome, Value
from tasks._runtime import Runtime, catalog_facts
from tasks._stage import Item, stage
from tasks.caption import subject
from tasks.cutout import CutOut
from tasks.photo import Photo
from tasks.read_text import ReadText
from tasks.screen import Screened


class EvidenceValue(Value):
    """What a tag rests on. ``photo`` is the digest of the photo's blob, ``box`` left, top, right, bottom and
    ``outline`` a closed polygon of x, y as shares of that photo's width and height."""

    witness: Witness
    words: str
    photo: str | None = None
    box: tuple[float, float, float, float] | None = None
    outline: tuple[tuple[float, float], ...] = ()


class Words(Value):
    """One text in both languages."""

    en: str
    zh: str


class TagValue(Value):
    """One attribute's value in both languages; ``reason`` is given for a style or a scene, and ``because`` are
    the attributes and values that it rests on."""

    attribute: str
    value: str
    name: Words
    en: str
    zh: str
    confidence: float
    evidence: tuple[EvidenceValue, ...]
    reason: Words | None
    because: tuple[tuple[str, str], ...] = ()


class FlagValue(Value):
    """The merchant says ``catalog`` of an attribute and the photos say ``seen``: for a person to look at."""

    attribute: str
    name: Words
    catalog: Words
    seen: Words
    confidence: float
    evidence: tuple[EvidenceValue, ...]


class Tagged(Outcome):
    """What could be told of a product; an attribute that could not is not in it."""

    tags: tuple[TagValue, ...]
    keywords: tuple[Words, ...]
    flags: tuple[FlagValue, ...]
    dropped: tuple[str, ...]

    def held(self) -> tuple[Tag, ...]:
        """The tags as engines take them, without where in which photo they were seen."""
        return tuple(
            Tag(
                tag.attribute,
                tag.value,
                tag.confidence,
                tuple(Evidence(item.witness, item.words) for item in tag.evidence),
                tag.because,
            )
            for tag in self.tags
        )


def _present(outcome: Tagged) -> Mapping[str, Any]:
    shown = outcome.model_dump(mode="json")
    return {name: shown[name] for name in ("tags", "keywords", "flags")}


def read_facts(product: Product, _: ImageRef | None) -> Any:
    """The merchant's facts, for the fingerprint of a stage that reads them all."""
    return [
        product.title,
        product.description,
        product.category,
        product.brand,
        product.tags,
        product.locale,
    ]


@stage(
    version=3,
    scope=Scope.PRODUCT,
    produces=Tagged,
    needs=(Photo, Screened),
    uses=(CutOut, ReadText),
    reads=read_facts,
    role="tagger",
    presents=_present,
)
def tag(items: Sequence[Item], run: Runtime) -> list[Outcome | VitrineError]:
    """Tag the products of a batch together, each from all its photos, and hold the answers to the rules."""
    tagger: Tagger = run.engine("tagger")
    photos = [photos_of(item) for item in items]
    answers = tagger.tag([subjects_of(run, item) for item in items])
    return [
        tags
        if isinstance(tags, RejectedInput)
        else outcome_of(
            review(vocabulary(), tags, catalog_facts(item.product)),
            [photo.image.digest for photo, *_ in several],
        )
        for item, several, tags in zip(items, photos, answers, strict=True)
    ]


def subjects_of(run: Runtime, item: Item) -> list[Subject]:
    """The product's photos as engines take them."""
    return [subject(run, item.product, photo, cut, printed) for photo, cut, printed in photos_of(item)]


def photos_of(item: Item) -> list[tuple[Photo, CutOut | None, tuple[Printed, ...]]]:
    """The product's photos that may be shown, in their order, each with its cut-out and the text read in it."""
    photos, cuts = dict(item.all(Photo)), dict(item.all(CutOut))
    printed = {target: read.printed() for target, read in item.all(ReadText)}
    return [
        (photos[target], cuts.get(target), printed.get(target, ()))
        for target, _ in item.all(Screened)
        if target in photos
    ]


def outcome_of(reviewed: Reviewed, photos: Sequence[str]) -> Tagged:
    """What holds, as it is kept; ``photos`` are the digests of the product's photos."""
    return Tagged(
        tags=tuple(_tag(tag, photos) for tag in reviewed.tags),
        keywords=tuple(Words(en=word.en, zh=word.zh) for word in reviewed.keywords),
        flags=tuple(_flag(flag, photos) for flag in reviewed.flags),
        dropped=reviewed.dropped,
    )


def _tag(tag: Tag, photos: Sequence[str]) -> TagValue:
    words = vocabulary()
    value = words.values(tag.attribute)[tag.value]
    why = reason(words, tag)
    return TagValue(
        attribute=tag.attribute,
        value=tag.value,
        name=_name(tag.attribute),
        en=value.en,
        zh=value.zh,
        confidence=round(tag.confidence, 4),
        evidence=_evidence(tag.evidence, photos),
        reason=Words(en=why.en, zh=why.zh) if why else None,
        because=tag.because,
    )


def _flag(flag: Flag, photos: Sequence[str]) -> FlagValue:
    values = vocabulary().values(flag.attribute)
    catalog, seen = values[flag.catalog], values[flag.seen]
    return FlagValue(
        attribute=flag.attribute,
        name=_name(flag.attribute),
        catalog=Words(en=catalog.en, zh=catalog.zh),
        seen=Words(en=seen.en, zh=seen.zh),
        confidence=round(flag.confidence, 4),
        evidence=_evidence(flag.evidence, photos),
    )


def _name(attribute: str) -> Words:
    term = vocabulary().attributes[attribute]
    return Words(en=term.en, zh=term.zh)


def _evidence(evidence: Sequence[Evidence], photos: Sequence[str]) -> tuple[EvidenceValue, ...]:
    return tuple(
        EvidenceValue(
            witness=item.witness,
            words=item.words,
            photo=None if item.photo is None else photos[item.photo],
            box=None if item.box is None else _rounded(item.box),
            outline=tuple((round(x, 4), round(y, 4)) for x, y in item.outline),
        )
        for item in evidence
    )


def _rounded(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (round(side, 4) for side in box)
    return left, top, right, bottom
