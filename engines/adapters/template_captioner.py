"""A sentence filled in from what is seen and measured: a template, not a model that writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engines.declaration import Loading, engine
from engines.looks import calibration
from engines.looks.backgrounds import Background, background
from engines.looks.colours import colours, palette
from engines.looks.cutouts import sureness
from engines.looks.evidence import Finding, find
from engines.looks.regions import iou
from engines.looks.sights import MODELS, Models, Sight, sights
from engines.protocols import Bilingual, Captioner, Subject
from engines.words.catalog import FACT, said
from engines.words.phrasing import with_article
from engines.words.vocabulary import FILE, Term, Vocabulary, vocabulary

_COLOURS = 2
"""How many colours a sentence names; each must be as sure as a tag of it."""

_SURE_OBJECT = 0.6
"""The detector's score from which an object beside the product, or one more of its kind, is worth a word: of
28 such objects on 54 catalog photos 24 were what it said."""

_UNTOLD = Bilingual(en="A product photo.", zh="一张商品照片。")

_NUMBERS = {2: ("two", "两"), 3: ("three", "三"), 4: ("four", "四")}


@engine(
    "template",
    capability=Captioner,
    needs=MODELS,
    data=(FILE, calibration.FILE),
    licence="Apache-2.0",
    reads=("title", "category"),
    batch=32,
    memory_mb=50,
    template=True,
)
class TemplateCaptioner:
    """Names product type, colours, what else is in view and the background in a fixed sentence; what is not
    known is left out, and of a photo of which nothing is known it says "a product photo" alone. A type that the
    merchant names is believed unless the photo shows something else: then neither is named."""

    version: ClassVar[int] = 5

    def __init__(self, loading: Loading) -> None:
        self._models = Models.of(loading)
        self._vocabulary = vocabulary()

    def warm_up(self) -> None:
        self.caption([Subject(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32))])

    def caption(self, subjects: Sequence[Subject]) -> list[Bilingual]:
        seen = sights(self._vocabulary, self._models, subjects)
        return [
            _sentence(self._vocabulary, subject, sight, find(self._vocabulary, [sight]))
            for subject, sight in zip(subjects, seen, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Named:
    """Category and product type by key, from the photo or the merchant's words."""

    category: str | None
    product_type: str | None


def _name(words: Vocabulary, subject: Subject, finding: Finding) -> _Named:
    """The type that the merchant names, else what the photo shows; where the two are of different categories,
    neither is asserted, and the tags' rules ask a person.

    Within a category a title is the surer: a stool is easily taken for a table.
    """
    category = finding.category.value if finding.category else None
    seen = finding.product_type.value if finding.product_type else None
    facts: dict[str, str] = {}
    for tag in said(words, subject.facts):
        if tag.confidence >= FACT:
            facts.setdefault(tag.attribute, tag.value)
    stated = facts.get("product_type")
    shelf = words.category_of(stated) if stated else facts.get("category")
    if shelf is None:
        return _Named(category, seen)
    if category not in (None, shelf):
        return _Named(None, None)
    return _Named(shelf, stated or seen)


def _sentence(words: Vocabulary, subject: Subject, sight: Sight, finding: Finding) -> Bilingual:
    named = _name(words, subject, finding)
    coloured = _colours(words, subject, named)
    behind = background(subject)
    if named.category is None and behind is None:
        return _UNTOLD
    product, company = _product(words, named, coloured), _company(words, sight, named)
    place = _behind(words, behind)
    return Bilingual(
        en=f"{product.en}{company.en}{place.en}".removesuffix(",") + ".",
        zh=f"{product.zh}{company.zh}{place.zh}。",
    )


def _product(words: Vocabulary, named: _Named, coloured: Sequence[Term]) -> Bilingual:
    """The subject of the sentence; a plural or mass noun goes without an article."""
    en, zh = " and ".join(colour.en for colour in coloured), "和".join(colour.zh for colour in coloured)
    if named.category is None:
        return Bilingual(f"A product{f' in {en}' if en else ''}", f"一件{f'{zh}的' if zh else ''}商品")
    category = words.categories[named.category]
    if named.product_type is None:
        return Bilingual(
            f"A product from the {category.en} range{f' in {en}' if en else ''}",
            f"一件{f'{zh}的' if zh else ''}{category.zh}类商品",
        )
    kind = category.types[named.product_type]
    phrase = f"{en} {kind.en}" if en else kind.en
    return Bilingual(
        f"A photo of {with_article(phrase) if kind.article else phrase}",
        f"一张{f'{zh}的' if zh else ''}{kind.zh}照片",
    )


def _colours(words: Vocabulary, subject: Subject, named: _Named) -> list[Term]:
    if not words.applies("colour", named.category, named.product_type):
        return []
    floor = words.attributes["colour"].floor
    rated = colours(palette(subject), sureness(subject.alpha))
    sure = [colour.name for colour in rated if colour.confidence >= floor]
    return [words.values("colour")[name] for name in sure[:_COLOURS]]


def _company(words: Vocabulary, sight: Sight, named: _Named) -> Bilingual:
    """How many of its kind are in view, and one other thing that stands out."""
    own = named.product_type
    if own is None:
        return Bilingual("", "")
    its = words.categories[words.category_of(own)].types
    alike = {own, *its[own].kind_of}
    sure = [
        (words.objects[item.name], item.box)
        for item in sight.objects
        if item.confidence >= _SURE_OBJECT and item.name in words.objects
    ]
    number = sum(key in alike for key, _ in sure)
    # What fills the cut-out is the product itself, whatever the detector calls it.
    beside = [key for key, box in sure if sight.cutout is None or iou(box, sight.cutout) < 0.5]
    en, zh = "", ""
    if number in _NUMBERS and its[own].article:
        en, zh = f", {_NUMBERS[number][0]} of them in view,", f"，画面中共有{_NUMBERS[number][1]}件"
    elif others := [key for key in beside if key not in words.categories and key not in alike]:
        other = words.categories[words.category_of(others[0])].types[others[0]]
        en, zh = f" with {with_article(other.en) if other.article else other.en}", f"，画面中还有{other.zh}"
    return Bilingual(en, zh)


def _behind(words: Vocabulary, behind: Background | None) -> Bilingual:
    if behind is None:
        return Bilingual("", "")
    if behind.busy:
        return Bilingual(" against a busy background", "，背景丰富")
    if behind.colour is None:
        return Bilingual(" on a plain background", "，背景简洁") if behind.plain else Bilingual("", "")
    colour = words.values("colour")[behind.colour]
    if behind.plain:
        return Bilingual(f" on a plain {colour.en} background", f"，背景为纯{colour.zh}")
    return Bilingual(f" on {with_article(colour.en)} background", f"，背景为{colour.zh}")
