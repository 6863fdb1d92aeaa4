"""The measures of retrieval: by hand, and with an embedder whose answers are known."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import engines.evaluation
from engines.evaluation.composing import changed_colours
from engines.evaluation.composing import lines as composed
from engines.evaluation.ranking import measure, ranks
from engines.evaluation.recolour import TARGETS, recoloured
from engines.evaluation.retrieval import (
    Way,
    colour_queries,
    colours_first,
    gallery,
    photos_to_photos,
    steps,
    ways_of_words,
    words_to_photos,
)
from engines.looks.colours import palette
from engines.looks.composing import LateFusion
from engines.looks.heads import unit
from engines.looks.parts import Part, Parts, Rows
from engines.protocols import Embedder, Subject
from engines.words.lexicon import lexicon
from engines.words.text import is_chinese
from engines.words.vocabulary import vocabulary
from workers.cli import run

TASTE = ["red", "blue", "green"]


class ByColour:
    """What it says of a photo is how much of it is red, blue and green, and of a text which of these it names."""

    def __init__(self) -> None:
        self.parts = Parts([Part("tint", 3, share=0.5, said=1.0), Part("shape", 2, share=0.5, said=0.0)])
        self.dimension = self.parts.dimension

    def embed_photos(self, subjects: Sequence[Subject]) -> Rows:
        rows = []
        for subject in subjects:
            inside = subject.picture[subject.alpha > 0.5].astype(np.float64)
            tint = np.maximum(inside.mean(axis=0)[[0, 2, 1]] - inside.mean() * 0.8, 0.01)
            height, width = subject.alpha.shape
            rows.append({"tint": unit(tint), "shape": unit(np.array([float(height), float(width)]))})
        return self.parts.photos(rows)

    def embed_texts(self, texts: Sequence[str]) -> Rows:
        named = [{mention.value for mention in lexicon().find(text)} for text in texts]
        return self.parts.texts(
            [{"tint": unit(np.array([float(one in names) for one in TASTE]))} for names in named]
        )


def blob(rgb: tuple[int, int, int], height: int = 60, width: int = 40) -> Subject:
    """An oval of one colour before grey."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    inside = (x**2 + y**2) < 0.6
    picture = np.full((height, width, 3), 128, np.uint8)
    picture[inside] = rgb
    return Subject(picture, inside.astype(np.float32))


def test_ranks_by_hand_with_ties_against_the_right_one() -> None:
    scores = np.array([[0.9, 0.5, 0.1], [0.5, 0.5, 0.5], [0.1, 0.2, -np.inf]])
    right = np.array([[False, True, False], [True, False, False], [True, False, False]])
    assert ranks(scores, right).tolist() == [2, 3, 2]


def test_measures_by_hand() -> None:
    scores = np.array([np.linspace(1, 0, 12), np.linspace(1, 0, 12)])
    right = np.zeros((2, 12), np.bool_)
    right[0, [0, 2]] = True
    right[1, 10] = True
    found = measure(scores, right)
    assert (found.queries, found.gallery) == (2, 12)
    assert [found.recall_1.value, found.recall_5.value, found.recall_10.value] == [0.5, 0.5, 0.5]
    assert found.mrr.value == pytest.approx((1 + 1 / 11) / 2)
    assert found.precision_10.value == pytest.approx(0.1)
    assert found.ndcg_10.value == pytest.approx((1 + 1 / 2) / (1 + 1 / np.log2(3)) / 2)
    assert found.recall_1.low <= 0.5 <= found.recall_1.high


def test_a_query_without_anything_to_find_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing right"):
        measure(np.zeros((1, 2)), np.zeros((1, 2), np.bool_))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("before", [(20, 20, 20), (240, 240, 235), (200, 40, 40), (40, 60, 160)])
