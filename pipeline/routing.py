"""Which recipe serves which product: rules over category, price tier and locale, trials, fallbacks. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from pipeline.events import Product
from pipeline.keys import Recipe

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


@dataclass(frozen=True, slots=True)
class Rule:
    """A recipe, and the products it is for; what is left out does not narrow.

    ``categories`` and ``locales`` are what the product's begin with, ``tiers`` its whole tier; letters A to Z
    match in either case, all others as they are written: storage/quotes.py asks the same in SQL, whatever the
    database's locale. ``below`` takes products whose ``bucket`` is under it, a percentage.
    ``fallbacks`` answer in their order while the engine is down. ``reads`` are the fields of ``Product`` that
    the engine's answers depend on: they enter the fingerprint.
    """

    recipe: Recipe
    fallbacks: tuple[Recipe, ...] = ()
    reads: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    locales: tuple[str, ...] = ()
    below: int = 100

    @property
    def chain(self) -> tuple[Recipe, ...]:
        """The recipe and its fallbacks, in the order in which they are asked."""
        return (self.recipe, *self.fallbacks)

    @property
    def takes_all(self) -> bool:
        return not (self.categories or self.tiers or self.locales) and self.below >= 100

    def takes(self, product: Product) -> bool:
        """Whether the rule is for this product."""
        return (
            _begins(product.category, self.categories)
            and (not self.tiers or product.tier in self.tiers)
            and _begins(product.locale, self.locales)
            and (self.below >= 100 or bucket(product.product_id) < self.below)
        )

    def facts(self, product: Product) -> list[Any]:
        """What the engine reads of the merchant's words, by field, for the fingerprint."""
        stated = product.model_dump(mode="json", include=set(self.reads))
        return [[name, stated[name]] for name in sorted(self.reads)]

    @property
    def identity(self) -> list[Any]:
        """Changes whenever the rule may decide otherwise; JSON."""
        conditions = [self.categories, self.tiers, self.locales, self.below]
        return [self.recipe.key, [recipe.key for recipe in self.fallbacks], self.reads, conditions]


def choose(rules: Sequence[Rule], product: Product) -> Rule:
    """The first rule that takes the product; the last one takes every product."""
    return next((rule for rule in rules[:-1] if rule.takes(product)), rules[-1])


def bucket(product_id: str) -> int:
    """A number under 100 that is always the same for a product and even over many."""
    first = hashlib.sha256(product_id.encode()).digest()
    return (first[0] * 256 + first[1]) % 100


def folded(text: str) -> str:
    """A to Z in lower case, all else as it is: as SQL's ``lower`` does under the collation "C"."""
    return text.translate(_LOWER)


def _begins(text: str, beginnings: Sequence[str]) -> bool:
    return not beginnings or folded(text).startswith(tuple(folded(one) for one in beginnings))
