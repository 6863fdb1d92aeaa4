"""What a query does not want: "not striped", "without laces", "-red", 不要条纹, 除了黑色.

A negation becomes a filter, so it is read only where all of it is understood: "not just for kids", "non-slip",
"no-iron", 无袖 and 不锈钢 refuse nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache

from engines.words.lexicon import Mention
from engines.words.prices import Span
from engines.words.readings import CUT, Pair, Reading, short_words
from engines.words.vocabulary import vocabulary

# Anything may be refused by these, a word of the vocabulary or not.
_ANYTHING = (
    r"\b(?:without|with no|but no|except(?: for)?|excluding|apart from|other than|(?:any|every)thing but)(?![\w'-])"
    r"|(?<=[^\s,;.]\s)no(?=\s)|(?<=[,;]\s)no(?=\s)|(?<![^\s,;])-(?=[a-zɏ\u4e00-\u9fff\"])"
    r"|我?不想?要|别要|不带|不含|(?<!有)没有|除了|除(?=[^\n,，了]{1,12}(?:以外|之外))"
)
# By these only what the vocabulary has: "not for me", 无印良品 and 非洲 go on in ways nobody can foresee.
_KNOWN = (
    r"\b(?:(?:(?:that|which) )?(?:is|are|does|do)(?: not|n't)(?: have)?"
    r"|(?:i )?(?:don't|do not) (?:want|like)|(?:but )?not|nothing|neither|no|non|instead of|rather than)(?![\w'])"
    r"|不喜欢|(?<!是)不是|非|无|没|不"
)
_CUE = re.compile(rf"(?P<anything>{_ANYTHING})|(?P<known>{_KNOWN})")
_PARTS = re.compile(r"without|with no|but no|no|不带|不含|没有|无|没")
"""They speak of what a thing has: a lamp "without a cable" is not asked to be no cable."""

_NOT_MEANT = re.compile(
    r"\b(?:why|if) not\b"
    r"|\bnot (?:just|only|too|so|very|overly|really|necessarily|sure|all|quite|even)\b|\bwith or without\b"
    r"|\bno\.? ?\d+|\b(?:no|non)[ -](?:iron|slip|stick|show|name|skid|tools?)\b"
    r"|不要太|不要求|不是很|不是太|不只是?|不仅|不止|不但|不那么|没那么|没有那么|不太|\bless\b"
)
"""What looks like a refusal and is none; what it speaks of is not asked for either."""

_FILLER = re.compile(
    r"(?:[\s\"-]+|\b(?:an?|any|the|in|made of|made from|with|for|of|real|genuine|visible)\b(?!['-])"
    r"|有|是|要|任何|穿|那种|这种|用)*"
)
_JOINT = re.compile(r"\s*(?:,\s*)?(?:(?:or|and|nor)\s+(?:an? |any |the |no )?|或者?|和|、|跟|以及|,\s+)")
_CLAUSE_END = re.compile(r"[\n,;.，。；]")
_FREE = re.compile(r"[ -]free\b")
_GAP = re.compile(r" ?")
_PREPOSITIONS = """
    for in with under at from on by to and or but of that which is are the a an if please than as it size
