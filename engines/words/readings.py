"""A query as it is read: its words of the vocabulary, and what stands around each of them.

A word counts only where what follows it is known too. "Black Friday mug" is no black mug, "sofa cover" no sofa and
玻璃清洁剂 nothing of glass: before an unknown noun a word may be a part of its name.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache

from engines.words.lexicon import Mention, lexicon, tokenise
from engines.words.prices import Span
from engines.words.text import HAN
from engines.words.vocabulary import vocabulary

Pair = tuple[str, str]
"""An attribute and one of its values, by key."""

NAMES = ("category", "product_type")
"""What says what a thing is, rather than how."""

CUT = "\n"
"""Stands in a reading for what was already understood: nothing reaches over it."""

_FOREIGN = "ɏ"
"""A letter that spells nothing, in place of those that neither English nor Chinese has."""

_LIKE = {
    ord("‘"): "'",
    ord("’"): "'",
    **dict.fromkeys(map(ord, "–—―‐‑‒−"), "-"),
    ord("≤"): "<",
    ord("≥"): ">",
}

# Of what comes behind a preposition, how much may be the thing's own: a table "with a glass top" is not of glass.
_GOVERNED = {
    "in": ("name",),
    "for": ("only", "audience", "scene"),
    "with": ("only", "feature", "pattern", "neckline", "sleeve_length", "style"),
    **dict.fromkeys(
        ("from", "of", "by", "like", "than", "fits", "compatible", "without", "under"), ("only",)
    ),
}
_LEADS = re.compile(
    r"\b(?:(?:i'?m |i am )?(?:looking|searching|search) for|(?:an? )?(?:pair|set|pack|kind|type)s? of|made of|made from"
    r"|show me|find me|i (?:want|need)|with or without|do you have|is there|are there)\b"
)
"""What says nothing of the thing, and whose preposition governs nothing."""

_IDIOMS = re.compile(
    r"\bold navy\b|\bblue light\b|\bwine glass(?:es)?\b|\bsafe (?:for|to)\b|\bfree size\b"
    r"|\bmatch(?:es)? (?:my|the|with)\b|小红书"
    r"|(?:搭配|适用于?|兼容|配)[^的\n,，。]{1,12}的?"
)
"""Words that mean something else together, and in Chinese other things that the thing goes with."""

_ENDS = ("on", "to", "at", "over", "that", "which", "is", "are", "made", "not", "no", "but", "except", "only")
"""What no noun goes on with."""

_ADJECTIVES = """
    a an the new big small large long short mini midi maxi tiny huge little oversized cute nice beautiful pretty simple
    elegant soft warm thick thin light heavy high low wide narrow round square slim loose fitted summer winter spring
    autumn fall size xs s m l xl xxl plus set pack pair piece unisex cheap affordable best good quality real genuine
    pure inch cm mm colour color please one ones sale style
