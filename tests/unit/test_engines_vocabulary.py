"""The vocabulary file: bilingual, without duplicates, over classes that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from engines.adapters.oid_detector import LABELS
from engines.kit import Kit
from engines.looks.sights import mean
from engines.words.vocabulary import Term, Vocabulary, vocabulary

TYPES = {"jeans": {"en": "jeans", "zh": "牛仔裤", "article": False, "classes": ["jeans"]}}
SMALL: dict[str, Any] = {
    "attributes": {
        "category": {"en": "category", "zh": "品类"},
        "product_type": {"en": "product type", "zh": "商品类型"},
        "colour": {
            "en": "colour",
            "zh": "颜色",
            "not_for": [],
            "values": {"black": {"en": "black", "zh": "黑色"}},
        },
        "sleeves": {"en": "sleeves", "zh": "袖长", "only_for": ["jeans"]},
    },
    "categories": {
        "clothing": {"en": "clothing", "zh": "服装", "classes": ["wool"], "types": TYPES},
        "bags": {
            "en": "bags",
            "zh": "箱包",
            "types": {"bag": {"en": "bag", "zh": "包", "classes": ["purse", "backpack"]}},
        },
    },
}


def terms() -> Iterator[tuple[str, Term]]:
    words = vocabulary()
    yield from words.attributes.items()
    for attribute in words.attributes:
        yield from words.values(attribute).items()


def test_every_value_is_bilingual() -> None:
    for key, term in terms():
        assert re.fullmatch(r"[a-z0-9]+([_-][a-z0-9]+)*", key), key
        assert term.en.isascii(), key
        assert not re.search(r"[\u4e00-\u9fff]", term.en), key
        assert re.search(r"[\u4e00-\u9fff]", term.zh), key


def test_the_values_of_an_attribute_are_told_apart_in_both_languages() -> None:
    words = vocabulary()
    for attribute in words.attributes:
        for language in ("en", "zh"):
            labels = [getattr(term, language) for term in words.values(attribute).values()]
            assert len(set(labels)) == len(labels), attribute


def test_a_word_in_either_language_or_a_key_leads_to_its_value() -> None:
    words = vocabulary()
    for attribute in words.attributes:
        for word, key in words.words(attribute):
            # A key of another value goes first: "glass" is the beer glass of the types, and what vases are of.
            assert words.value_of(attribute, f" {word.upper()}. ") in {key, word.casefold()}
    assert words.attribute_of("Color") == words.attribute_of("颜色") == "colour"
    assert words.value_of("colour", "octarine") is None


def test_what_follows_by_rule_has_rules_and_what_is_claimed_has_a_sentence() -> None:
    attributes = vocabulary().attributes
    assert {key for key, item in attributes.items() if item.by_rule} == {"style", "scene"}
    assert {key for key, item in attributes.items() if any(v.when for v in item.values.values())} == {
        "style",
        "scene",
    }
    assert all(value.sells for value in attributes["feature"].values.values())


def test_alike_is_alike_either_way_round() -> None:
    words = vocabulary()
    for one, other in (("navy", "blue"), ("grey", "black"), ("white", "beige")):
        assert words.akin("colour", one, other)
        assert words.akin("colour", other, one)
    assert not words.akin("colour", "red", "green")
    assert words.akin("product_type", "sneakers", "shoes")
    assert words.akin("product_type", "shoes", "sneakers")
    assert not words.akin("product_type", "sofa", "shoes")
    assert not words.akin("category", "home", "furniture")


def test_every_mapped_class_exists() -> None:
    kit = Kit()
    kit.fetch(["imagenet-labels"])
    known = set(json.loads(kit.path("imagenet-labels").read_text("utf-8")))
    mapped = set(vocabulary().classes())
    assert mapped <= known
    assert len(mapped) > 400


def test_every_mapped_object_is_one_that_the_detector_names() -> None:
    assert set(vocabulary().objects) <= set(LABELS)
    assert not set(vocabulary().objects) & {"Person", "Cat", "Dog", "Cattle"}


def test_animals_and_places_lead_nowhere() -> None:
    mapped = set(vocabulary().classes())
    assert not mapped & {"goldfish", "tabby cat", "volcano", "church", "golden retriever", "castle"}


def changed(path: str, value: Any) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(SMALL))
    *parents, last = path.split("/")
    place = copy
    for parent in parents:
        place = place[parent]
    place[last] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("categories/bags/classes", ["jeans"], "ImageNet class used twice: jeans"),
        ("categories/bags/types/jeans", {"en": "x", "zh": "乙", "classes": ["y"]}, "product type used twice"),
        ("categories/bags/types/bag/en", "jeans", "English label of a product type used twice: jeans"),
        ("categories/bags/types/bag/zh", "牛仔裤", "Chinese label of a product type used twice"),
        (
            "attributes/colour/not_for",
            ["plants"],
            "attribute colour names unknown categories or types: plants",
        ),
        ("attributes/colour/values/black/zh", "", "at least 1 character"),
        ("categories/bags/types/bag/words", ["Jeans"], "word 'Jeans' leads to two values of product_type"),
        ("attributes/colour/values/black/like", ["octarine"], "colour black refers to an unknown colour"),
        ("attributes/colour/values/black/when", [{"smell": ["nice"]}], "refers to an unknown smell: nice"),
        ("objects", {"Bag": "bag", "Hat": "hat"}, "objects name unknown categories or types: hat"),
        ("categories/bags/colour", "red", "Extra inputs are not permitted"),
    ],
)
def test_an_inconsistent_file_is_refused(path: str, value: Any, message: str) -> None:
    Vocabulary.model_validate(SMALL)
    with pytest.raises(ValueError, match=message):
        Vocabulary.model_validate(changed(path, value))


def test_a_types_probability_is_the_sum_over_its_classes() -> None:
    words = Vocabulary.model_validate(SMALL)
    weighed = words.weigh({"purse": 0.2, "backpack": 0.3, "wool": 0.1, "jeans": 0.25, "volcano": 0.15})
    assert weighed.types["bags"]["bag"] == pytest.approx(0.5)
    assert weighed.categories == pytest.approx({"clothing": 0.35, "bags": 0.5})


def test_the_mean_counts_a_missing_class_as_zero() -> None:
    assert mean([{"a": 0.8, "b": 0.2}, {"a": 0.4}]) == pytest.approx({"a": 0.6, "b": 0.1})


def test_an_attribute_applies_to_the_categories_and_types_it_names() -> None:
    words = Vocabulary.model_validate(SMALL)
    assert words.applies("sleeves", "clothing", "jeans")
    assert not words.applies("sleeves", "clothing")
    assert not words.applies("sleeves", None)


def test_the_values_of_every_attribute_are_found_by_its_name() -> None:
    words = Vocabulary.model_validate(SMALL)
    assert set(words.values("category")) == {"clothing", "bags"}
    assert set(words.values("product_type")) == {"jeans", "bag"}
    assert set(words.values("colour")) == {"black"}
    assert words.category_of("bag") == "bags"
    with pytest.raises(KeyError):
        words.values("smell")


def test_colour_means_nothing_for_plants_and_food() -> None:
    words = vocabulary()
    assert not words.applies("colour", "plants")
    assert words.applies("colour", "clothing")
    assert words.applies("colour", None)