def test_a_dyed_product_has_the_colour_and_its_background_stays(
    before: tuple[int, int, int], target: str
) -> None:
    subject = blob(before)
    dyed = recoloured(subject, target)
    assert palette(dyed)[0].name == target
    outside = subject.alpha < 0.5
    assert np.array_equal(dyed.picture[outside], subject.picture[outside])


def test_words_are_measured_part_by_part_and_by_both_vectors() -> None:
    embedder = ByColour()
    assert isinstance(embedder, Embedder)
    assert steps(embedder) == [("tint", ("tint",)), ("+ shape", ("tint", "shape"))]
    among = gallery(embedder, [blob((200, 30, 30)), blob((30, 30, 200)), blob((30, 180, 40))])
    ways = ways_of_words(embedder)
    assert [way.name for way in ways][-2:] == ["whole photo", "better of cut-out and whole"]
    lines = words_to_photos("t", ["红色", "blue", "green"], np.eye(3, dtype=np.bool_), ways, among)
    assert [line.scores.recall_1.value for line in lines] == [1.0] * len(ways)


def test_photos_find_photos_but_never_themselves() -> None:
    subjects = [blob((200, 30, 30)), blob((190, 40, 40)), blob((30, 30, 200)), blob((40, 40, 190))]
    embedder = ByColour()
    rows = embedder.embed_photos(subjects)
    right = np.array([[a // 2 == b // 2 and a != b for b in range(4)] for a in range(4)])
    whole, *_ = photos_to_photos("t", embedder, rows, right)
    assert whole.scores.recall_1.value == 1.0
    assert whole.scores.gallery == 3


def test_a_photo_and_a_colour_find_what_neither_finds_alone() -> None:
    subjects = [blob((200, 190, 30)), blob((20, 20, 20), 40, 60), blob((240, 240, 235), 50, 50)]
    embedder = ByColour()
    asked = changed_colours(embedder, subjects, vocabulary())
    told = composed(asked, embedder, {"late fusion": LateFusion(embedder)})
    lines = {line.way: line.scores for line in told}
    assert lines["photo alone"].queries == 3 * len(TARGETS) * 2
    assert lines["photo alone"].gallery == 3 * (1 + len(TARGETS)) - 1
    assert lines["late fusion"].recall_1.value > max(
        lines["photo alone"].recall_1.value, lines["words alone"].recall_1.value
    )


def test_first_hits_of_another_colour_are_named() -> None:
    embedder = ByColour()
    among = gallery(embedder, [blob((200, 30, 30)), blob((30, 30, 200))])
    first = Way("first", lambda texts, found: np.tile([1.0, 0.0], (len(texts), 1)))
    texts = [("red", "red"), ("蓝色的", "blue")]
    [told] = colours_first("t", texts, [("red",), ("blue", "white")], [first], among, ["one", "two"])
    assert told.right.value == 0.5
    assert told.wrong == (("蓝色的", "one"),)
    truths = [{"colour": ("red",), "product_type": ("sofa",)}, {"colour": (), "product_type": ("tent",)}]
    assert colour_queries(vocabulary(), truths) == {
        "a colour": [("red", "red"), ("红色的", "red")],
        "a colour and a type": [("red sofa", "red"), ("红色沙发", "red")],
    }


def test_every_vendure_product_has_a_chinese_name() -> None:
    table = Path(engines.evaluation.__file__).with_name("vendure.csv")
    with table.open(encoding="utf-8", newline="") as text:
        names = [row["product_zh"] for row in csv.DictReader(text)]
    assert len(set(names)) == 54
    assert all(is_chinese(name) for name in names)


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["--json", "--markdown"], 2, "--markdown"),
        (["--engine", "u2netp"], 78, "no engine 'u2netp' for embedder"),
        (["--clothing", "nowhere"], 2, "nowhere"),
    ],
)
def test_wrong_usage_is_named(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, named: str
) -> None:
    assert run(["evaluate", "retrieval", *arguments]) == code
    assert named in capsys.readouterr().err
