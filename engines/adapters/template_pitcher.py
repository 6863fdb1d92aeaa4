"""Selling points filled in from tags that hold and from the brand: a template, not a model that writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from engines.declaration import Loading, engine
from engines.protocols import Bilingual, Brief, Pitcher, SellingPoint, Tag, Witness
from engines.words.keywords import brand
from engines.words.phrasing import capitalised, listed, listed_zh, with_article
from engines.words.vocabulary import FILE, AttributeValue, ProductType, Vocabulary, vocabulary

_MOST, _FEATURES, _COLOURS = 4, 2, 3

_WORN = ("clothing", "footwear", "accessories", "bags", "jewellery")
_PLACED = ("furniture", "lighting", "home", "plants")
_HANDLED = ("shovel", "lawn-mower", "wheelbarrow")
_LOOKS = ("colour", "pattern", "material", "neckline", "sleeve_length", "feature")
"""What can be named as the ground of a style: that sneakers are sporty because they are sneakers says nothing."""

_TOLD_BY_NAME = 2
"""Up to so many tags, category and type that is, "A potted plant." is better than nothing."""

Pairs = tuple[tuple[str, str], ...]


@engine(
    "template_pitch",
    capability=Pitcher,
    data=(FILE,),
    reads=("brand",),
    licence="Apache-2.0",
    batch=64,
    memory_mb=10,
    template=True,
)
class TemplatePitcher:
    """Says what a product is, what its features do for a buyer, how it looks and where it belongs.

    Nothing is praised: every sentence says what a tag or the brand says, or what follows from it by
    definition. Of what a product is made it speaks only where the merchant does.
    """

    version: ClassVar[int] = 1

    def __init__(self, loading: Loading) -> None:
        self._vocabulary = vocabulary()

    def warm_up(self) -> None:
        """Nothing to warm."""

    def pitch(self, briefs: Sequence[Brief]) -> list[list[SellingPoint]]:
        return [list(_Pitch(self._vocabulary, brief).points())[:_MOST] for brief in briefs]


class _Pitch:
    """The sentences for one product."""

    def __init__(self, words: Vocabulary, brief: Brief) -> None:
        self._words = words
        self._tags = brief.tags
        self._brand = brand(brief.facts)

    def points(self) -> Iterator[SellingPoint]:
        makers = (self._opening, self._features, self._details, self._style, self._scenes, self._audience)
        for maker in makers:
            yield from maker()

    def _opening(self) -> Iterator[SellingPoint]:
        """What it is: "A brown leather sofa.", "A camera by Kodak in black and grey." """
        kind, colours = self._of("product_type")[:1], self._of("colour")[:_COLOURS]
        made_of = [tag for tag in self._of("material") if self._worth_saying(tag, kind)][:1]
        bare = not colours and not made_of and not self._brand
        if not (kind or colours or made_of) or (bare and len(self._tags) > _TOLD_BY_NAME):
            return
        one = colours if len(colours) == 1 else []
        several = [] if one else colours
        adjectives = [self._words.values(tag.attribute)[tag.value] for tag in (*one, *made_of)]
        noun = self._words.values("product_type")[kind[0].value] if kind else None
        phrase = " ".join([*(_phrase(value) for value in adjectives), *([noun.en] if noun else [])])
        zh = "".join(value.zh for value in adjectives) + (noun.zh if noun else "")
        if isinstance(noun, ProductType) and noun.article:
            phrase = with_article(phrase)
        if noun is None:
            phrase, zh = "", f"{zh}款" if zh else ""
            phrase = f"in {' '.join(value.en for value in adjectives)}" if adjectives else ""
        en = " ".join(filter(None, (phrase, f"by {self._brand}" if self._brand else "")))
        zh = " ".join(filter(None, (self._brand, zh)))
        if several:
            en = f"{en} in {listed(self._en(several))}".strip()
            zh = "，".join(filter(None, (zh, f"配色为{listed_zh(self._zh(several))}")))
        yield _point(capitalised(en), zh, (*_pairs(kind, colours, made_of), *self._brand_pair()))

    def _features(self) -> Iterator[SellingPoint]:
        """What a feature does for a buyer."""
        for tag in self._of("feature")[:_FEATURES]:
            value = self._words.attributes["feature"].values[tag.value]
            if value.sells is not None:
                yield SellingPoint(Bilingual(value.sells.en, value.sells.zh), _pairs([tag]))

    def _details(self) -> Iterator[SellingPoint]:
        """What one looks for in clothes: "Striped, crew neck, short sleeves." """
        found = [tag for name in ("pattern", "neckline", "sleeve_length") for tag in self._of(name)]
        told = [tag for tag in found if tag.value != "plain"]
        if told:
            yield _point(
                capitalised(", ".join(self._en(told))), f"{'、'.join(self._zh(told))}设计", _pairs(told)
            )

    def _style(self) -> Iterator[SellingPoint]:
        """How it looks, and by what: "A minimalist look: plain, white." """
        for tag in self._of("style")[:1]:
            (en,), (zh,) = self._en([tag]), self._zh([tag])
            grounds = [pair for pair in tag.because if pair[0] in _LOOKS]
            values = [self._words.values(attribute)[value] for attribute, value in grounds]
            why_en = f": {', '.join(value.en for value in values)}" if values else ""
            why_zh = f"：{'、'.join(value.zh for value in values)}" if values else ""
            yield _point(
                f"{capitalised(with_article(en))} look{why_en}",
                f"{zh}设计{why_zh}",
                (*_pairs([tag]), *grounds),
            )

    def _scenes(self) -> Iterator[SellingPoint]:
        """Where or when it is used."""
        scenes = self._of("scene")
        if not scenes:
            return
        kind = {tag.value for name in ("category", "product_type") for tag in self._of(name)}
        placed = kind.intersection(_PLACED) and not kind.intersection(_HANDLED)
        use = "穿搭" if kind.intersection(_WORN) else "摆放" if placed else "使用"
        phrases = [_phrase(self._words.attributes["scene"].values[tag.value]) for tag in scenes]
        yield _point(f"For {listed(phrases)}", f"适合{'、'.join(self._zh(scenes))}{use}", _pairs(scenes))

    def _audience(self) -> Iterator[SellingPoint]:
        """Whom it is made for, where the merchant says so."""
        told = self._of("audience")
        if told:
            yield _point(
                f"Made for {listed(self._en(told))}", f"{'、'.join(self._zh(told))}适用", _pairs(told)
            )

    def _worth_saying(self, material: Tag, kind: Sequence[Tag]) -> bool:
        """What a thing is made of is the merchant's to say; that jeans are of denim nobody needs to hear."""
        implied = (
            kind
            and self._words.values("product_type")[kind[0].value].en
            in self._words.values("material")[material.value].words
        )
        return not implied and any(item.witness is Witness.CATALOG for item in material.evidence)

    def _of(self, attribute: str) -> list[Tag]:
        return [tag for tag in self._tags if tag.attribute == attribute]

    def _en(self, tags: Sequence[Tag]) -> list[str]:
        return [self._words.values(tag.attribute)[tag.value].en for tag in tags]

    def _zh(self, tags: Sequence[Tag]) -> list[str]:
        return [self._words.values(tag.attribute)[tag.value].zh for tag in tags]

    def _brand_pair(self) -> Pairs:
        return (("catalog", "brand"),) if self._brand else ()


def _phrase(value: object) -> str:
    assert isinstance(value, AttributeValue)
    return value.phrase or value.en


def _pairs(*groups: Sequence[Tag]) -> Pairs:
    return tuple((tag.attribute, tag.value) for tags in groups for tag in tags)


def _point(en: str, zh: str, rests_on: Pairs) -> SellingPoint:
    return SellingPoint(Bilingual(f"{en}.", f"{zh}。"), rests_on)
