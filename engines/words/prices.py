"""Price bounds in plain text, English and Chinese: "under $50", "20-40 euros", 200块以下, 不超过三百元.

A number is a price only where it is bounded and a currency, a word for a price, or the end of the phrase says so:
"iPhone 12", "500ml", "size 42", "kids under 3" and "$50 gift card" hold none.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from decimal import Decimal

from engines.words.numerals import HAN_DIGITS, plain, spoken, written

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class PriceRange:
    """From ``lowest`` to ``highest``, both included, None where open. ``currency`` is its ISO 4217 code, empty
    where none was named."""

    lowest: Decimal | None = None
    highest: Decimal | None = None
    currency: str = ""

    def __str__(self) -> str:
        low, high = ("" if bound is None else plain(bound) for bound in (self.lowest, self.highest))
        bounds = f"{low}–{high}" if low and high else f"≥ {low}" if low else f"≤ {high}" if high else ""
        return f"{bounds} {self.currency}".strip()


@dataclass(frozen=True, slots=True)
class _Amount:
    start: int
    end: int
    value: Decimal
    currency: str
    """As written, empty where none is."""


ABOUT = Decimal("0.2")
"""How far from "about $50" a price may be, as a share of it."""

_SIGNS = {
    **{"us$": "USD", "a$": "AUD", "au$": "AUD", "c$": "CAD", "ca$": "CAD", "hk$": "HKD", "nt$": "TWD"},
    **{"s$": "SGD", "nz$": "NZD", "r$": "BRL", "$": "USD", "£": "GBP", "€": "EUR", "¥": "CNY", "₹": "INR"},
    **{"₩": "KRW", "₽": "RUB", "zł": "PLN", "rmb": "CNY", "dollar": "USD", "buck": "USD", "euro": "EUR"},
    **{"quid": "GBP", "pound": "GBP", "yuan": "CNY", "kr": "", "kronor": "", "kroner": "", "美元": "USD"},
    **{
        "美金": "USD",
        "欧元": "EUR",
        "英镑": "GBP",
        "人民币": "CNY",
        "港币": "HKD",
        "港元": "HKD",
        "日元": "JPY",
    },
    **{"元": "CNY", "块钱": "CNY", "块": "CNY"},
    **{
        code.lower(): code
        for code in ("USD", "EUR", "GBP", "CNY", "JPY", "CHF", "SEK", "NOK", "DKK", "PLN", "CAD")
    },
    **{code.lower(): code for code in ("AUD", "NZD", "HKD", "INR")},
}
_LOCAL = {
    "$": {"CA": "CAD", "AU": "AUD", "NZ": "NZD", "HK": "HKD", "SG": "SGD", "TW": "TWD", "MX": "MXN"},
    "¥": {"ja": "JPY", "JP": "JPY"},
    "元": {"HK": "HKD", "TW": "TWD"},
    "kr": {
        "sv": "SEK",
        "da": "DKK",
        "nb": "NOK",
        "nn": "NOK",
        "no": "NOK",
        "SE": "SEK",
        "DK": "DKK",
        "NO": "NOK",
    },
}
"""What a sign means by the region or the language of a locale, where not the usual."""

_BEFORE = "|".join(
    re.escape(sign) for sign in sorted(_SIGNS, key=len, reverse=True) if sign < "\u4e00" or sign == "人民币"
)
_BEHIND = "|".join(
    re.escape(sign) + ("s?(?![a-zɏ])" if sign.isascii() and sign[-1].isalpha() else "")
    for sign in sorted(_SIGNS, key=len, reverse=True)
)
_DIGITS = r"\d{1,3}(?:[ ,.']\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d{1,9}(?:[.,]\d{1,2})?(?!\d)"
_AMOUNT = re.compile(
    rf"(?:(?<![a-zɏ])(?P<before>{_BEFORE})\s?|(?<![\d.,a-zɏ几数好上多半{HAN_DIGITS}]))"
    rf"(?:(?P<digits>{_DIGITS})(?P<times>\s?k(?![a-zɏ])|[百千万])?|(?P<han>[{HAN_DIGITS}]{{1,12}}))"
    rf"(?:\s?(?P<behind>{_BEHIND})|(?![\da-zɏ]))"
)
_AT_MOST_LEFT = re.compile(
    r"(?:(?<!not )(?<!no )\b(?:(?:for )?(?:under|below|less than|cheaper than|lower than)|up to|at most|no more than"
    r"|not more than|not over|not above|not exceeding|max(?:imum|\.)?(?: of)?|within|budget(?: of| is)?)\s*:?|<=?"
    r"|(?:不超过|不高于|不多于|不大于|不到|(?<!不)(?:低于|少于|小于)|最多|至多|预算)[是在为约]?)\s*$"
)
_AT_LEAST_LEFT = re.compile(
    r"(?:(?<!not )(?<!no )\b(?:over|above|more than|at least|no less than|not less than|not under|not below|from"
    r"|starting (?:at|from)|min(?:imum)?(?: of)?)|>=?"
    r"|(?:不低于|不少于|不小于|(?<!不)(?:高于|超过|多于|大于)|至少|最少|起码))\s*$"
)
_ABOUT_LEFT = re.compile(r"(?:\b(?:around|about|approx(?:imately)?\.?|roughly)|大概|大约|约|~)\s*$")
_AT_MOST_RIGHT = re.compile(
    r"\s*(?:(?:or|and) (?:less|under|below|cheaper)\b(?! than)|max\b|以下|以内|之内|之下|封顶)"
)
_AT_LEAST_RIGHT = re.compile(
    r"\s*(?:\+|(?:or|and) (?:more|up|above|over)\b|及?以上|之上|起(?![\u4e00-\u9fff]))"
)
_ABOUT_RIGHT = re.compile(r"\s*(?:or so\b|左右|上下)")
_RANGE = re.compile(r"\s*(?:-|~|to|and|到|至|和)\s*")
_BETWEEN = re.compile(r"(?:\b(?:between|from)|从|介于|在)\s*$")
_WITHIN = re.compile(r"之间|以内")
_OF_PRICE = re.compile(
    r"(?:\b(?:price[ds]?|cost(?:s|ing)?)(?: is| at| of)?\s*:?|(?:价格|价位|售价|价钱)[在为是]?:?)\s*$"
)
_OF_MONEY = re.compile(r"budget|cheaper|预算")
_PHRASE_END = re.compile(
    r"\s*(?:$|[\n,;.!?)，。；！？、的]|\s(?:for|in|with|and|but|please)\b|\s[\u4e00-\u9fff])"
)
_NO_PRICE = re.compile(
    r"(?:\b(?:kids?|child(?:ren)?|bab(?:y|ies)|toddlers?|boys?|girls?|m[ae]n|wom[ae]n|adults?|teens?|people|age[sd]?"
    r"|anyone|players?|sizes?|weigh(?:t|s|ing)|years?)(?: of)?|尺码|码|年龄|身高|体重|适合)\s*$"
)
"""What is counted in years, sizes or weight."""

_WINDOW = 32
"""Characters before an amount that are looked at."""


def prices(text: str, locale: str = "") -> tuple[list[Span], PriceRange]:
    """Where a lower-case text speaks of prices, and what it allows. Of two phrases that set one bound the last
    counts. A "$" is the locale's dollar, else the American one; "kr" is only known by the locale."""
    amounts = deque(
        _Amount(found.start(), found.end(), _value(found), _sign(found))
        for found in _AMOUNT.finditer(text)
        # Ten pounds of iron are no price.
        if _sign(found) != "pound" or locale.endswith(("GB", "IE"))
    )
    spans: list[Span] = []
    lowest = highest = None
    currency = ""
    while amounts:
        one = amounts.popleft()
        found = _range(text, one, amounts[0]) if amounts else None
        if found:
            amounts.popleft()
        else:
            found = _bound(text, one)
        if found:
            spans.append(found.span)
            lowest = lowest if found.lowest is None else found.lowest
            highest = highest if found.highest is None else found.highest
            currency = _currency(found.sign, locale) or currency
    return spans, PriceRange(lowest, highest, currency)


