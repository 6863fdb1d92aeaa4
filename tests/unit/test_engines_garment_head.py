"""The garment head: its contract, its weights and card, its training, and when it is not asked."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engines.adapters.garment_head_classifier import KINDS, weights_path
from engines.devices import Device
from engines.evaluation.metrics import calibration_error, macro_f1, per_kind, wilson
from engines.kit import Kit
from engines.looks.evidence import candidates
from engines.looks.hearing import hear, together
from engines.looks.sights import Models, sights
from engines.protocols import RGB, Detection, GarmentClassifier, ImageEncoder, Label, Subject
from engines.registry import Engines
from engines.training.garment_head import main, photographs
from engines.training.softmax_regression import calibrate, fit
from engines.words.vocabulary import vocabulary
from pipeline.errors import ConfigurationError

CARD = Path(__file__).parents[2] / "docs" / "model-cards" / "garment-head.md"


@pytest.fixture(scope="module")
def kit() -> Kit:
    kit = Kit()
    kit.fetch(["efficientnet-lite2", "imagenet-labels", "u2netp", "photos-openvto"])
    return kit


@pytest.fixture(scope="module")
def engines(kit: Kit) -> Engines:
    return Engines(kit, Device.choose(threads=2))


@pytest.fixture(scope="module")
def garments(kit: Kit, engines: Engines) -> dict[str, Subject]:
    root, found = kit.path("photos-openvto") / "clothes", {}
    for name in ("pants/1_front", "shirts/3_front", "jackets/3_front", "shirts/1_front"):
        with Image.open(root / f"{name}.jpg") as image:
            picture = np.asarray(image.convert("RGB").resize((384, 384)))
        (alpha,) = engines.get("u2netp").segment([picture])
        found[name] = Subject(picture, alpha)
    return found


def whole(picture: RGB) -> Subject:
    return Subject(picture, np.ones(picture.shape[:2], np.float32))


def by_name(labels: list[Label]) -> dict[str, float]:
    return {label.name: label.confidence for label in labels}


def test_probabilities_sum_to_one_best_first_over_all_kinds(
    engines: Engines, garments: dict[str, Subject]
) -> None:
    head: GarmentClassifier = engines.get("garment_head")
    answers = head.classify_garments(list(garments.values()))
    for labels in answers:
        confidences = [label.confidence for label in labels]
        assert {label.name for label in labels} == set(KINDS)
        assert confidences == sorted(confidences, reverse=True)
        assert sum(confidences) == pytest.approx(1.0, abs=1e-5)
    assert [labels[0].name for labels in answers[:2]] == ["pants", "t-shirt"]


def test_a_batch_of_eight_equals_eight_batches_of_one(engines: Engines, garments: dict[str, Subject]) -> None:
    head: GarmentClassifier = engines.get("garment_head")
    flipped = [
        Subject(np.ascontiguousarray(one.picture[:, ::-1]), np.ascontiguousarray(one.alpha[:, ::-1]))
        for one in garments.values()
    ]
    subjects = [*garments.values(), *flipped]
    together = head.classify_garments(subjects)
    for labels, subject in zip(together, subjects, strict=True):
        (alone,) = head.classify_garments([subject])
        assert by_name(labels) == pytest.approx(by_name(alone), abs=1e-3)


def test_odd_pictures_get_an_answer_each(engines: Engines) -> None:
    shapes = [(1, 1), (1, 2000), (2000, 1), (2, 300)]
    pictures = [np.full((40, 50, 3), level, np.uint8) for level in (0, 127, 255)]
    pictures += [np.full((*shape, 3), 90, np.uint8) for shape in shapes]
    subjects = [whole(picture) for picture in pictures]
    subjects.append(Subject(pictures[0], np.zeros((40, 50), np.float32)))
    head: GarmentClassifier = engines.get("garment_head")
    assert len(head.classify_garments(subjects)) == len(subjects)
    assert head.classify_garments([]) == []


def test_features_are_what_the_classifier_decides_on(engines: Engines, garments: dict[str, Subject]) -> None:
    encoder: ImageEncoder = engines.get("efficientnet_lite2")
    pictures = [subject.picture for subject in garments.values()] * 3
    rows = encoder.encode(pictures)
    assert (rows.shape, rows.dtype) == ((12, 1280), np.float32)
    np.testing.assert_allclose(rows[:4], rows[8:], atol=1e-4)
    assert encoder.encode([]).shape == (0, 1280)


def test_the_card_is_about_these_weights() -> None:
    content = weights_path().read_bytes()
    text = CARD.read_text("utf-8")
    assert hashlib.sha256(content).hexdigest() in text
    assert len(content) < 200_000
    assert "CC0-1.0" in text


def test_every_kind_is_a_product_type() -> None:
    words = vocabulary()
    assert len({words.garment(kind) for kind in KINDS}) == len(KINDS)
    with pytest.raises(KeyError):
        words.garment("mug")


class Sure:
    """Says the same of every subject, and remembers how many it was asked about."""

    def __init__(self, kind: str, confidence: float) -> None:
        self.labels = [Label(kind, confidence), Label("skirt", 1 - confidence)]
        self.asked = 0

    def classify_garments(self, subjects: Sequence[Subject]) -> list[list[Label]]:
        self.asked += len(subjects)
        return [self.labels for _ in subjects]


class Seeing:
    """A classifier with a fixed answer."""

    def __init__(self, **by_class: float) -> None:
        self.labels = [Label(name.replace("_", " "), p) for name, p in by_class.items()]

    def classify(self, pictures: Sequence[RGB]) -> list[list[Label]]:
        return [self.labels for _ in pictures]


class Blind:
    """A detector that finds nothing."""

    def detect(self, pictures: Sequence[RGB]) -> list[list[Detection]]:
        return [[] for _ in pictures]


PLAIN = whole(np.full((30, 30, 3), 90, np.uint8))


@pytest.mark.parametrize(
    "seen",
    [
        {"laptop_computer": 0.9},
        {"coffee_mug": 0.5, "wool": 0.3},
        {"sunglasses": 0.6},
        {"sock": 0.8},
        {"wool": 0.1},
        {"volcano": 0.9},
    ],
)
def test_the_head_is_not_asked_about_what_is_not_worn(seen: dict[str, float]) -> None:
    head = Sure("dress", 0.99)
    (sight,) = sights(vocabulary(), Models(Seeing(**seen), Blind(), head), [PLAIN])
    assert head.asked == 0
    assert sight.garments is None


@pytest.mark.parametrize(
    ("seen", "kind", "category", "product_type"),
    [
        ({"wool": 0.5}, "dress", "clothing", "dress"),
        ({"sock": 0.25}, "shirt", "clothing", "shirt"),
        ({"sweatshirt": 0.6}, "t-shirt", "clothing", "t-shirt"),
        ({"jeans": 0.6}, "pants", "clothing", "jeans"),
        ({"jeans": 0.6}, "shorts", "clothing", "shorts"),
        ({"jeans": 0.3, "wool": 0.2}, "pants", "clothing", "trousers"),
        ({"sandal": 0.3}, "shoes", "footwear", "shoes"),
        ({"cowboy_hat": 0.3}, "hat", "accessories", "hat"),
        ({"sock": 0.6, "sandal": 0.3}, "shoes", "clothing", "socks"),
    ],
)
def test_the_head_names_the_type_unless_a_narrower_or_unknown_one_is_clear(
    seen: dict[str, float], kind: str, category: str, product_type: str
) -> None:
    words = vocabulary()
    found = sights(words, Models(Seeing(**seen), Blind(), Sure(kind, 0.9)), [PLAIN, PLAIN])
    its, type_of_it = candidates(words, together([hear(words, sight) for sight in found]))
    assert (its.value, type_of_it and type_of_it.value) == (category, product_type)


def made_up(folder: Path) -> None:
    """One photograph of each kind held out and two to train on: a square of the kind's own colour."""
    random = np.random.default_rng(3)
    for kind, name in enumerate(KINDS):
        (folder / name).mkdir(parents=True)
        wanted = {True: 1, False: 2}
        while any(wanted.values()):
            picture = random.integers(0, 256, (40, 40, 3), np.uint8)
            picture[8:32, 8:32] = (25 * kind, 255 - 25 * kind, 90)
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "JPEG")
            content = buffer.getvalue()
            held_out = hashlib.sha256(content).digest()[0] < 51
            if wanted[held_out]:
                wanted[held_out] -= 1
                (folder / name / f"{wanted[held_out]}-{held_out}.jpg").write_bytes(content)


