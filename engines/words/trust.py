"""Which of the tags that an engine proposes leave the system: the same rules for every engine.

Nothing a model says is believed unread: a value must be the vocabulary's, an attribute must apply to the
product, a style must rest on attributes that hold. What the merchant says is never overwritten; where the
photos contradict it, that becomes a flag for a person.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from engines.protocols import Bilingual, CatalogFacts, Evidence, Tag, Witness
from engines.words.catalog import FACT, said
from engines.words.claims import proven
from engines.words.keywords import keywords
from engines.words.proposals import MOST_EVIDENCE, quoted, understood
from engines.words.styles import concluded, inferred, reason
from engines.words.vocabulary import Vocabulary

__all__ = ["Flag", "Reviewed", "proven", "reason", "review"]

_SURE = 0.8
"""From this confidence on, what the photos say against the merchant is worth a person's time."""

_MOST = 0.99
"""Witnesses are never so independent that several of them make a certainty."""

_NOTES = 30
"""So many notes of what was dropped tell a person enough."""


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


def review(words: Vocabulary, proposed: Sequence[Tag], facts: CatalogFacts) -> Reviewed:
    """Hold the proposed tags of one product against the vocabulary and the merchant's facts.

    Category and type are settled first, since they decide which attributes apply at all; what the product is
    and looks like next; style and scene last, for they rest on the rest.
    """
    desk = _Desk(words, proposed, facts)
    category = desk.settle("category")
    for value in desk.heard("product_type"):
        if category and words.category_of(value) != category[0].value:
            desk.drop("product_type", value, f"is not of the category {category[0].value}")
    product_type = desk.settle("product_type")
    kind = (category[0].value if category else None, product_type[0].value if product_type else None)
    rest = [key for key in words.attributes if key not in ("category", "product_type")]
    for attribute in sorted(rest, key=lambda key: words.attributes[key].by_rule > 0):
        if not words.applies(attribute, *kind):
            desk.drop_all(
                attribute, "does not apply to " + (kind[1] or kind[0] or "a product of unknown kind")
            )
        elif words.attributes[attribute].by_rule:
            desk.conclude(attribute)
        else:
            desk.settle(attribute)
    tags = tuple(tag for attribute in words.attributes for tag in desk.held if tag.attribute == attribute)
    return Reviewed(tags, tuple(desk.flags), keywords(words, tags, facts), desk.notes())


