"""Sparse text vectors for a hybrid index: BM25 over English stems and Chinese pairs of characters.

A document's value of a token is BM25's saturated frequency (Robertson & Zaragoza 2009, "The Probabilistic Relevance
Framework: BM25 and Beyond", with texts weighted before saturation as in its BM25F); how rare a token is (IDF)
is left to the index, Qdrant's ``Modifier.IDF``. A dot product of a query with a document is then the BM25 score.

Tokens are English stems (Snowball's), numbers and model names as written, and of Chinese, Japanese and Korean every two
characters that stand together, as in Lucene's CJK analysis. A token's index is a hash of 32 bits: two given tokens
share one with a chance of 1 in 4.3 thousand million; of the 100,000 of a large index about one pair does.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import islice

from engines.words.lexicon import Mention, lexicon
from engines.words.text import is_chinese
from engines.words.vocabulary import vocabulary

DOCUMENT_TOKENS, QUERY_TOKENS = 512, 64
"""How many tokens are read of each; what comes after them counts for nothing."""

K1, B = 1.2, 0.75
"""How soon a repeated word says no more, and how much a long text is held against it: the usual values."""

AVERAGE = 32
"""Tokens of a usual document, assumed once and for all: the true average changes with every product, and all vectors
with it. The 54 products of the Vendure catalog have 30, title, category and description together."""

BRIDGE = 0.5
"""What a word's translation counts beside the word itself."""

_READ, _ASKED = 20_000, 1_000
"""Characters of a document and of a query that are looked at: more than the tokens that count usually take."""

_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af"
# Words of any script that has spaces, joined by hyphens or the like: t-shirt, WH-1000XM4, 2.5, men's.
_RUN = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+(?:[-'./][^\W_{_CJK}]+)*")
_IDEOGRAPH = re.compile(rf"[{_CJK}]")
_JOINT = re.compile(r"[-./]")
_NUMBER = re.compile(r"\d+(?:[.]\d+)?")

_ENGLISH = """
    a an the and or of for to in on at by with from as is are be was were it its this that these those there here i you
    he she we they me my your his her our their am do does did has have had will would can could should not no so if
    than then but into out up very just also which who what
"""
_STOP = frozenset(_ENGLISH.split())
_STOP_HAN = re.compile(
    r"请问|有没有|我想要?|想要|帮我找|一下|一[个件条双款只张种]|这[个件条双款只张种]|那[个件条双款只张种]|[的了吗呢吧啊与及]"
)
"""Where a run of Chinese is cut: 红色的裙子 holds 红色 and 裙子, and no 色的."""


@dataclass(frozen=True, slots=True)
class Sparse:
    """The indices of a vector in rising order, each once, and its values there. Both empty for a text of no word."""

    indices: list[int]
    values: list[float]


def document(parts: Sequence[tuple[str, float]]) -> Sparse:
    """The vector of a document of several texts. A text's weight is how often it counts: a title thrice, say.

    Of all parts together 512 tokens are read, in their order; so what tells most goes first.
    """
    counts: defaultdict[str, float] = defaultdict(float)
    length, left = 0.0, DOCUMENT_TOKENS
    for text, weight in parts:
        found = list(islice(tokens(text), left))
        left -= len(found)
        length += weight * len(found)
        for token in found:
            counts[token] += weight
    slack = K1 * (1 - B + B * length / AVERAGE)
    return _vector(
        {token: count * (K1 + 1) / (count + slack) for token, count in counts.items() if count > 0}
    )


def query(text: str) -> Sparse:
    """The vector of a query: its words at 1, and at half of it what the vocabulary calls them in the other language.

    So 红色连衣裙 finds a document that only says "red dress", and the other way round.
    """
    return _vector({token: weight for token, (weight, _) in _asked(text).items()})


def spelled(text: str) -> dict[int, str]:
    """The words of a query by their index, as they are written, those of the other language too: for saying why a
    document was found."""
    return {_index(token): written for token, (_, written) in _asked(text).items()}


def _asked(text: str) -> dict[str, tuple[float, str]]:
    """The tokens of a query, each with its weight and as it is written."""
    text = text[:_ASKED]
    found: dict[str, tuple[float, str]] = {}
    for token, written in islice(_read(text), QUERY_TOKENS):
        found.setdefault(token, (1.0, written))
    for token, written in islice(_translated(text), QUERY_TOKENS):
        found.setdefault(token, (BRIDGE, written))
    return found


def tokens(text: str) -> Iterator[str]:
    """The tokens of a text in their order, stop words left out."""
    return (token for token, _ in _read(text))


def _read(text: str) -> Iterator[tuple[str, str]]:
    """Every token with the word that it stands for."""
    folded = unicodedata.normalize("NFKC", text[:_READ]).casefold().replace("’", "'")
    for run in _RUN.finditer(folded):
        if _IDEOGRAPH.match(run[0]):
            for part in _STOP_HAN.split(run[0]):
                yield from ((pair, pair) for pair in _pairs(part))
        else:
            yield from _words(run[0])


def _pairs(run: str) -> Iterator[str]:
    """Every two characters that stand together; one that stands alone for itself."""
    if run:
        yield from (run[at : at + 2] for at in range(max(1, len(run) - 1)))


def _words(run: str) -> Iterator[tuple[str, str]]:
    """The stems of a word; of a compound those of its parts, and the whole of it in one: wh, 1000xm4, wh1000xm4."""
    parts = [run] if _NUMBER.fullmatch(run) else _JOINT.split(run)
    yield from ((_stem(part), part) for part in parts if part not in _STOP)
    if len(parts) > 1:
        yield _stem("".join(parts)), run


@lru_cache(maxsize=10_000)
def _stem(word: str) -> str:
    # The class itself: the package's own choice may be a compiled library of another release, with other stems.
    from snowballstemmer.english_stemmer import EnglishStemmer

    stem: str = EnglishStemmer().stemWord(word)
    return stem


def _translated(text: str) -> Iterator[tuple[str, str]]:
    for mention in _narrowest(lexicon().find(text)):
        term = vocabulary().values(mention.attribute)[mention.value]
        yield from _read(term.en if is_chinese(mention.text) else term.zh)


def _narrowest(mentions: Sequence[Mention]) -> Iterator[Mention]:
    """All that the words name, but no department where a word names something narrower too: a kitchen, a watch."""
    narrow = {mention.start for mention in mentions if mention.attribute != "category"}
    yield from (one for one in mentions if one.attribute != "category" or one.start not in narrow)


def _vector(weights: dict[str, float]) -> Sparse:
    """By index. Where two tokens share one, their values are added."""
    values: dict[int, float] = {}
    for token, weight in weights.items():
        values[_index(token)] = values.get(_index(token), 0.0) + weight
    return Sparse(sorted(values), [values[index] for index in sorted(values)])


def _index(token: str) -> int:
    return int.from_bytes(blake2b(token.encode(), digest_size=4).digest(), "big")
