"""Finds the words of the vocabulary in running text, English and Chinese, the longest first.

English is read token by token, so that "pan" is not found in "panel"; Chinese has no spaces and is read
character by character. Of overlapping words the longest counts: a bow tie is no tie, 牛仔裤 is no 牛仔.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from engines.words.text import is_chinese
from engines.words.vocabulary import Vocabulary, spelling, vocabulary

_TOKEN = re.compile(r"[A-Za-zÀ-ɏ0-9]+(?:'[A-Za-z]+|')?")

_NOUNS = ("category", "product_type")
"""Their English words stand for the plural too; "glasses" on the other hand are not made of glass."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A value of an attribute named in a text, and the words that name it, from ``start`` to ``end``."""

    attribute: str
    value: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Word:
    """An English token as written and where it stands; ``key`` is how it is compared."""

    key: str
    start: int
    end: int


Values = tuple[tuple[str, str], ...]


class Lexicon:
    """Every word of a vocabulary, ready to be found."""

    def __init__(self, words: Vocabulary) -> None:
        exact, nouns, han = defaultdict(list), defaultdict(list), defaultdict(list)
        for attribute in words.attributes:
            for word, key in words.words(attribute):
                if is_chinese(word):
                    han[unicodedata.normalize("NFKC", word).casefold()].append((attribute, key))
                    continue
                tokens = tuple(token.key for token in tokenise(spelling(word)))
                exact[tokens].append((attribute, key))
                if attribute in _NOUNS:
                    nouns[_singular(tokens)].append((attribute, key))
        self._exact = {tokens: tuple(dict.fromkeys(found)) for tokens, found in exact.items()}
        self._nouns = {tokens: tuple(dict.fromkeys(found)) for tokens, found in nouns.items()}
        self._han = {text: tuple(dict.fromkeys(found)) for text, found in han.items()}
        self._longest = max(map(len, self._exact), default=0)
        self._longest_han = max(map(len, self._han), default=0)

    def find(self, text: str) -> list[Mention]:
        """Everything of the vocabulary that a text names, from left to right, in normal width and case."""
        text = unicodedata.normalize("NFKC", text).replace("’", "'")
        found = [*self._find_english(text), *self._find_han(text)]
        return sorted(found, key=lambda mention: (mention.start, mention.end, mention.attribute))

    def _find_english(self, text: str) -> Iterator[Mention]:
        tokens, at = tokenise(text), 0
        while at < len(tokens):
            for length in range(min(self._longest, len(tokens) - at), 0, -1):
                window = tokens[at : at + length]
                if values := self._values(tuple(token.key for token in window)):
                    yield from _mentions(values, text, window[0].start, window[-1].end)
                    at += length
                    break
            else:
                at += 1

    def _values(self, tokens: tuple[str, ...]) -> Values:
        plural = self._nouns.get(_singular(tokens), ())
        return tuple(dict.fromkeys((*self._exact.get(tokens, ()), *plural)))

    def _find_han(self, text: str) -> Iterator[Mention]:
        if not is_chinese(text):
            return
        lower, at = text.lower(), 0
        while at < len(text):
            for length in range(min(self._longest_han, len(text) - at), 0, -1):
                if values := self._han.get(lower[at : at + length]):
                    yield from _mentions(values, text, at, at + length)
                    at += length
                    break
            else:
                at += 1


def tokenise(text: str) -> list[Word]:
    """The English words and numbers of a text; what is Chinese in it yields nothing."""
    return [Word(found[0].casefold(), found.start(), found.end()) for found in _TOKEN.finditer(text)]


@cache
def lexicon() -> Lexicon:
    """The words of the vocabulary that comes with the package."""
    return Lexicon(vocabulary())


def _mentions(values: Values, text: str, start: int, end: int) -> Iterator[Mention]:
    for attribute, value in values:
        yield Mention(attribute, value, text[start:end], start, end)


def _singular(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """The last word without its plural: boxes, knives, sofas. Both sides are cut alike, so bus may be bu."""
    word = re.sub("fe$", "f", tokens[-1])
    for ending, instead in (("ves", "f"), ("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("xes", "x")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return (*tokens[:-1], word.removesuffix(ending) + instead)
    cut = len(word) > 2 and word.endswith("s") and not word.endswith("ss")
    return (*tokens[:-1], word[:-1] if cut else word)
