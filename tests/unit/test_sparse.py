"""Sparse vectors of texts: what they rank first in both languages, and that they are the same everywhere."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.words import sparse
from engines.words.sparse import Sparse, document, query, spelled, tokens


def ranked(asked: str, texts: list[str]) -> list[str]:
    """The texts that a query finds, best first: the index's own dot product with IDF, as Qdrant reckons it."""
    vectors = [document([(text, 1.0)]) for text in texts]
    holding = Counter(index for vector in vectors for index in vector.indices)
    wanted = query(asked)
    scores = []
    for vector in vectors:
        values = dict(zip(vector.indices, vector.values, strict=True))
        scores.append(
            sum(
                weight
                * values[index]
                * math.log((len(texts) - holding[index] + 0.5) / (holding[index] + 0.5) + 1)
                for index, weight in zip(wanted.indices, wanted.values, strict=True)
                if index in values
            )
        )
    order = sorted(range(len(texts)), key=lambda at: -scores[at])
    return [texts[at] for at in order if scores[at] > 0]


ENGLISH = ["red dress", "blue dress", "red running shoes", "wooden table", "Sony WH-1000XM4 headphones"]
CHINESE = ["红色连衣裙", "蓝色连衣裙", "红色跑步鞋", "木质桌子", "索尼耳机 WH-1000XM4"]


@pytest.mark.parametrize("texts", [ENGLISH, CHINESE])
@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("red dress", 0),
        ("Dresses in blue", 1),
        ("running shoe", 2),
        ("WOODEN TABLES", 3),
        ("wh1000xm4", 4),
        ("WH-1000XM4", 4),
        ("红色连衣裙", 0),
        ("蓝色的连衣裙", 1),
        ("跑步鞋", 2),
        ("请问有没有木质桌子", 3),
        ("索尼 1000xm4", 4),
    ],
)
def test_either_language_finds_either(texts: list[str], asked: str, first: int) -> None:
    assert ranked(asked, texts)[0] == texts[first]


def test_the_word_itself_counts_more_than_its_translation() -> None:
    assert ranked("red dress", ["红色连衣裙", "red dress"]) == ["red dress", "红色连衣裙"]
    assert ranked("红色连衣裙", ["red dress", "红色连衣裙"]) == ["红色连衣裙", "red dress"]


def test_a_word_is_said_as_narrowly_as_it_can_be() -> None:
    assert ranked("watch", ["手表", "珠宝腕表"]) == ["手表"]
    assert ranked("furniture", ["家具"]) == ["家具"]
    assert set(ranked("皮鞋", ["leather", "shoes", "sofa"])) == {"leather", "shoes"}


def test_the_words_behind_the_indices_can_be_told() -> None:
    said = spelled("Running shoes 红色")
    assert set(said) == set(query("Running shoes 红色").indices)
    assert set(said.values()) >= {"running", "shoes", "红色", "red"}
    (index,) = document([("run", 1.0)]).indices
    assert said[index] == "running"


def test_a_rare_word_decides_and_repetition_says_little() -> None:
    texts = ["camera camera camera camera camera camera bag", "camera tripod", "camera lens"]
    assert ranked("camera tripod", texts)[0] == "camera tripod"


def test_a_short_text_that_says_the_same_comes_first() -> None:
    long = "red dress " + "that goes well everywhere all year round in town " * 10
    assert ranked("red dress", [long, "red dress"])[0] == "red dress"


def test_a_title_counts_more_than_a_description() -> None:
    def value(parts: list[tuple[str, float]]) -> float:
        (index,) = query("zebra").indices
        vector = document(parts)
        return vector.values[vector.indices.index(index)]

    assert value([("zebra", 3.0), ("lamp", 1.0)]) > value([("lamp", 3.0), ("zebra", 1.0)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Women's T-shirts, 2.5 kg", ["women", "t", "shirt", "tshirt", "2.5", "kg"]),
        ("WH-1000XM4", ["wh", "1000xm4", "wh1000xm4"]),
        ("iPhone 12 500ml", ["iphon", "12", "500ml"]),
        ("ｒｅｄ　ＤＲＥＳＳ", ["red", "dress"]),
        ("running runs", ["run", "run"]),
        ("红色的连衣裙", ["红色", "连衣", "衣裙"]),
        ("书", ["书"]),
        ("nike运动鞋42码", ["nike", "运动", "动鞋", "42", "码"]),
        ("日本のカメラ", ["日本", "本の", "のカ", "カメ", "メラ"]),
        ("Красное платье", ["красное", "платье"]),
        ("café Größe", ["café", "grösse"]),
        ("the and of 的 了", []),
        ("😀🔥 !!! \0\u202e", []),
        ("", []),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert list(tokens(text)) == expected


GOLDEN_DOCUMENT = Sparse(
    [
        732659134,
        1186401788,
        1757513937,
        2078964253,
        2125896542,
        2146773592,
        2219876370,
        2770832562,
        3333378283,
        3365767514,
        4185782690,
    ],
    [
        1.083076923077,
        1.637209302326,
        1.749068322981,
        1.083076923077,
        1.637209302326,
        1.083076923077,
        1.637209302326,
        1.083076923077,
        1.637209302326,
        1.637209302326,
        1.637209302326,
    ],
)
GOLDEN_QUERY = Sparse([1757513937, 2125896542, 3333378283, 3957155001], [1.0, 1.0, 0.5, 0.5])


def test_vectors_stay_what_they_are() -> None:
    """Stored vectors and new ones meet in one index: where this changes, every index must be built anew."""
    found = document([("Red running shoes 红色跑步鞋", 3.0), ("Light shoes, WH-1000XM4.", 1.0)])
    assert found.indices == GOLDEN_DOCUMENT.indices
    assert found.values == pytest.approx(GOLDEN_DOCUMENT.values, abs=1e-12)
    assert query("红色 shoe") == GOLDEN_QUERY


def test_every_process_gives_the_same() -> None:
    """Whatever seed Python hashes strings with."""
    code = "from engines.words.sparse import document; print(document([('red dress 红色连衣裙', 1.0)]))"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert said == {f"{document([('red dress 红色连衣裙', 1.0)])}\n"}


def test_what_comes_after_the_cap_counts_for_nothing() -> None:
    words = " ".join(f"word{number}" for number in range(2000))
    assert len(document([(words, 1.0)]).indices) == 512
    assert document([(words, 1.0), ("zebra", 9.0)]) == document([(words, 1.0)])
    assert len(query(words).indices) == 64
    assert len(query("红色连衣裙 " * 5000).indices) <= 128


def test_two_words_of_one_index_are_added() -> None:
    (index,) = query("x31183").indices
    assert query("x92274").indices == [index]
    both = document([("x31183 x92274", 1.0)])
    assert both.indices == [index]
    assert both.values[0] == pytest.approx(2 * document([("x31183 lamp", 1.0)]).values[0])


@given(st.lists(st.tuples(st.text(max_size=200), st.floats(0, 10)), max_size=4), st.text(max_size=400))
def test_any_text_gives_a_vector(parts: list[tuple[str, float]], text: str) -> None:
    for vector in (document(parts), query(text)):
        assert vector.indices == sorted(set(vector.indices))
        assert all(0 <= index < 2**32 for index in vector.indices)
        assert all(0 < value <= 2 * (sparse.K1 + 1) for value in vector.values)
        assert len(vector.values) == len(vector.indices)


def test_lone_surrogates_are_no_words() -> None:
    assert query("red \ud800 dress") == query("red dress")
