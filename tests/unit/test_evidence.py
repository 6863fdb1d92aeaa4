"""What is concluded from what the models see, and when nothing is."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engines.devices import Device
from engines.kit import Kit
from engines.looks.backgrounds import Background, background
from engines.looks.calibration import Logistic, calibration
from engines.looks.evidence import candidates, find
from engines.looks.hearing import hear, together
from engines.looks.recent import Recent
from engines.looks.regions import iou
from engines.looks.sights import Sight
from engines.protocols import RGB, Box, Detection, Subject
from engines.registry import Engines
from engines.words.vocabulary import vocabulary
from pipeline.errors import ConfigurationError

WHOLE: Box = (0.1, 0.1, 0.9, 0.9)
MUG = Sight({"coffee mug": 0.7}, (Detection("Mug", 0.8, (0.12, 0.1, 0.9, 0.9)),), WHOLE)
FAINT = Sight({"coffee mug": 0.1, "vase": 0.12}, (), WHOLE)


def test_agreeing_witnesses_name_the_product_and_where_it_is() -> None:
    finding = find(vocabulary(), [MUG])
    assert finding.category is not None
    assert finding.product_type is not None
    assert (finding.category.value, finding.product_type.value) == ("kitchen", "cup")
    assert finding.product_type.confidence > 0.75
    evidence = finding.product_type.evidence
    assert evidence.words == "the classifier sees coffee mug 0.70, the detector sees mug 0.80"
    assert (evidence.photo, evidence.box) == (0, MUG.objects[0].box)


def test_a_faint_suspicion_names_nothing() -> None:
    finding = find(vocabulary(), [FAINT])
    assert (finding.category, finding.product_type) == (None, None)
    assert find(vocabulary(), []).category is None


def test_an_object_beside_the_product_does_not_speak_for_it() -> None:
    words = vocabulary()
    table = Detection("Table", 0.9, (0.0, 0.85, 1.0, 1.0))
    beside = hear(words, Sight({"vase": 0.3}, (table,), WHOLE))
    on_it = hear(words, Sight({"vase": 0.3}, (replace(table, box=WHOLE),), WHOLE))
    assert candidates(words, beside)[0].value == "home"
    assert candidates(words, on_it)[0].value == "furniture"


def test_two_of_a_kind_fill_the_cut_out_together() -> None:
    pair = tuple(Detection("Chair", 0.6, box) for box in [(0.1, 0.1, 0.48, 0.9), (0.5, 0.1, 0.9, 0.9)])
    heard = hear(vocabulary(), Sight({}, pair, WHOLE))
    assert heard.types["furniture"]["chair"].objects == pytest.approx(0.6)


def test_the_order_of_photos_changes_nothing_and_a_faint_one_little() -> None:
    words = vocabulary()
    shoe = Sight({"sneaker": 0.31, "sandal": 0.07}, (Detection("Footwear", 0.61, WHOLE),), WHOLE)
    details = [Sight({"coffee mug": p, "tea cup": q}, (), WHOLE) for p, q in ((1 / 3, 1 / 7), (0.1, 0.6))]
    photos = [hear(words, sight) for sight in (MUG, FAINT, shoe, *details)]
    answers = [candidates(words, together(order)) for order in itertools.permutations(photos)]
    assert all(answer == answers[0] for answer in answers)
    alone, beside = (find(words, photos).category for photos in ([MUG], [FAINT, MUG]))
    assert alone is not None
    assert beside is not None
    assert 0 < alone.confidence - beside.confidence < 0.1
    assert beside.evidence.photo == 1


def test_intersection_over_union_by_hand() -> None:
    assert iou((0, 0, 0.5, 1), (0, 0, 1, 1)) == pytest.approx(0.5)
    assert iou((0, 0, 0.2, 0.2), (0.5, 0.5, 1, 1)) == 0
    assert iou((0.3, 0.3, 0.3, 0.3), (0.3, 0.3, 0.3, 0.3)) == 0


def test_a_probability_needs_the_features_it_was_fitted_on() -> None:
    model = Logistic(bias=-1.0, weights={"a": 2.0})
    assert model.probability({"a": 0.5}) == pytest.approx(0.5)
    assert 0 < model.probability({"a": -1e9}) < model.probability({"a": 1e9}) < 1
    with pytest.raises(ConfigurationError, match="weighs a, but measured was b"):
        model.probability({"b": 1.0})
    with pytest.raises(ConfigurationError, match=r"no table \[smell\]"):
        calibration("smell")


def test_more_support_is_never_less_probable() -> None:
    for name in ("category", "product_type"):
        assert all(weight > 0 for weight in calibration(name).weights.values())


def product_on(picture: RGB) -> Subject:
    alpha = np.zeros(picture.shape[:2], np.float32)
    alpha[60:140, 60:140] = 1
    return Subject(picture, alpha)


def test_backgrounds_are_told_apart() -> None:
    even = np.full((200, 200, 3), 250, np.uint8)
    falling = np.repeat(np.linspace(120, 250, 200)[:, np.newaxis], 200, axis=1).astype(np.uint8)
    squares = np.random.default_rng(5).integers(0, 256, (25, 25, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    assert background(product_on(even)) == Background("white", plain=True, busy=False)
    light = background(product_on(np.stack([falling] * 3, axis=2)))
    assert light is not None
    assert light.plain
    assert background(product_on(squares)) == Background(None, plain=False, busy=True)
    assert background(Subject(even, np.ones((200, 200), np.float32))) is None
    assert background(Subject(even, np.zeros((200, 200), np.float32))) is None


def test_what_was_answered_lately_is_not_asked_again() -> None:
    asked: list[int] = []

    def ask(pictures: list[RGB]) -> list[int]:
        asked.extend(int(picture[0, 0, 0]) for picture in pictures)
        return [int(picture[0, 0, 0]) * 2 for picture in pictures]

    def picture(level: int) -> RGB:
        return np.full((2, 3, 3), level, np.uint8)

    recent: Recent[int] = Recent()
    assert recent.answers([picture(1), picture(2), picture(1)], ask) == [2, 4, 2]  # type: ignore[arg-type]
    assert recent.answers([picture(2), picture(3)], ask) == [4, 6]  # type: ignore[arg-type]
    assert asked == [1, 2, 3]
    # The same bytes in another shape are another picture.
    recent.answers([np.full((3, 2, 3), 1, np.uint8)], ask)  # type: ignore[arg-type]
    assert asked == [1, 2, 3, 1]
    for level in range(4, 256):
        recent.answers([picture(level), np.full((5, 5, 3), level, np.uint8)], ask)  # type: ignore[arg-type]
    recent.answers([picture(2)], ask)  # type: ignore[arg-type]
    assert asked.count(2) == 2


@pytest.fixture(scope="module")
def catalog() -> Path:
    kit = Kit()
    kit.fetch(["oid-ssd", "photos-vendure"])
    return kit.path("photos-vendure")


# Where the things are, by eye and by the cut-out.
@pytest.mark.parametrize(
    ("photo", "name", "box"),
    [
        ("andres-jasso", "Chair", (0.2, 0.13, 0.73, 1.0)),
        ("alexander-andrews", "Camera", (0.34, 0.35, 0.66, 0.63)),
        ("mikkel-bech", "Bicycle", (0.09, 0.14, 0.91, 0.89)),
        ("derick-david", "Laptop", (0.25, 0.25, 0.75, 0.74)),
    ],
)
def test_objects_are_found_where_they_are(catalog: Path, photo: str, name: str, box: Box) -> None:
    (path,) = catalog.rglob(f"{photo}*.jpg")
    with Image.open(path) as image:
        picture = np.asarray(image.convert("RGB"))
    (found,) = Engines(Kit(), Device.choose(threads=1)).get("oid_ssd").detect([picture])
    assert found[0].name == name
    assert found[0].confidence > 0.6
    assert iou(found[0].box, box) > 0.85
    assert [item.confidence for item in found] == sorted((item.confidence for item in found), reverse=True)