class _Desk:
    """Where the two sides of one product lie: what is said and what is seen, by attribute and value."""

    def __init__(self, words: Vocabulary, proposed: Sequence[Tag], facts: CatalogFacts) -> None:
        self.held: list[Tag] = []
        self.flags: list[Flag] = []
        self._words = words
        self._dropped: list[str] = []
        self._said: dict[str, dict[str, Tag]] = defaultdict(dict)
        self._seen: dict[str, dict[str, Tag]] = defaultdict(dict)
        for tag in said(words, facts):
            self._said[tag.attribute][tag.value] = tag
        by_value: dict[tuple[str, str], list[Tag]] = defaultdict(list)
        for tag in proposed:
            try:
                read = understood(words, tag)
            except ValueError as error:
                self._note(tag.attribute, tag.value, str(error))
            else:
                by_value[read.attribute, read.value].append(read)
        for (attribute, value), several in by_value.items():
            self._seen[attribute][value] = _merged(several)
        for value, tag in self._seen["product_type"].items():
            category = words.category_of(value)
            known = self._seen["category"].get(category)
            if known is None or known.confidence < tag.confidence:
                # Whoever sees a sofa sees furniture.
                own = replace(tag, attribute="category", value=category)
                self._seen["category"][category] = _merged([own, known]) if known else own

    def heard(self, attribute: str) -> list[str]:
        """The values that anyone names."""
        return list(dict.fromkeys((*self._said[attribute], *self._seen[attribute])))

    def drop(self, attribute: str, value: str, why: str) -> None:
        """Take a value off the table; a note is kept of what an engine proposed."""
        self._said[attribute].pop(value, None)
        if self._seen[attribute].pop(value, None):
            self._note(attribute, value, why)

    def drop_all(self, attribute: str, why: str) -> None:
        for value in self.heard(attribute):
            self.drop(attribute, value, why)

    def settle(self, attribute: str) -> list[Tag]:
        """Keep what holds of an attribute that can be seen: the merchant's facts first, then the surest."""
        asked = self._words.attributes[attribute]
        said_, seen = self._said[attribute], self._seen[attribute]
        if asked.from_words:
            for value in list(seen):
                if value not in said_:
                    self.drop(attribute, value, "cannot be told from a photo")
        facts = [value for value, tag in said_.items() if tag.confidence >= FACT]
        if facts:
            self._hold_against(attribute, facts)
        heard = {
            value: _merged([side[value] for side in (said_, seen) if value in side])
            for value in self.heard(attribute)
        }
        order = sorted(heard.values(), key=lambda tag: (tag.value not in facts, -tag.confidence))
        kept = [tag for tag in order if tag.confidence >= asked.floor][: asked.many]
        for tag in order:
            if tag not in kept:
                low = tag.confidence < asked.floor
                why = f"confidence {tag.confidence:.2f} is under {asked.floor}" if low else "others are surer"
                self.drop(attribute, tag.value, why)
        self.held += kept
        return kept

    def _hold_against(self, attribute: str, facts: Sequence[str]) -> None:
        """Compare what is seen with the merchant's facts: a match confirms, a shade gives way, else a flag."""
        asked, seen = self._words.attributes[attribute], self._seen[attribute]
        strange: list[str] = []
        near: list[str] = []
        for value in [value for value in seen if value not in facts]:
            alike = any(self._words.akin(attribute, value, fact) for fact in facts)
            (near if alike else strange).append(value)
        confirmed = bool(near) or any(fact in seen for fact in facts)
        for value in near:
            self.drop(attribute, value, f"is what a photo makes of {' or '.join(facts)}")
        if confirmed and asked.many > 1:
            return  # black shoes may have white soles
        looked = [seen[value] for value in strange if _kind(seen[value]) in (Witness.PHOTO, Witness.PRINTED)]
        surest = max(looked, key=_confidence, default=None)
        # A type of another category is gone by now; within one it is a finer matter than a flag is for.
        flagged = attribute != "product_type" and not confirmed
        if flagged and surest is not None and surest.confidence >= _SURE:
            against = self._said[attribute][facts[0]]
            both = (*against.evidence, *surest.evidence)
            self.flags.append(Flag(attribute, against.value, surest.value, surest.confidence, both))
        for value in strange:
            self.drop(attribute, value, f"the merchant says {' and '.join(facts)}")

    def conclude(self, attribute: str) -> None:
        """Keep the styles or scenes that the merchant names or that rest on what holds."""
        found: dict[str, list[Tag]] = defaultdict(list)
        for tag in self._said[attribute].values():
            if tag.confidence >= FACT:
                found[tag.value].append(tag)
        for tag in inferred(self._words, attribute, self.held):
            found[tag.value].append(tag)
        holding = {(tag.attribute, tag.value) for tag in self.held}
        for tag in list(self._seen[attribute].values()):
            if tag.because and set(tag.because) <= holding:
                own = concluded(self._words, attribute, tag.value, tag.because, self.held, tag.confidence)
                found[tag.value].append(replace(own, evidence=(*own.evidence, *tag.evidence)))
            elif tag.value not in found:
                missing = ", ".join(f"{a} {v}" for a, v in tag.because if (a, v) not in holding)
                why = f"rests on what does not hold: {missing}" if missing else "gives no ground"
                self.drop(attribute, tag.value, why)
        order = sorted((_merged(several) for several in found.values()), key=lambda tag: -tag.confidence)
        asked = self._words.attributes[attribute]
        self.held += [tag for tag in order if tag.confidence >= asked.floor][: asked.many]

    def notes(self) -> tuple[str, ...]:
        """What was dropped and why, a screenful at most."""
        more = len(self._dropped) - _NOTES
        return (*self._dropped[:_NOTES], *([f"and {more} more"] if more > 0 else []))

    def _note(self, attribute: str, value: str, why: str) -> None:
        self._dropped.append(f"{quoted(attribute)} {quoted(value)}: {why}")


def _merged(several: Sequence[Tag]) -> Tag:
    """One tag of several for the same value, with the evidence of all.

    Witnesses of different kinds err for different reasons, so together they are surer than each: noisy-or
    (Pearl 1988) over photo, printed text and catalog. Those of one kind look at the same thing: the surest
    of them counts. What follows from attributes adds nothing to what these rest on.
    """
    if len(several) == 1:
        return several[0]
    by_kind: dict[Witness, float] = defaultdict(float)
    for tag in several:
        by_kind[_kind(tag)] = max(by_kind[_kind(tag)], tag.confidence)
    by_kind.pop(Witness.ATTRIBUTES, None)
    surest = max(tag.confidence for tag in several)
    together = min(_MOST, 1 - prod(1 - confidence for confidence in by_kind.values()))
    evidence = tuple(dict.fromkeys(item for tag in several for item in tag.evidence))
    because = next((tag.because for tag in several if tag.because), ())
    return replace(
        several[0],
        confidence=max(surest, together),
        evidence=evidence[:MOST_EVIDENCE],
        because=because,
    )


def _kind(tag: Tag) -> Witness:
    kinds = {item.witness for item in tag.evidence}
    return next((kind for kind in Witness if kind in kinds), Witness.PHOTO)


def _confidence(tag: Tag) -> float:
    return tag.confidence