"""
_STOP = frozenset(_PREPOSITIONS.split())
_LATIN = re.compile(r"[a-zà-ɏ][a-zà-ɏ0-9]*(?:['-][a-zà-ɏ0-9]+)*")
_HAN = re.compile(r"[\u3400-\u9fff]{1,6}?(?=的|以外|之外|[和或、]|[^\u3400-\u9fff]|$)")
_TAIL = re.compile(r"(?:\s*\bones?\b)?\"?(?:以外|之外)?的?")
_AFTER_SHORT = re.compile(r"的|色|[^\u3400-\u9fff]|$")

_NONE = {"pattern": ("striped", "checked", "printed"), "sleeve_length": ("short", "long")}
"""Who wants no pattern or no sleeves refuses these."""


@cache
def _none() -> list[tuple[re.Pattern[str], list[Pair]]]:
    """What names an attribute of which there may be none, with the values refused by refusing it."""
    found = []
    for attribute, values in _NONE.items():
        term = vocabulary().attributes[attribute]
        words = "|".join(sorted((term.en, term.zh, *term.words), key=len, reverse=True))
        whole = re.compile(rf"(?:{words})(?:s?(?![a-z])|(?<=[\u4e00-\u9fff]))")
        found.append((whole, [(attribute, value) for value in values]))
    return found


@dataclass
class Refusals:
    """``spans`` are where the refusals stand, ``silent`` what is neither refused nor asked for."""

    spans: list[Span] = field(default_factory=list)
    silent: list[Span] = field(default_factory=list)
    values: list[Pair] = field(default_factory=list)
    words: list[str] = field(default_factory=list)


def refusals(reading: Reading) -> Refusals:
    """All that a query refuses, from left to right."""
    found = Refusals()
    named = sorted((one.start, one.end) for several in reading.at.values() for one in several)
    _silence(reading, named, found)
    at = 0
    for cue in _CUE.finditer(reading.text):
        unmeant = any(start <= cue.start() < end for start, end in found.silent)
        if cue.start() < at or unmeant:
            continue
        phrase = _Phrase(reading, cue)
        if phrase.read():
            at = phrase.end
            found.spans.append((cue.start(), phrase.end))
            found.values += phrase.values
            found.words += phrase.words
        found.silent += phrase.silent
    for start, several in reading.at.items():
        free = _FREE.match(reading.text, several[0].end)
        one = several[0]
        if free and one.attribute in ("material", "pattern") and _known_behind(reading, free):
            found.spans.append((start, free.end()))
            found.values.append((one.attribute, one.value))
    found.spans.sort()
    return found


def _silence(reading: Reading, named: list[Span], found: Refusals) -> None:
    for cue in _NOT_MEANT.finditer(reading.text):
        found.silent.append(cue.span())
        end = cue.start() + len(_CLAUSE_END.split(reading.text[cue.start() :], maxsplit=1)[0])
        values = (span for span in named if cue.start() <= span[0] < end and reading.values(span[0]))
        if first := next(values, None):
            found.silent.append(first)


def _known_behind(reading: Reading, free: re.Match[str]) -> bool:
    rest = reading.text[free.end() :].lstrip(" ")
    return len(reading.text) - len(rest) in reading.at or rest[:1] in ("", CUT, ",", ".")


class _Phrase:
    """What stands behind a cue, read item by item until something is not understood."""

    def __init__(self, reading: Reading, cue: re.Match[str]) -> None:
        self.reading, self.text = reading, reading.text
        # 不带帽: the mention 带帽 begins inside the cue.
        self.start = next(
            (place for place in range(cue.start() + 1, cue.end()) if place in reading.at), cue.end()
        )
        self.cue_end = cue.end()
        self.anything = cue["anything"] is not None and self.start == cue.end()
        self.of_parts = bool(_PARTS.fullmatch(cue[0]))
        self.minus = cue[0] == "-"
        self.adjacent = cue[0] in ("无", "非", "没", "不")
        self.end = self.start
        self.silent: list[Span] = []
        self.values: list[Pair] = []
        self.words: list[str] = []

    def read(self) -> bool:
        """Whether anything was refused; then ``end`` is behind it."""
        place = self.start if self.adjacent else self._behind(_FILLER, self.start)
        end = self._item(place)
        if end is None and self.start < self.cue_end:
            # 不带帽子: what began inside the cue was no word of its own.
            end = self._free(self.cue_end)
        if end is None:
            return False
        while joint := None if self.minus else _JOINT.match(self.text, end):
            further = self._further(joint, end)
            if further is None:
                break
            end = further
        self.end = self._behind(_TAIL, end)
        return True

    def _further(self, joint: re.Match[str], end: int) -> int | None:
        """The next of a list. "no red and cotton" refuses red alone, "no red, blue dress" asks for blue."""
        place = joint.end()
        if not re.search(r"or|或|、", joint[0]):
            if self.words and not self.values and joint[0].strip() not in (",", "，"):
                return self._free(place) if place not in self.reading.at else None
            following = self.reading.values(place)
            last = self.values[-1][0] if self.values else None
            if not following or following[0].attribute != last:
                return None
            behind = self._behind(_GAP, following[0].end)
            if joint[0].strip() in (",", "，") and behind in self.reading.at:
                return None
        return self._item(place)

    def _item(self, place: int) -> int | None:
        """Takes what begins at a place; gives where it ends, None where it is not understood."""
        known = self._attribute(place) or self._value(place) or self._name(place) or self._short(place)
        return known or (self._free(place) if self.anything else None)

    def _attribute(self, place: int) -> int | None:
        for whole, values in _none():
            if place not in self.reading.at and (found := whole.match(self.text, place)):
                self.values += values
                return found.end()
        return None

    def _value(self, place: int) -> int | None:
        """One value; or several as a phrase, since "no black leather" refuses neither black nor leather."""
        run: list[Mention] = []
        while several := self.reading.values(place):
            run.append(several[0])
            place = self._behind(_GAP, several[0].end)
            if self.minus:
                break
        if not run or not (self.minus or self.reading.tells(run[-1])):
            self.silent += [(one.start, one.end) for one in run]
            return None
        if len(run) == 1:
            self.values.append((run[0].attribute, run[0].value))
        else:
            self.words.append(self.text[run[0].start : run[-1].end])
        return run[-1].end

    def _name(self, place: int) -> int | None:
        several = self.reading.names(place)
        if not several or not (self.minus or self.reading.is_head(several[0])):
            return None
        one = several[0]
        if self.of_parts:
            self.words.append(one.text)
        else:
            self.values.append((one.attribute, one.value))
        return one.end

    def _short(self, place: int) -> int | None:
        pair = short_words().get(self.text[place : place + 1])
        following = place + 1 in self.reading.at or _AFTER_SHORT.match(self.text, place + 1)
        if pair is None or not following or place in self.reading.at:
            return None
        self.values.append(pair)
        return place + 1

    def _free(self, place: int) -> int | None:
        if han := _HAN.match(self.text, place):
            self.words.append(han[0])
            return han.end()
        run: list[re.Match[str]] = []
        while (word := _LATIN.match(self.text, place)) and word[0] not in _STOP and len(run) < 3:
            if run and place in self.reading.at and run[0].start() not in self.reading.at:
                break  # "without laces red": the next word tells of the thing again.
            run.append(word)
            place = self._behind(_GAP, word.end())
            if self.minus:
                break
        # Where a phrase ends nobody can tell: of three words or more the first is meant for sure.
        run = run if len(run) < 3 else run[:1]
        if not run:
            return None
        self.words.append(self.text[run[0].start() : run[-1].end()])
        return run[-1].end()

    def _behind(self, pattern: re.Pattern[str], place: int) -> int:
        found = pattern.match(self.text, place)
        return found.end() if found else place