def test_training_writes_weights_card_and_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # One of the four decays: each is fitted on every fold, and that takes most of the time.
    monkeypatch.setattr("engines.training.garment_head._DECAYS", (1.0,))
    made_up(tmp_path / "data")
    arguments: list[Any] = ["--data", tmp_path / "data", "--cache", tmp_path / "cache"]
    written = []
    for run in ("first", "second"):
        weights, card = tmp_path / f"{run}.safetensors", tmp_path / "cards" / f"{run}.md"
        main([str(one) for one in (*arguments, "--weights", weights, "--card", card)])
        assert hashlib.sha256(weights.read_bytes()).hexdigest() in card.read_text("utf-8")
        assert "20 photographs" in card.read_text("utf-8")
        assert "| t-shirt |" in capsys.readouterr().out
        written.append(weights.read_bytes())
    assert written[0] == written[1]
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 30


def test_a_missing_folder_and_a_missing_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no folder .*nowhere"):
        main(["--data", str(tmp_path / "nowhere")])
    with pytest.raises(ConfigurationError, match="no training photograph of: dress, hat"):
        photographs(tmp_path)


def test_a_line_between_two_clouds_is_found_and_calibrated() -> None:
    random = np.random.default_rng(1)
    y = np.repeat([0, 1], 200)
    x = random.normal(size=(400, 2)) + np.array([[2.0, 0.0], [-2.0, 0.0]])[y]
    model = fit(x, y, 2, 0.001)
    assert (model.scores(x).argmax(axis=1) == y).mean() > 0.95
    temperature = calibrate(model.scores(x), y)
    assert calibrate(model.scores(x) * 2, y) == pytest.approx(2 * temperature, rel=0.03)


def test_measures_by_hand() -> None:
    truth, answer = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])
    assert [row.f1 for row in per_kind(truth, answer, 3)] == pytest.approx([0.5, 0.8, 0.0])
    assert macro_f1(truth, answer, 3) == pytest.approx(1.3 / 3)
    interval = wilson(8, 10)
    assert (interval.low, interval.high) == pytest.approx((0.490, 0.943), abs=1e-3)
    assert calibration_error(np.array([0.9, 0.9]), np.array([True, False])) == pytest.approx(0.4)
