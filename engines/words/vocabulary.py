"""The vocabulary of tags: every value in both languages, and which ImageNet classes are evidence for it."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from engines.words.terms import Attribute, AttributeValue, Category, ProductType, Sentence, Term, spelling

__all__ = [
    "FILE",
    "Attribute",
    "AttributeValue",
    "Category",
    "ProductType",
    "Sentence",
    "Term",
    "Vocabulary",
    "Weighed",
    "spelling",
    "vocabulary",
]

FILE = "words/vocabulary.toml"
"""Below the folder ``engines``. Engines whose answers it shapes name it as their data."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """How probable each category and, within each category, each product type is; both by key."""

    categories: Mapping[str, float]
    types: Mapping[str, Mapping[str, float]]


class Vocabulary(BaseModel):
    """The whole file, checked: known categories, and no key, label or class used twice.

    ``objects`` are the object detector's labels with the category or product type that each means.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attributes: dict[str, Attribute]
    categories: dict[str, Category]
    objects: dict[str, str] = {}

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
            for name, value in attribute.values.items():
                self._check_references(key, name, value)
            _ = self._key_of_word[key]
        unknown = set(self.objects.values()) - known
        if unknown:
            raise ValueError(f"objects name unknown categories or types: {', '.join(sorted(unknown))}")
        return self

    def _check_references(self, attribute: str, name: str, value: AttributeValue) -> None:
        named = [(attribute, other) for other in value.like]
        named += [
            (asked, other) for rule in value.when for asked, several in rule.items() for other in several
        ]
        for asked, other in named:
            known = self.values(asked) if asked in self.attributes else {}
            if other not in known:
                raise ValueError(f"{attribute} {name} refers to an unknown {asked}: {other}")

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

    def words(self, attribute: str) -> Iterator[tuple[str, str]]:
        """Everything that a value of the attribute is called in either language, with the value's key."""
        for key, term in self.values(attribute).items():
            for word in dict.fromkeys((term.en, term.zh, *term.words)):
                yield word, key

    def attribute_of(self, text: str) -> str | None:
        """The attribute's key that a text names in either language, None where it names none."""
        return self._attribute_of_word.get(spelling(text))

    def value_of(self, attribute: str, text: str) -> str | None:
        """The value's key that a text names, be it the key, "Red " or "红色"; None where it names none."""
        key = text.strip().casefold()
        return key if key in self.values(attribute) else self._key_of_word[attribute].get(spelling(text))

    def akin(self, attribute: str, one: str, other: str) -> bool:
        """Whether two values do not contradict each other: a wider or narrower kind, or alike on a photo."""
        if attribute == "product_type":
            kinds = self.values(attribute)
            pairs = ((kinds[one], other), (kinds[other], one))
            return one == other or any(
                isinstance(kind, ProductType) and wider in kind.kind_of for kind, wider in pairs
            )
        values = self.attributes[attribute].values
        return one == other or (
            attribute != "category" and one in values[other].like + self._liked(values, other)
        )

    @staticmethod
    def _liked(values: Mapping[str, AttributeValue], name: str) -> tuple[str, ...]:
        return tuple(key for key, value in values.items() if name in value.like)

    @cached_property
    def _attribute_of_word(self) -> Mapping[str, str]:
        return {
            spelling(word): key
            for key, term in self.attributes.items()
            for word in (key, term.en, term.zh, *term.words)
        }

    @cached_property
    def _key_of_word(self) -> Mapping[str, Mapping[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for attribute in self.attributes:
            keys = found[attribute] = {}
            for word, key in self.words(attribute):
                if keys.setdefault(spelling(word), key) != key:
                    raise ValueError(
                        f"the word {word!r} leads to two values of {attribute}: {keys[spelling(word)]}, {key}"
                    )
        return found

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
    return Vocabulary.model_validate(tomllib.loads((Path(__file__).parents[1] / FILE).read_text("utf-8")))
