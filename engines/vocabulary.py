"""The vocabulary of tags: every value in both languages, and which ImageNet classes are evidence for it."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from engines.protocols import Bilingual

FILE = "vocabulary.toml"
"""Beside this module. Engines whose answers it shapes name it as their data."""


class Term(BaseModel):
    """A word of the shop in English and Chinese; ``words`` are what merchants call it besides, in either."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    en: str = Field(min_length=1)
    zh: str = Field(min_length=1)
    words: tuple[str, ...] = ()

    @property
    def text(self) -> Bilingual:
        return Bilingual(self.en, self.zh)


class Attribute(Term):
    """Something that can be told of a product, and the values it can take.

    ``only_for`` and ``not_for`` are categories or product types in which alone, or never, it means something.
    ``many`` is how many values a product may have, ``floor`` the least confidence of one that is shown.
    The values of ``category`` and ``product_type`` are the categories and their types.
    """

    values: dict[str, Term] = Field(default_factory=dict)
    only_for: tuple[str, ...] = ()
    not_for: tuple[str, ...] = ()
    many: int = Field(default=1, ge=1)
    floor: float = Field(default=0.5, ge=0, le=1)


class ProductType(Term):
    """What a product is. ``article`` is false for English plurals and mass nouns (jeans, bread).

    ``garment`` is the garment head's word for it, ``kind_of`` the wider types of which it is one.
    """

    article: bool = True
    classes: tuple[str, ...] = ()
    garment: str = ""
    kind_of: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _can_be_told(self) -> Self:
        if not self.classes and not self.garment:
            raise ValueError(f"product type {self.en} needs classes or a garment: nothing would speak for it")
        return self


class Category(Term):
    """A department of the shop. ``classes`` testify for it without naming a product type."""

    classes: tuple[str, ...] = ()
    types: dict[str, ProductType]


@dataclass(frozen=True, slots=True)
class Weighed:
    """How probable each category and, within each category, each product type is; both by key."""

    categories: Mapping[str, float]
    types: Mapping[str, Mapping[str, float]]


class Vocabulary(BaseModel):
    """The whole file, checked: known categories, and no key, label or class used twice."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attributes: dict[str, Attribute]
    categories: dict[str, Category]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        types = [(key, item) for category in self.categories.values() for key, item in category.types.items()]
        for what, names in {
            "product type": [key for key, _ in types],
            "English label of a product type": [item.en for _, item in types],
            "Chinese label of a product type": [item.zh for _, item in types],
            "ImageNet class": self.classes(),
            "garment": [item.garment for _, item in types if item.garment],
        }.items():
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise ValueError(f"{what} used twice: {', '.join(twice)}")
        for category in self.categories.values():
            for key, item in category.types.items():
                unknown = set(item.kind_of) - set(category.types)
                if unknown:
                    raise ValueError(
                        f"product type {key} is a kind of unknown types: {', '.join(sorted(unknown))}"
                    )
        known = {*self.categories, *(key for key, _ in types)}
        for key, attribute in self.attributes.items():
            unknown = {*attribute.only_for, *attribute.not_for} - known
            if unknown:
                raise ValueError(
                    f"attribute {key} names unknown categories or types: {', '.join(sorted(unknown))}"
                )
        return self

    def classes(self) -> list[str]:
        """Every ImageNet class that is evidence for something, by name."""
        return [
            name
            for category in self.categories.values()
            for names in (category.classes, *(item.classes for item in category.types.values()))
            for name in names
        ]

    def garment(self, word: str) -> tuple[str, str]:
        """The category and product type of the garment head's word. Raises KeyError for an unknown one."""
        for key, category in self.categories.items():
            for name, item in category.types.items():
                if item.garment == word:
                    return key, name
        raise KeyError(word)

    def values(self, attribute: str) -> Mapping[str, Term]:
        """Every value that an attribute can take, by key. Raises KeyError for an unknown attribute."""
        if attribute == "category":
            return self.categories
        if attribute == "product_type":
            return {
                key: item for category in self.categories.values() for key, item in category.types.items()
            }
        return self.attributes[attribute].values

    def category_of(self, product_type: str) -> str:
        """The category that a product type belongs to. Raises KeyError for an unknown one."""
        for key, category in self.categories.items():
            if product_type in category.types:
                return key
        raise KeyError(product_type)

    def applies(self, attribute: str, category: str | None, product_type: str | None = None) -> bool:
        """Whether an attribute means something for a product. Where the category is unknown, one that is only
        for some does not."""
        asked = self.attributes[attribute]
        its = {key for key in (category, product_type) if key is not None}
        if asked.only_for:
            return bool(its & set(asked.only_for))
        return not its & set(asked.not_for)

    def weigh(self, probabilities: Mapping[str, float]) -> Weighed:
        """Sum the classes' probabilities: a product type over its classes, a category over all of its own."""
        types = {
            key: {
                name: sum(probabilities.get(c, 0.0) for c in item.classes)
                for name, item in category.types.items()
            }
            for key, category in self.categories.items()
        }
        categories = {
            key: sum(types[key].values()) + sum(probabilities.get(c, 0.0) for c in category.classes)
            for key, category in self.categories.items()
        }
        return Weighed(categories, types)


@cache
def vocabulary() -> Vocabulary:
    """The vocabulary that comes with the package."""
    return Vocabulary.model_validate(tomllib.loads(Path(__file__).with_name(FILE).read_text("utf-8")))
