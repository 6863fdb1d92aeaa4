"""Five words to find a product by, of what holds, the most telling first. Fewer hold: fewer are given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from engines.protocols import Bilingual, CatalogFacts, Tag
from engines.words.vocabulary import Vocabulary

MANY = 5

_ORDER = (
    *("product_type", "colour", "material", "style", "scene", "pattern", "brand"),
    *("feature", "neckline", "sleeve_length", "audience", "category"),
)
_BRAND = re.compile(r"[^\W_][\w &.'’+-]{0,38}")
"""What a brand looks like; anything else in its field is no keyword."""


def keywords(words: Vocabulary, tags: Sequence[Tag], facts: CatalogFacts) -> tuple[Bilingual, ...]:
    """One of each attribute in the order of what they tell, then the second ones; no two alike."""
    columns = [list(_of(words, attribute, tags, facts)) for attribute in _ORDER]
    rows = [column[place] for place in range(3) for column in columns if place < len(column)]
    chosen: list[Bilingual] = []
    for word in rows:
        if not any(_alike(word, other) for other in chosen):
            chosen.append(word)
    return tuple(chosen[:MANY])


def brand(facts: CatalogFacts) -> str:
    """The brand as it may be shown, empty where the field holds none."""
    name = facts.brand.strip()
    return name if _BRAND.fullmatch(name) else ""


def _of(words: Vocabulary, attribute: str, tags: Sequence[Tag], facts: CatalogFacts) -> Iterator[Bilingual]:
    if attribute == "brand":
        if name := brand(facts):
            yield Bilingual(name, name)
        return
    if attribute in words.attributes:
        values = words.values(attribute)
        yield from (values[tag.value].text for tag in tags if tag.attribute == attribute)


def _alike(one: Bilingual, other: Bilingual) -> bool:
    return one.en.casefold() == other.en.casefold() or one.zh == other.zh