@dataclass(frozen=True, slots=True)
class _Bounds:
    span: Span
    lowest: Decimal | None
    highest: Decimal | None
    sign: str


def _range(text: str, one: _Amount, other: _Amount) -> _Bounds | None:
    joint = _RANGE.fullmatch(text, one.end, other.start)
    sign = one.currency or other.currency
    if not joint or _SIGNS.get(other.currency or sign) != _SIGNS.get(sign):
        return None
    start, between = _left(text, one.start, _BETWEEN)
    start, priced = _left(text, start, _OF_PRICE)
    within = _WITHIN.match(text, other.end)
    end = _behind(text, within.end() if within else other.end)
    bare = bool(priced or within or (between and "and" in joint[0] and _PHRASE_END.match(text, other.end)))
    if not sign and (not bare or _left(text, start, _NO_PRICE)[1]):
        return None
    if "and" in joint[0] and not between:
        return None
    return _Bounds((start, end), min(one.value, other.value), max(one.value, other.value), sign)


def _bound(text: str, amount: _Amount) -> _Bounds | None:
    """What one amount bounds. Without a currency it can only be the most that is to be paid."""
    kinds = (
        (_AT_MOST_LEFT, _AT_MOST_RIGHT, None, amount.value),
        (_AT_LEAST_LEFT, _AT_LEAST_RIGHT, amount.value, None),
        (_ABOUT_LEFT, _ABOUT_RIGHT, amount.value * (1 - ABOUT), amount.value * (1 + ABOUT)),
    )
    before = [(*_left(text, amount.start, left), low, high) for left, _, low, high in kinds]
    behind = [(right.match(text, amount.end), low, high) for _, right, low, high in kinds]
    bounds = [(start, amount.end, low, high) for start, said, low, high in before if said]
    # What follows may be the next amount's: "over $20 and less than $40".
    bounds += [(amount.start, said.end(), low, high) for said, low, high in behind if said]
    if not bounds:
        return None
    start, end, low, high = bounds[0]
    priced = bool(_OF_MONEY.search(text[start : amount.start]))
    start, named = _left(text, start, _OF_PRICE)
    bare = low is None and (end > amount.end or _PHRASE_END.match(text, amount.end))
    if not (amount.currency or priced or named or (bare and not _left(text, start, _NO_PRICE)[1])):
        return None
    return _Bounds((start, _behind(text, end)), low, high, amount.currency)


def _left(text: str, end: int, pattern: re.Pattern[str]) -> tuple[int, bool]:
    """Where a pattern begins that stands right before ``end``, and whether it does."""
    start = max(0, end - _WINDOW)
    found = pattern.search(text[start:end])
    return (start + found.start(), True) if found else (end, False)


def _behind(text: str, end: int) -> int:
    return end + 1 if text.startswith("的", end) else end


def _value(found: re.Match[str]) -> Decimal:
    return spoken(found["han"]) if found["han"] else written(found["digits"], (found["times"] or "").strip())


def _sign(found: re.Match[str]) -> str:
    sign = found["before"] or found["behind"] or ""
    return sign if sign in _SIGNS else sign.removesuffix("s")


def _currency(sign: str, locale: str) -> str:
    language, *rest = locale.replace("_", "-").split("-")
    key = "kr" if sign in ("kronor", "kroner") else "$" if sign in ("dollar", "buck") else sign
    local = _LOCAL.get(key, {})
    named = next((local[region] for region in rest if region in local), local.get(language))
    return named or _SIGNS.get(sign, "")