"""
_EASY = frozenset(_ADJECTIVES.split())
_EASY_HAN = re.compile(
    r"的|款|色|系列?|调|风|新款?|夏季|冬季|春季|秋季|春秋|夏天|冬天|夏|冬|女生|男生|女|男|大码?|小|长款?|短款?|中长款"
    r"|宽松|显瘦|百搭|时尚|气质|韩版|可爱|好看|便宜|加厚|加绒|厚|薄|轻|高级|高端|一点|一些|穿|吗|呢|吧|以外|之外"
)
"""What may stand between a word and the thing it tells of."""

_CONJUNCTION = re.compile(r"(?:and|or|nor|but)\b|[&/、]|和|或者?|与|跟|以及|还是")
_SPACE = re.compile(r"[ \-·*\"'“”+]*")
_WORD = re.compile(r"[A-Za-zÀ-ɏ0-9]+(?:'[A-Za-z]+)?")


@dataclass(frozen=True, slots=True)
class Reading:
    """A query in lower case and normal width, letter by letter, and the vocabulary's words in it."""

    text: str
    at: dict[int, list[Mention]] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Reading:
        """``text`` as :func:`aligned` gives it. A word that is a colour and a thing is the colour: an orange."""
        at: dict[int, list[Mention]] = defaultdict(list)
        idioms = [found.span() for found in _IDIOMS.finditer(text)]
        for mention in lexicon().find(text):
            if not any(start < mention.end and mention.start < end for start, end in idioms):
                at[mention.start].append(mention)
        for start, several in at.items():
            if any(one.attribute == "colour" for one in several):
                at[start] = [one for one in several if one.attribute not in NAMES]
        return cls(text, dict(at))

    def values(self, start: int) -> list[Mention]:
        """The mentions from ``start`` on that say how a thing is, where they say not what it is."""
        several = self.at.get(start, [])
        return [] if any(one.attribute in NAMES for one in several) else several

    def names(self, start: int) -> list[Mention]:
        """The mentions from ``start`` on that say what a thing is, the narrower word first."""
        several = [one for one in self.at.get(start, []) if one.attribute in NAMES]
        return sorted(several, key=lambda one: one.attribute, reverse=True)

    def tells(self, mention: Mention) -> bool:
        """Whether a value tells of the thing: what follows it is known, or the phrase ends."""
        place = mention.end
        while True:
            place, joined = self._over(place, spaces=not HAN.match(mention.text[-1]))
            if place in self.at:
                return True
            if (end := self._easy(place)) is None:
                return not joined and self._ends(place)
            place = end

    def is_head(self, mention: Mention) -> bool:
        """Whether a name is the thing itself: no other name and nothing unknown follows it in its phrase."""
        place, joined = mention.end, False
        while True:
            place, joint = self._over(place)
            joined |= joint
            if place in self.at:
                if self.names(place):
                    return joined
                place = self.at[place][0].end
            elif (end := self._easy(place)) is not None:
                place = end
            else:
                return not joint and self._ends(place)

    def _over(self, place: int, spaces: bool = True) -> tuple[int, bool]:
        """Behind spaces and a conjunction, and whether there was one."""
        behind = _SPACE.match(self.text, place)
        place, gap = (behind.end(), behind.end() > place) if behind else (place, False)
        if gap and not spaces and place not in self.at:
            return len(self.text), False  # Chinese words are set apart where they do not belong together.
        joint = _CONJUNCTION.match(self.text, place)
        if not joint or place in self.at:
            return place, False
        rest = _SPACE.match(self.text, joint.end())
        place = rest.end() if rest else joint.end()
        return place, self.text[place : place + 1] not in ("", CUT)

    def _easy(self, place: int) -> int | None:
        """Where a word ends that may stand before a thing without naming another, None where none is."""
        word = _WORD.match(self.text, place)
        if word:
            plain = word[0] in _EASY or word[0].isdigit()
            return word.end() if plain else None
        han = _EASY_HAN.match(self.text, place)
        return han.end() if han else None

    def _ends(self, place: int) -> bool:
        """Whether a phrase ends here: with the text, a mark, a preposition."""
        word = _WORD.match(self.text, place)
        if word:
            return word[0] in _GOVERNED or word[0] in _ENDS
        return not HAN.match(self.text[place : place + 1])

    def governed(self, mention: Mention) -> bool:
        """Whether a preposition before a mention makes it another thing's: "case for a black phone"."""
        clause = re.split(r"[\n,;.!?()，。；！？|]", self.text[: mention.start])[-1]
        words = [word.key for word in tokenise(_LEADS.sub(lambda found: " " * len(found[0]), clause))]
        governor = next((word for word in reversed(words) if word in _GOVERNED), None)
        if governor is None:
            return False
        first, *allowed = _GOVERNED[governor]
        return mention.attribute in NAMES if first == "name" else mention.attribute not in allowed

    def without(self, spans: list[Span]) -> Reading:
        """The same with cuts in place of what was understood."""
        letters = list(self.text)
        for start, end in spans:
            letters[start:end] = CUT * (end - start)
        kept = {
            start: several
            for start, several in self.at.items()
            if not any(a < several[0].end and start < b for a, b in spans)
        }
        return Reading("".join(letters), kept)


@cache
def short_words() -> dict[str, Pair]:
    """What one character says behind a negation, 非皮, or before a name, 红裙子: colours, and a few materials.

    金 and 银 are metals too, 青 and 米 and 橙 more than colours.
    """
    colours = vocabulary().values("colour").items()
    return {
        "皮": ("material", "leather"),
        "棉": ("material", "cotton"),
        **{t.zh[0]: ("colour", key) for key, t in colours if len(t.zh) == 2 and t.zh[0] not in "金银青米橙"},
    }


def aligned(text: str) -> str:
    """A copy to read, as long as ``text`` and letter by letter: lower case and normal width."""
    table = {ord(letter): _plain(letter) for letter in set(text)}
    return text.translate(table)


def _plain(letter: str) -> str:
    if known := _LIKE.get(ord(letter)):
        return known
    folded = unicodedata.normalize("NFKC", letter).lower()
    if len(folded) != 1:
        return _FOREIGN if letter.isalnum() else " "
    if unicodedata.category(folded)[0] == "M":
        return _FOREIGN
    latin = folded.isascii() or "À" <= folded <= _FOREIGN
    return folded if latin or HAN.match(folded) or not folded.isalnum() else _FOREIGN
