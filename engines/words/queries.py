"""stub"""
from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class PR:
    lowest: Decimal | None = None
    highest: Decimal | None = None
    currency: str = ""
@dataclass(frozen=True)
class Wish:
    text: str
    wanted: tuple[tuple[str, str], ...] = ()
    unwanted: tuple[tuple[str, str], ...] = ()
    without: tuple[str, ...] = ()
    price: PR = PR()
def understand(text: str, locale: str = "") -> Wish:
    return Wish(text)
