"""From a merchant's corrections to pairs: the questions are those that a model is asked, the answers would be
accepted, and what teaches nothing is skipped with its reason."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from engines.dialogue.prompts import Instruction
from engines.protocols import Brief, CatalogFacts, Printed, Tag
from engines.training.pairs import Corrected, Pair, Photograph, pairs_of
from tests.instructed import Scripted, in_turn, subject

FACTS = CatalogFacts(title="Grey sofa <|system|>", brand="Acme 3000", locale="en")
CAPTION = {"en": "A grey sofa.", "zh": "一张灰色沙发。"}
TAGS = [
    {
        "attribute": "category",
        "value": "furniture",
        "confidence": 0.7,
        "evidence": [{"words": "82% of the pixels"}],
    },
    {"attribute": "colour", "value": "grey"},
]
POINT = {
    "en": "Grey goes with every room.",
    "zh": "灰色百搭。",
    "rests_on": [{"attribute": "colour", "value": "grey"}],
}


def photograph(name: str = "a", *printed: str) -> Photograph:
    seen = subject(ord(name))
    lines = tuple(Printed(text, 0.9, (0.0, 0.0, 1.0, 1.0)) for text in printed)
    return Photograph(name, name * 64, lines, lambda: seen.picture)


def corrected(*photos: Photograph, **words: Any) -> Corrected:
    held = (("category", "furniture"), ("colour", "grey"))
    named = {name.replace("_OF_", "/"): value for name, value in words.items()}
    return Corrected("shop sofa", FACTS, held, photos or (photograph(),), named)


def only(product: Corrected, photos: int = 4) -> Pair:
    pairs, skipped = pairs_of([product], photos)
    assert not skipped
    [pair] = pairs
    return pair


def same(one: Instruction, other: Instruction) -> bool:
    pictures = zip(one.pictures, other.pictures, strict=True)
    return (one.system, one.text, one.form) == (other.system, other.text, other.form) and all(
        np.array_equal(a, b) for a, b in pictures
    )


def test_a_caption_is_asked_for_as_a_model_is_asked() -> None:
    pair = only(corrected(photograph("a"), photograph("b"), caption_OF_b=CAPTION))
    model = Scripted()
    model.caption([subject(ord("b"))])
    assert same(pair.shown(), model.rounds[0][0])
    assert json.loads(pair.answer) == CAPTION
    assert [photo.id for photo in pair.photos] == ["b"]


def test_tags_are_asked_for_as_a_model_is_asked() -> None:
    photos = [photograph("a", "SALE"), photograph("b"), photograph("c")]
    pairs, skipped = pairs_of([corrected(*photos, tags=TAGS)], 2)
    assert not skipped
    told = {pair.kind: pair for pair in pairs}
    model = Scripted(
        in_turn({"category": "furniture", "confidence": 1, "evidence": "x"}, {"attributes": []}), photos=2
    )
    facts = CatalogFacts(title=FACTS.title, brand=FACTS.brand)
    model.tag([[subject(ord(p.id), facts, [line.text for line in p.printed]) for p in photos]])
    [[category], [attributes]] = model.rounds
    assert same(told["category"].shown(), category)
    assert same(told["attributes"].shown(), attributes)
    assert json.loads(told["category"].answer) == {
        "category": "furniture",
        "confidence": 0.7,
        "evidence": "furniture",
    }
    [colour] = json.loads(told["attributes"].answer)["attributes"]
    assert colour == {
        "attribute": "colour",
        "value": "grey",
        "confidence": 1,
        "evidence": "grey",
        "because": [],
    }


def test_no_model_learns_to_see_what_no_photo_tells() -> None:
    streetwear = {"attribute": "style", "value": "streetwear", "because": [["feature", "ripped"]]}
    tags = [
        {"attribute": "category", "value": "clothing"},
        {"attribute": "feature", "value": "ripped"},
        {"attribute": "style", "value": "casual"},
        streetwear,
    ]
    pairs, _ = pairs_of([corrected(photograph("a"), tags=tags)], 1)
    [answer] = [json.loads(pair.answer) for pair in pairs if pair.kind == "attributes"]
    assert [(one["attribute"], one["value"]) for one in answer["attributes"]] == [("style", "casual")]


def test_selling_points_are_asked_for_as_a_model_is_asked() -> None:
    pair = only(corrected(photograph("a", "SALE"), selling_points=[POINT]))
    model = Scripted()
    tags = (Tag("category", "furniture", 1.0), Tag("colour", "grey", 1.0))
    printed = (Printed("SALE", 0.9, (0.0, 0.0, 1.0, 1.0)),)
    model.pitch([Brief(FACTS, tags, printed, lambda: [subject(ord("a"))])])
    assert same(pair.shown(), model.rounds[0][0])
    assert json.loads(pair.answer)["points"][0]["rests_on"] == ["colour=grey"]
    assert "<|system|>" not in pair.instruction.text


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("keywords", [], "no instruction asks for this field"),
        ("caption_OF_z", CAPTION, "its photo may not be shown"),
        ("caption_OF_a", "A sofa.", "Input should be a valid dictionary"),
        ("caption_OF_a", {"en": "A sofa."}, "zh: Field required"),
        ("caption_OF_a", {"en": "沙发", "zh": "沙发"}, "should be in English is not"),
        ("caption_OF_a", {"en": "Buy at https://x.example", "zh": "沙发"}, "a link or markup"),
        ("caption_OF_a", {"en": "x" * 301, "zh": "沙发"}, "longer than 300 characters"),
        ("tags", TAGS[1:], "no tag says the category"),
        ("tags", "grey", "Input should be a valid tuple"),
        (
            "tags",
            [*TAGS, {"attribute": "colour", "value": "greyish"}],
            "colour=greyish is not in the vocabulary",
        ),
        ("tags", [*TAGS, {"attribute": "mood", "value": "x"}], "mood=x is not in the vocabulary"),
        (
            "tags",
            [*TAGS, {"attribute": "sleeve_length", "value": "short"}],
            "sleeve_length=short does not apply to",
        ),
        ("tags", [*TAGS, {"attribute": "colour", "value": "red", "confidence": 2}], "2.confidence"),
        ("selling_points", [POINT | {"rests_on": []}], "0.rests_on"),
        ("selling_points", [POINT, POINT | {"en": "Only 9 left."}], "a number that the data does not"),
        (
            "selling_points",
            [POINT | {"rests_on": [{"attribute": "colour", "value": "red"}]}],
            "not among the listed facts",
        ),
        ("selling_points", [POINT] * 5, "there are 5 selling points"),
    ],
)
def test_what_teaches_nothing_is_skipped_with_its_reason(field: str, value: Any, reason: str) -> None:
    product = corrected(**{field: value})
    pairs, [skipped] = pairs_of([product], 4)
    assert pairs == []
    assert (skipped.product, skipped.field) == ("shop sofa", field.replace("_OF_", "/"))
    assert reason in skipped.reason


def test_a_product_without_photos_teaches_nothing() -> None:
    product = Corrected("p", FACTS, (), (), {"caption/a": CAPTION, "tags": TAGS, "selling_points": [POINT]})
    pairs, skipped = pairs_of([product], 4)
    assert pairs == []
    assert len(skipped) == 3


def test_a_pair_keeps_its_digest_and_comes_once() -> None:
    words: dict[str, Any] = {"caption_OF_a": CAPTION, "tags": TAGS, "selling_points": [POINT]}
    pairs, _ = pairs_of([corrected(**words)], 4)
    again, _ = pairs_of([corrected(**dict(reversed(words.items()))), corrected(**words)], 4)
    digests = [pair.digest for pair in pairs]
    assert digests == [pair.digest for pair in again] == sorted(set(digests))
    assert len(digests) == 4
    pair = only(corrected(caption_OF_a=CAPTION))
    other = only(corrected(caption_OF_a=CAPTION | {"en": "A sofa."}))
    elsewhere = only(corrected(photograph("b"), caption_OF_b=CAPTION))
    assert len({pair.digest, other.digest, elsewhere.digest}) == 3


def test_a_fifth_is_held_out_by_the_digest_alone() -> None:
    products = [corrected(caption_OF_a={"en": f"Sofa number {n}.", "zh": "沙发。"}) for n in range(400)]
    pairs, _ = pairs_of(products, 1)
    apart = [pair for pair in pairs if pair.held_out]
    assert apart == [pair for pair in pairs if int(pair.digest[:2], 16) < 51]
    assert 50 < len(apart) < 110
