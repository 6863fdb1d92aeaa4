"""From likenesses to tags: the department first, then what applies to it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from engines.looks.likeness import NOTHING, Likenesses, Reading, asked, sentences, told
from engines.words.vocabulary import vocabulary

WORDS = vocabulary()
CLIP = Reading(exclusive=True, temperature=1.0, least_lead=0.2)
SIGLIP = Reading(exclusive=False, temperature=1.0, least_lead=0.2)


def likenesses(*photos: dict[tuple[str, str], float], ground: float = 0.0) -> Likenesses:
    """Every value at ``ground`` but the named."""
    made: dict[str, npt.NDArray[np.float32]] = {}
    for attribute, values in asked(WORDS).items():
        columns = [*values, *NOTHING] if attribute == "product_type" else values
        rows = [[photo.get((attribute, value), ground) for value in columns] for photo in photos]
        made[attribute] = np.array(rows, np.float32)
    return made


def pairs(reading: Reading, given: Likenesses) -> list[tuple[str, str]]:
    return [(one.attribute, one.value) for one in told(WORDS, reading, given)]


def test_only_what_applies_is_told() -> None:
    sofa = {("product_type", "sofa"): 12.0, ("colour", "red"): 9.0, ("sleeve_length", "long"): 9.0}
    shirt = {("product_type", "shirt"): 12.0, ("colour", "red"): 9.0, ("sleeve_length", "long"): 9.0}
    assert ("category", "furniture") in pairs(CLIP, likenesses(sofa))
    assert ("colour", "red") in pairs(CLIP, likenesses(sofa))
    assert ("sleeve_length", "long") not in pairs(CLIP, likenesses(sofa))
    assert ("sleeve_length", "long") in pairs(CLIP, likenesses(shirt))


def test_a_photo_of_no_product_has_no_tags() -> None:
    blank = {("product_type", NOTHING[0]): 15.0, ("product_type", "sofa"): 12.0, ("colour", "white"): 9.0}
    assert pairs(CLIP, likenesses(blank)) == []


def test_kinds_alike_still_tell_their_department() -> None:
    either = {("product_type", "jeans"): 12.0, ("product_type", "trousers"): 12.0}
    assert pairs(CLIP, likenesses(either)) == [("category", "clothing")]


def test_probabilities_of_exclusive_values_share_one() -> None:
    found = told(WORDS, CLIP, likenesses({("product_type", "sofa"): 12.0, ("colour", "red"): 5.0}))
    by = {one.attribute: one for one in found}
    others = len(WORDS.values("colour")) - 1
    assert by["colour"].confidence == pytest.approx(np.exp(5) / (np.exp(5) + others), rel=1e-5)
    assert by["category"].confidence >= by["product_type"].confidence
    flatter = Reading(exclusive=True, temperature=4.0, least_lead=0.0)
    warm = likenesses({("product_type", "sofa"): 40.0, ("colour", "red"): 5.0})
    cooler = {one.attribute: one for one in told(WORDS, flatter, warm)}
    assert cooler["colour"].confidence < by["colour"].confidence


def test_values_that_need_not_exclude_each_other_may_be_several() -> None:
    both = {("product_type", "sofa"): 3.0, ("colour", "red"): 3.0, ("colour", "white"): 2.0}
    assert pairs(SIGLIP, likenesses(both, ground=-6.0)) == [
        ("category", "furniture"),
        ("product_type", "sofa"),
        ("colour", "red"),
        ("colour", "white"),
    ]
    assert ("colour", "white") not in pairs(CLIP, likenesses(both, ground=-6.0))


def test_photos_are_heard_together() -> None:
    front = {("product_type", "sofa"): 12.0, ("colour", "red"): 9.0}
    back = {("product_type", "sofa"): 12.0, ("colour", "green"): 9.0}
    one, two = likenesses(front, back), likenesses(back, front)
    assert ("colour", "red") not in pairs(CLIP, one)
    assert pairs(CLIP, one) == pairs(CLIP, two)
    (colour,) = [o for o in told(WORDS, CLIP, likenesses(back, front, front)) if o.attribute == "colour"]
    assert (colour.value, colour.next, colour.photo) == ("red", "green", 1)


def test_nothing_is_asked_that_no_photo_tells_or_that_must_rest_on_more() -> None:
    assert {"product_type", "colour", "pattern", "material"} <= asked(WORDS).keys()
    assert not {"category", "audience", "feature", "style", "scene"} & asked(WORDS).keys()


def test_every_value_has_its_sentences() -> None:
    for attribute, values in asked(WORDS).items():
        for value in values:
            made = sentences(WORDS, attribute, value)
            assert made
            assert all(WORDS.values(attribute)[value].en.casefold() in sentence for sentence in made)
