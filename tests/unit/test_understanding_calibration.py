"""The fit of confidences: what it recovers, what it is reported on, and what it leaves of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.looks.calibration import Logistic
from engines.looks.evidence import Candidate
from engines.training.logistic import fit
from engines.training.understanding_calibration import Answer, Labelled, probabilities, report, write


def test_the_fit_recovers_what_drew_the_answers() -> None:
    random = np.random.default_rng(2)
    x = random.uniform(0, 1, (4000, 2))
    right = random.uniform(size=4000) < 1 / (1 + np.exp(-(3 * x[:, 0] - x[:, 1] - 0.5)))
    rows = [{"a": float(a), "b": float(b)} for a, b in x]
    model = fit(rows, right.tolist(), [1.0] * 4000)
    assert model.weights == pytest.approx({"a": 3, "b": -1}, abs=0.3)
    assert model.bias == pytest.approx(-0.5, abs=0.2)
    doubled = fit([*rows, *rows], [*right.tolist(), *right.tolist()], [0.5] * 8000)
    assert doubled.weights == pytest.approx(model.weights, abs=1e-3)


def test_answers_without_an_error_promise_no_certainty() -> None:
    model = fit([{"a": 1.0}] * 10, [True] * 10, [1.0] * 10)
    assert 0.8 < model.probability({"a": 1.0}) < 0.98


def answer(number: int, source: str, held_out: bool, right: bool) -> Answer:
    photo = Labelled(Path("x.jpg"), f"00{number:02x}", "home", "vase", source, held_out)
    return Answer(photo, Candidate("home", {"a": float(number % 7) / 7}), right)


def test_held_out_answers_shape_nothing() -> None:
    random = np.random.default_rng(4)
    given = [
        answer(n, ("clothes", "catalog")[n % 2], False, bool(random.uniform() < 0.3 + 0.1 * (n % 7)))
        for n in range(60)
    ]
    model, found = probabilities(given)
    for right in (True, False):
        held_out = [answer(n, "clothes", True, right) for n in range(20)]
        again, more = probabilities([*given, *held_out])
        assert again == model
        assert more[:60] == pytest.approx(found)
    # By folds: an answer's own outcome is not in the model that judges it.
    flipped = [given[0].__class__(given[0].photo, given[0].candidate, not given[0].right), *given[1:]]
    assert probabilities(flipped)[1][0] == pytest.approx(found[0])
    text = report("category", [*given, *held_out], np.concatenate([found, more[60:]]))
    assert "| clothes, held out | 20 |" in text


def test_writing_leaves_other_tables_alone(tmp_path: Path) -> None:
    file = tmp_path / "calibration.toml"
    file.write_text(
        "# What they are.\n\n[colour]\nbias = 1\nweights = { share = 2 }\n\n[category]\nbias = 9\n"
    )
    write(file, {"category": Logistic(bias=-1.5, weights={"b": 2.0, "a": 1.0})})
    assert file.read_text() == (
        "# What they are.\n\n[colour]\nbias = 1\nweights = { share = 2 }\n\n"
        "[category]\nbias = -1.5\nweights = { a = 1, b = 2 }\n"
    )
    write(file, {"category": Logistic(bias=-1.5, weights={"b": 2.0, "a": 1.0})})
    assert file.read_text().count("[category]") == 1
