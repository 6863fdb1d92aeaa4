"""A sentence filled in from what a classifier and the colours say: a template, not a model that writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from engines.colours import palette
from engines.declaration import Loading, engine
from engines.evidence import Finding, findings
from engines.protocols import Bilingual, Captioner, Classifier, GarmentClassifier, Subject
from engines.vocabulary import FILE, Vocabulary, vocabulary

_CLASSIFIER, _GARMENTS = "efficientnet_lite2", "garment_head"

_COLOURS, _LEAST_SHARE = 2, 0.25
"""How many colours a sentence names, and the least share of the product each must have."""

_UNTOLD = Bilingual(en="A product photo.", zh="一张商品照片。")


@engine(
    "template",
    capability=Captioner,
    needs=(_CLASSIFIER, _GARMENTS),
    data=(FILE,),
    licence="Apache-2.0",
    batch=32,
    memory_mb=50,
    template=True,
)
class TemplateCaptioner:
    """Names colours and product type in a fixed sentence, and says only "a product photo" when unsure."""

    version: ClassVar[int] = 2

    def __init__(self, loading: Loading) -> None:
        self._classifier: Classifier = loading.engine(_CLASSIFIER)
        self._garments: GarmentClassifier = loading.engine(_GARMENTS)
        self._vocabulary = vocabulary()

    def warm_up(self) -> None:
        self.caption([Subject(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32))])

    def caption(self, subjects: Sequence[Subject]) -> list[Bilingual]:
        photos = [[subject] for subject in subjects]
        found = findings(self._vocabulary, self._classifier, self._garments, photos)
        return [
            _sentence(self._vocabulary, subject, finding)
            for subject, finding in zip(subjects, found, strict=True)
        ]


def _sentence(words: Vocabulary, subject: Subject, finding: Finding) -> Bilingual:
    if finding.category is None:
        return _UNTOLD
    category = words.categories[finding.category]
    named = [colour.name for colour in palette(subject) if colour.share >= _LEAST_SHARE][:_COLOURS]
    colours = [
        words.attributes["colour"].values[name] for name in named if words.applies("colour", finding.category)
    ]
    en, zh = " and ".join(colour.en for colour in colours), "和".join(colour.zh for colour in colours)
    if finding.product_type is None:
        return Bilingual(
            en=f"{category.en.capitalize()}{f', mostly {en}' if en else ''}.",
            zh=f"{category.zh}类商品{f'，以{zh}为主' if zh else ''}。",
        )
    kind = category.types[finding.product_type]
    phrase = f"{en} {kind.en}" if en else kind.en
    return Bilingual(
        en=f"A photo of {_article(phrase) if kind.article else ''}{phrase}.",
        zh=f"一张{f'{zh}的' if zh else ''}{kind.zh}照片。",
    )


def _article(phrase: str) -> str:
    # By sound, not by letter: an hourglass, a unicycle.
    vowel = phrase[0] in "aeiou" and not phrase.startswith(("uni", "one"))
    return "an " if vowel or phrase.startswith("hour") else "a "
