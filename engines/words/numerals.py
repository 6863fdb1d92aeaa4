"""Numbers as people write them: 1,299.00 and 1.299,00, 1k, 1.5万, 三百, 一千五."""

from __future__ import annotations

import re
from decimal import Decimal

HAN_DIGITS = "零〇一二两三四五六七八九十百千万"


def written(digits: str, times: str = "") -> Decimal:
    """The value of digits with marks between them, times k, 百, 千 or 万.

    The last mark is a decimal one where one or two digits follow it; three make a thousand.
    """
    number = digits.replace(" ", "").replace("'", "")
    decimals = re.search(r"[.,](\d{1,2})$", number)
    whole = re.sub(r"[.,]", "", number[: decimals.start()] if decimals else number)
    value = Decimal(f"{whole}.{decimals[1]}" if decimals else whole)
    return value * {"": 1, "百": 100, "千": 1000, "万": 10_000}.get(times, 1000)


def plain(value: Decimal) -> str:
    """Without the decimals that say nothing: 40.0 is 40."""
    return f"{value.quantize(Decimal(1)) if value == value.to_integral_value() else value:f}"


def spoken(numeral: str) -> Decimal:
    """三百 is 300, 一千五 is 1500, 两万三 is 23000, 一百零五 is 105; 百 alone is 100."""
    total = section = digit = 0
    unit = 1
    for character in numeral:
        if character in "零〇":
            unit = 1
        elif character in "十百千":
            unit = {"十": 10, "百": 100, "千": 1000}[character]
            section, digit = section + (digit or 1) * unit, 0
        elif character == "万":
            unit = 10_000
            total, section, digit = total + (section + digit or 1) * unit, 0, 0
        else:
            digit = "一二三四五六七八九".find(character.replace("两", "二")) + 1
    # The last digit counts in tenths of the unit before it, unless a zero stands between.
    return Decimal(total + section + digit * (unit // 10 if unit > 10 else 1))
