"""What merchants corrected, as pairs of "see this → say this" for a model that follows instructions.

A merchant's word is put in the place of a model's: it is asked through the very functions that ask a model, and
read by those that read a reply. So a pair's question is what will be asked, and its answer is one that would be
accepted; a correction that would not be is skipped with the reader's reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from engines.dialogue.instructed import READS, Instructed
from engines.dialogue.prompts import (
    AttributesForm,
    CaptionForm,
    CategoryForm,
    Instruction,
    PitchForm,
    Point,
    Reason,
    Share,
    Told,
)
from engines.dialogue.replies import Malformed
from engines.evaluation.labels import held_out
from engines.protocols import RGB, Brief, CatalogFacts, Printed, Subject, Tag
from engines.words.text import one_line
from engines.words.vocabulary import vocabulary
from pipeline.errors import RejectedInput
from pipeline.keys import digest

_LONGEST = 2_000
"""Characters of a text that are looked at; what may be said is far shorter."""

_UNSEEN: RGB = np.zeros((0, 0, 3), np.uint8)
"""Stands for a photo while its question is written, which does not depend on what the photo shows."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """A product's photo by its id there: the SHA-256 of its file, the text read in it, and how to read it."""

    id: str
    digest: str
    printed: tuple[Printed, ...]
    read: Callable[[], RGB] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Corrected:
    """A product with corrections: what the shop knows of it, and ``words``, the merchant's by field.

    ``tags`` are the (attribute, value) that the shop shows, ``photos`` those that may be shown, in order.
    """

    name: str
    facts: CatalogFacts
    tags: tuple[tuple[str, str], ...]
    photos: tuple[Photograph, ...]
    words: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """A question about photos, and the answer in the form that it asks for, as JSON."""

    instruction: Instruction
    photos: tuple[Photograph, ...]
    answer: str

    @property
    def kind(self) -> str:
        """What is asked for: a caption, a category, attributes or a pitch."""
        return self.instruction.form.__name__.removesuffix("Form").lower()

    @property
    def digest(self) -> str:
        """SHA-256 of all that shapes it, in hex: the same pair has the same one wherever it comes from."""
        asked = [self.instruction.system, self.instruction.text]
        return digest([*asked, [photo.digest for photo in self.photos], self.answer]).hex()

    @property
    def held_out(self) -> bool:
        """Whether it is never trained on, by the rule that holds for every data set here."""
        return held_out(self.digest)

    def shown(self) -> Instruction:
        """The instruction with its photos, which are read now."""
        return replace(self.instruction, pictures=tuple(photo.read() for photo in self.photos))


@dataclass(frozen=True, slots=True)
class Skipped:
    """A correction that teaches nothing, and why not."""

    product: str
    field: str
    reason: str


def pairs_of(products: Iterable[Corrected], photos: int) -> tuple[list[Pair], list[Skipped]]:
    """Every pair once, in the order of their digests, and what was skipped.

    ``photos`` is how many of a product's photos the model is shown at most.
    """
    pairs: dict[str, Pair] = {}
    skipped: list[Skipped] = []
    for product in products:
        for name, value in sorted(product.words.items()):
            try:
                taught = _taught(product, name, value, photos)
            except RejectedInput as error:
                skipped.append(Skipped(product.name, name, str(error.args[0])))
                continue
            pairs |= {pair.digest: pair for pair in taught}
    return [pairs[key] for key in sorted(pairs)], skipped


class _Merchant(Instructed):
    """Answers whatever is asked as the merchant did, and keeps what was asked with the answer."""

    def __init__(self, photos: int, *answers: BaseModel) -> None:
        super().__init__("merchant", photos)
        self._answers = {type(answer): answer.model_dump_json() for answer in answers}
        self.asked: list[tuple[Instruction, str]] = []

    def generate(self, instructions: Sequence[Instruction]) -> list[str]:
        replies = [self._answers[one.form] for one in instructions]
        self.asked += zip(instructions, replies, strict=True)
        return replies

    def _refused(self, problem: Malformed) -> RejectedInput:
        return RejectedInput("wrong-form", str(problem))


def _taught(product: Corrected, name: str, value: Any, photos: int) -> list[Pair]:
    """The pairs of one correction. Raises RejectedInput where it teaches nothing."""
    what, _, image = name.partition("/")
    if what not in ("caption", "tags", "selling_points"):
        raise RejectedInput("not-taught", "no instruction asks for this field")
    seen = [photo for photo in product.photos if not image or photo.id == image]
    if not seen:
        raise RejectedInput("no-photo", "its photo may not be shown, or is no longer in the asset store")
    if what == "caption":
        merchant = _caption(seen, value)
    elif what == "tags":
        merchant = _tags(product, seen, value, photos)
    else:
        merchant = _points(product, seen, value, photos)
    return [
        Pair(replace(asked, pictures=()), tuple(seen[: len(asked.pictures)]), answer)
        for asked, answer in merchant.asked
    ]


