"""A sentence filled in from what is seen and measured: a template, not a model that writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from engines import calibration
from engines.backgrounds import Background, background
from engines.colours import palette
from engines.declaration import Loading, engine
from engines.evidence import Finding, find
from engines.protocols import Bilingual, Captioner, Subject
from engines.sights import MODELS, Models, Sight, sights
from engines.vocabulary import FILE, Term, Vocabulary, vocabulary

_COLOURS, _LEAST_SHARE = 2, 0.25
"""How many colours a sentence names, and the least share of the product each must have."""

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
    batch=32,
    memory_mb=50,
    template=True,
)
class TemplateCaptioner:
    """Names product type, colours, what else is in view and the background in a fixed sentence; what is not
    known is left out, and of a photo of which nothing is known it says "a product photo" alone."""

    version: ClassVar[int] = 3

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


def _sentence(words: Vocabulary, subject: Subject, sight: Sight, finding: Finding) -> Bilingual:
    colours = _colours(words, subject, finding)
    behind = background(subject)
    if finding.category is None and not colours and behind is None:
        return _UNTOLD
    product, company = _product(words, finding, colours), _company(words, sight, finding)
    place = _behind(words, behind)
    return Bilingual(
        en=f"{product.en}{company.en}{place.en}.",
        zh=f"{product.zh}{company.zh}{place.zh}。",
    )


def _product(words: Vocabulary, finding: Finding, colours: Sequence[Term]) -> Bilingual:
    """The subject of the sentence; a plural or mass noun goes without an article."""
    en, zh = " and ".join(colour.en for colour in colours), "和".join(colour.zh for colour in colours)
    if finding.category is None:
        return Bilingual(f"A product{f' in {en}' if en else ''}", f"一件{f'{zh}的' if zh else ''}商品")
    category = words.categories[finding.category.value]
    if finding.product_type is None:
        return Bilingual(
            f"A product from the {category.en} range{f' in {en}' if en else ''}",
            f"一件{f'{zh}的' if zh else ''}{category.zh}类商品",
        )
    kind = category.types[finding.product_type.value]
    phrase = f"{en} {kind.en}" if en else kind.en
    return Bilingual(
        f"A photo of {_article(phrase) if kind.article else ''}{phrase}",
        f"一张{f'{zh}的' if zh else ''}{kind.zh}照片",
    )


def _colours(words: Vocabulary, subject: Subject, finding: Finding) -> list[Term]:
    category = finding.category.value if finding.category else None
    product_type = finding.product_type.value if finding.product_type else None
    if not words.applies("colour", category, product_type):
        return []
    named = [colour.name for colour in palette(subject) if colour.share >= _LEAST_SHARE]
    return [words.values("colour")[name] for name in named[:_COLOURS]]


def _company(words: Vocabulary, sight: Sight, finding: Finding) -> Bilingual:
    """How many of its kind are in view, and one other thing that stands out."""
    if finding.product_type is None:
        return Bilingual("", "")
    types = words.values("product_type")
    own = finding.product_type.value
    sure = [
        words.objects[item.name]
        for item in sight.objects
        if item.confidence >= _SURE_OBJECT and item.name in words.objects
    ]
    number = sum(key == own for key in sure)
    en, zh = "", ""
    if number in _NUMBERS and words.categories[words.category_of(own)].types[own].article:
        en, zh = f", {_NUMBERS[number][0]} of them in view", f"，画面中共有{_NUMBERS[number][1]}件"
    elif others := [key for key in sure if key in types and key != own]:
        other = types[others[0]]
        article = _article(other.en) if getattr(other, "article", True) else ""
        en, zh = f" with {article}{other.en}", f"，画面中还有{other.zh}"
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
    return Bilingual(f" on {_article(colour.en)}{colour.en} background", f"，背景为{colour.zh}")


def _article(phrase: str) -> str:
    # By sound, not by letter: an hourglass, a unicycle.
    vowel = phrase[0] in "aeiou" and not phrase.startswith(("uni", "one"))
    return "an " if vowel or phrase.startswith("hour") else "a "
