"""Which selling points may be shown: those that rest on something that holds, and read like a sentence.

Whether a sentence follows from what it names no rule can tell. But what it names of colour, material, pattern
or features must hold or be the merchant's own words, and praise that nobody can prove is dropped, as the
advertising law of China (article 9) asks for anyway.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from engines.protocols import CatalogFacts, SellingPoint, Tag
from engines.words.lexicon import lexicon
from engines.words.text import is_chinese

LONGEST = 200
"""Characters of a selling point in either language."""

_CHECKED = ("colour", "material", "pattern", "feature")
_LATIN = re.compile(r"[A-Za-z]{2}")
_LINK = re.compile(r"https?:|www\.|\b[\w-]+\.(?:com|cn|net|org|shop|io|ru|xyz|top)\b|@\w", re.IGNORECASE)
_MARKUP = re.compile(r"[<>{}\[\]`*_#|\\]|&\w+;|[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")
_PRAISE = re.compile(
    r"\b(?:best|perfect(?:ly)?|high[- ]quality|top[- ]quality|premium|world[- ]class|number one|no\. ?1|unbeatable"
    r"|ultimate|guaranteed?|cheapest|finest|must[- ]have)\b"
    r"|最(?!近)|第一|顶级|极品|国家级|世界级|完美|高品质|优质|独一无二|史上|绝无仅有|万能|必买",
    re.IGNORECASE,
)


def proven(points: Sequence[SellingPoint], tags: Sequence[Tag], facts: CatalogFacts) -> list[SellingPoint]:
    """The points that may be shown, in their order and without repetition."""
    kept: list[SellingPoint] = []
    for point in points:
        again = any(point.text.en == other.text.en or point.text.zh == other.text.zh for other in kept)
        if (
            not again
            and _rests(point, tags, facts)
            and _reads_well(point, facts)
            and _invents_nothing(point, tags, facts)
        ):
            kept.append(point)
    return kept


def _rests(point: SellingPoint, tags: Sequence[Tag], facts: CatalogFacts) -> bool:
    holding = {(tag.attribute, tag.value) for tag in tags}
    said = {
        ("catalog", name)
        for name in ("title", "description", "category", "brand", "tags")
        if getattr(facts, name)
    }
    return bool(point.rests_on) and set(point.rests_on) <= holding | said


def _reads_well(point: SellingPoint, facts: CatalogFacts) -> bool:
    en, zh = point.text.en, point.text.zh
    # A name stays as it is in both languages.
    own = en.replace(facts.brand, " ") if facts.brand else en
    spoken = bool(_LATIN.search(en)) and not is_chinese(own) and is_chinese(zh)
    return spoken and all(
        len(text) <= LONGEST
        and not _LINK.search(text)
        and not _MARKUP.search(text)
        and not _PRAISE.search(text)
        for text in (en, zh)
    )


def _invents_nothing(point: SellingPoint, tags: Sequence[Tag], facts: CatalogFacts) -> bool:
    """Whether every colour, material, pattern and feature it names holds or is named by the merchant."""
    words = lexicon()
    merchant = " \n".join((facts.title, facts.description, facts.brand, *facts.tags))
    known = {(tag.attribute, tag.value) for tag in tags}
    known |= {(found.attribute, found.value) for found in words.find(merchant)}
    named = [found for text in (point.text.en, point.text.zh) for found in words.find(text)]
    return all((found.attribute, found.value) in known for found in named if found.attribute in _CHECKED)
