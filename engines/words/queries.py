"""What a search query says, in English, Chinese or both: what is wanted, what is not, and for how much.

Only what is understood is taken out of the text; everything else stays in it and is searched by as it is. Less is
read than could be: a filter that nobody meant hides what was looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from engines.words.comparisons import comparison
from engines.words.negations import refusals
from engines.words.prices import PriceRange, Span, prices
from engines.words.readings import NAMES, Pair, Reading, aligned, short_words
from engines.words.text import HAN, one_line
from engines.words.vocabulary import vocabulary

__all__ = ["Pair", "PriceRange", "Wish", "understand"]

_READ = 400
"""Characters that are looked at. A query is short, and who pastes a page means its words, not its grammar."""

_DANGLING = re.compile(r"[\s,，、;；:]*(?:\b(?:and|but|or|for)\s*|但是?|而且|并且)?$")
_LEADING = re.compile(r"^[\s,，、;；:.。]*(?:(?:and|but|or)\b\s*|但是?|而且|并且)?")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a query asks for. ``price``, ``unwanted`` and ``without`` are filters, ``wanted`` is a preference.

    ``text`` is to be embedded: the query as written, less its prices, its refusals and what only points to a photo
    ("this, but"). It may be empty.

    ``wanted`` are values that a hit should have and may lack: they raise it. Beside a photo they are what the thing
    in it is to turn to, attribute by attribute: "in red" replaces the photo's colour. "more formal" is told by the
    styles and scenes that it means; a plain "cheap" or 便宜 is no value and no price, and stays in the text.

    ``unwanted`` are values that no hit may have. ``without`` are refused words outside the vocabulary, or of parts
    ("without a cable"), in lower case: no hit may have them in its title or tags. In a description they may be there
    to say the same ("no laces"), so it must not be searched for them.

    ``price`` is a filter for products whose price is known; without a currency, in whatever a price is in.
    """

    text: str
    wanted: tuple[Pair, ...] = ()
    unwanted: tuple[Pair, ...] = ()
    without: tuple[str, ...] = ()
    price: PriceRange = field(default_factory=PriceRange)


def understand(text: str, locale: str = "") -> Wish:
    """What ``text`` says, by the vocabulary that comes with the package. It never fails.

    ``locale`` (BCP 47) decides what "$", "¥", "kr" and "pounds" are. Only the first 400 characters are read, the
    others are kept as text.
    """
    whole = one_line(text, len(text))
    beginning = aligned(whole[:_READ])
    priced, price = prices(beginning, locale)
    reading = Reading.of(beginning).without(priced)
    refused = refusals(reading)
    reading = reading.without(refused.spans)
    compared = comparison(reading)
    reading = reading.without(compared.spans)
    silent = [*refused.silent, *compared.silent]
    wanted = [pair for _, pair in sorted([*_wanted(reading, silent), *compared.wanted])]
    # "sleeveless, not strapless": who wants a value refuses a kind of it that the vocabulary does not tell.
    unwanted = [pair for pair in (*refused.values, *compared.unwanted) if pair not in wanted]
    return Wish(
        text=_less(whole, [*priced, *refused.spans, *compared.spans]),
        wanted=tuple(dict.fromkeys(wanted)),
        unwanted=tuple(dict.fromkeys(unwanted)),
        without=tuple(dict.fromkeys(refused.words)),
        price=price,
    )


def _wanted(reading: Reading, silent: list[Span]) -> list[tuple[int, Pair]]:
    """Every value that the thing asked for is said to have, and what it is, with where that stands."""
    found: list[tuple[int, Pair]] = []
    names: list[Pair] = []
    for start in sorted(reading.at):
        several = reading.at[start]
        if any(a <= start < b for a, b in silent) or not reading.tells(several[0]):
            continue
        heads = [
            one for one in reading.names(start)[:1] if reading.is_head(one) and not reading.governed(one)
        ]
        names += [(one.attribute, one.value) for one in heads]
        found += [
            (start, (one.attribute, one.value))
            for one in several
            if one in heads or (one.attribute not in NAMES and not reading.governed(one))
        ]
        if heads and (short := _short(reading, start)):
            found.append((start - 1, short))
    return [(start, pair) for start, pair in found if not _meaningless(pair, names)]


def _short(reading: Reading, start: int) -> Pair | None:
    """What one character says right before a name: 红裙子, 皮沙发. Behind another word it may be a part of that."""
    before, letter = reading.text[max(0, start - 2) : start - 1], reading.text[start - 1 : start]
    alone = not HAN.match(before) or before in "的小大长短新件条双只个款"
    return short_words().get(letter) if start and alone else None


def _meaningless(pair: Pair, names: Iterable[Pair]) -> bool:
    """Whether an attribute says nothing of a thing of that name: green food is not of the colour green."""
    words = vocabulary()
    its = {value for _, value in names}
    its |= {words.category_of(value) for attribute, value in names if attribute == "product_type"}
    return bool(its & set(words.attributes[pair[0]].not_for))


def _less(text: str, spans: list[Span]) -> str:
    """The text without the spans, and without the comma or the "and" that joined them to it."""
    if not spans:
        return text
    kept, at = [], 0
    for start, end in sorted(spans):
        part = _DANGLING.sub("", text[at : max(at, start)])
        kept.append(_LEADING.sub("", part) if at else part)
        at = max(at, end)
    kept.append(_LEADING.sub("", text[at:]) if at else text[at:])
    return " ".join(" ".join(filter(None, kept)).split())