def _caption(seen: Sequence[Photograph], value: Any) -> _Merchant:
    said = _form(CaptionForm, value)
    merchant = _Merchant(1, CaptionForm(en=_line(said.en), zh=_line(said.zh)))
    _accepted(merchant.caption(_subjects(seen, CatalogFacts())))
    return merchant


class _Tag(BaseModel):
    """A tag as the shop shows it; a merchant may leave out what only a model has to say.

    Its evidence is not taken over: it is in the words of the engine that found it ("82% of the pixels"), which no
    model that looks at a photo should learn to say.
    """

    attribute: str
    value: str
    confidence: Share = 1.0
    because: tuple[tuple[str, str], ...] = ()


def _tags(product: Corrected, seen: Sequence[Photograph], value: Any, photos: int) -> _Merchant:
    said = _form(tuple[_Tag, ...], value)
    words = vocabulary()
    named = {tag.attribute: tag.value for tag in said}
    category, kind = named.get("category"), named.get("product_type")
    if category is None:
        raise RejectedInput("no-category", "no tag says the category, without which nothing else is asked")
    for tag in said:
        if tag.attribute not in words.attributes or tag.value not in words.values(tag.attribute):
            raise RejectedInput("unknown-value", f"{_quoted(tag)} is not in the vocabulary")
        if tag.attribute != "category" and not words.applies(tag.attribute, category, kind):
            raise RejectedInput("not-applicable", f"{_quoted(tag)} does not apply to {kind or category}")
    # No photo can tell them, so no model is asked for them, nor learns to say what rests on them.
    unasked = {key for key, attribute in words.attributes.items() if attribute.from_words}
    told = [
        Told(
            attribute=tag.attribute,
            value=tag.value,
            confidence=tag.confidence,
            evidence=words.values(tag.attribute)[tag.value].en,
            because=tuple(Reason(attribute=attribute, value=value) for attribute, value in tag.because),
        )
        for tag in said
        if not unasked & {tag.attribute, *(attribute for attribute, _ in tag.because)}
    ]
    first = next(one for one in told if one.attribute == "category")
    asked = CategoryForm(category=first.value, confidence=first.confidence, evidence=first.evidence)
    others = tuple(one for one in told if one.attribute != "category")
    merchant = _Merchant(photos, asked, AttributesForm(attributes=others))
    _accepted(merchant.tag([_subjects(seen, product.facts.only(READS))]))
    return merchant


class _Rest(BaseModel):
    attribute: str
    value: str


class _Point(BaseModel):
    en: str
    zh: str
    rests_on: tuple[_Rest, ...] = Field(min_length=1)


def _points(product: Corrected, seen: Sequence[Photograph], value: Any, photos: int) -> _Merchant:
    points = tuple(
        Point(
            en=_line(one.en),
            zh=_line(one.zh),
            rests_on=tuple(f"{rest.attribute}={rest.value}" for rest in one.rests_on),
        )
        for one in _form(tuple[_Point, ...], value)
    )
    tags = tuple(Tag(attribute, value, 1.0) for attribute, value in product.tags)
    printed = tuple(line for photo in product.photos for line in photo.printed)
    brief = Brief(product.facts, tags, printed, lambda: _subjects(seen, product.facts))
    for one in points:
        # Asked alone, so that a point that may not be shown is not dropped beside one that may.
        _accepted(_Merchant(photos, PitchForm(points=(one,))).pitch([brief]))
    merchant = _Merchant(photos, PitchForm(points=points))
    if len(_accepted(merchant.pitch([brief]))) != len(points):
        raise RejectedInput("too-many", f"there are {len(points)} selling points, more than are asked for")
    return merchant


_Form = TypeVar("_Form")


def _form(kind: type[_Form], value: Any) -> _Form:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RejectedInput("wrong-form", f"{where}: {first['msg']}" if where else first["msg"]) from None


_Answer = TypeVar("_Answer")


def _accepted(answers: Sequence[_Answer | RejectedInput]) -> _Answer:
    """The only answer. Raises the RejectedInput in its place."""
    [answer] = answers
    if isinstance(answer, RejectedInput):
        raise answer
    return answer


def _subjects(photos: Sequence[Photograph], facts: CatalogFacts) -> list[Subject]:
    alpha = np.zeros((0, 0), np.float32)
    return [Subject(_UNSEEN, alpha, photo.printed, facts) for photo in photos]


def _line(text: str) -> str:
    return one_line(text, _LONGEST)


def _quoted(tag: _Tag) -> str:
    return f"{_line(tag.attribute)[:60]}={_line(tag.value)[:60]}"
