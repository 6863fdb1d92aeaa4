"""The measures of the evaluation against hand counts and scikit-learn, and their table."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engines.evaluation.metrics import (
    bootstrap,
    calibration_error,
    calibration_interval,
    macro_f1,
    macro_f1_interval,
    per_kind,
    reliability,
    wilson,
)
from engines.evaluation.scores import Case, Said, mistakes, score
from engines.words.vocabulary import vocabulary
from workers.commands.evaluation_report import Report, print_report


def case(truth: str, *said: tuple[str, float], file: str = "a.jpg") -> Case:
    return Case(file, tuple(truth.split("|")) if truth else (), tuple(Said(*one) for one in said))


def test_per_kind_and_macro_f1_are_scikit_learns() -> None:
    theirs = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(5)
    truth = random.integers(0, 4, 200)
    answer = np.where(random.random(200) < 0.6, truth, random.integers(0, 6, 200))
    precision, recall, f1, there = theirs.precision_recall_fscore_support(
        truth, answer, labels=range(4), zero_division=0
    )
    for kind, row in enumerate(per_kind(truth, answer, 4)):
        assert (row.precision, row.recall, row.f1) == pytest.approx((precision[kind], recall[kind], f1[kind]))
        assert row.photographs == there[kind]
    assert macro_f1(truth, answer, 4) == pytest.approx(float(np.mean(f1)))


def test_macro_f1_of_nothing_is_no_number() -> None:
    assert math.isnan(macro_f1(np.array([7]), np.array([0]), 2))


def test_wilson_at_the_ends() -> None:
    none, all_ = wilson(0, 20), wilson(20, 20)
    assert (none.low, none.high) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert (all_.low, all_.high) == pytest.approx((0.8389, 1.0), abs=1e-4)
    with pytest.raises(ValueError, match="nothing"):
        wilson(0, 0)


def test_a_bootstrap_is_seeded_and_near_the_normal_interval() -> None:
    values = np.repeat([0.0, 1.0], [40, 60])
    first = bootstrap(lambda draw: float(values[draw].mean()), 100)
    assert first == bootstrap(lambda draw: float(values[draw].mean()), 100)
    assert first.value == pytest.approx(0.6)
    assert (first.low, first.high) == pytest.approx((0.504, 0.696), abs=0.015)
    with pytest.raises(ValueError, match="nothing"):
        bootstrap(lambda draw: 0.0, 0)


def test_macro_f1s_interval_holds_its_value_and_shrinks_with_more_photographs() -> None:
    random = np.random.default_rng(2)
    truth = random.integers(0, 3, 400)
    answer = np.where(random.random(400) < 0.8, truth, (truth + 1) % 3)
    few, many = macro_f1_interval(truth[:40], answer[:40], 3), macro_f1_interval(truth, answer, 3)
    assert many.low < many.value < many.high
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_calibration_by_hand() -> None:
    # Two bins of ten: 0.6 of which 5 are right, 0.9 of which 9 are: (|0.6 - 0.5| + 0) / 2.
    confidence = np.repeat([0.6, 0.9], 10)
    right = np.array([True] * 5 + [False] * 5 + [True] * 9 + [False])
    assert calibration_error(confidence, right) == pytest.approx(0.05)
    low, high = reliability(confidence, right)
    assert (low.answers, low.confidence, low.right.value) == (10, pytest.approx(0.6), 0.5)
    assert (high.answers, high.confidence, high.right.value) == (10, pytest.approx(0.9), 0.9)
    assert calibration_interval(confidence, right).value == pytest.approx(0.05)


def test_bins_hold_equally_many_and_equal_confidences_stay_together() -> None:
    random = np.random.default_rng(3)
    confidence = random.random(1000) ** 0.2
    right = random.random(1000) < confidence
    assert [one.answers for one in reliability(confidence, right)] == [100] * 10
    assert calibration_error(confidence, right) < 0.05
    order = random.permutation(1000)
    assert calibration_error(confidence[order], right[order]) == pytest.approx(
        calibration_error(confidence, right)
    )
    flat = np.full(100, 0.9)
    assert [one.answers for one in reliability(flat, np.arange(100) < 50)] == [100]
    assert calibration_error(flat, np.arange(100) < 50) == pytest.approx(0.4)


# What is right.


def test_a_single_valued_attribute_by_hand() -> None:
    cases = [
        case("t-shirt", ("t-shirt", 0.9)),
        case("trousers", ("jeans", 0.8)),  # narrower than the label, which could not have said so
        case("sneakers", ("shoes", 0.7)),  # wider, and true
        case("dress", ("skirt", 0.6)),
        case("skirt"),
        case("", ("hat", 0.5)),
        case(""),
    ]
    found = score(vocabulary(), "product_type", cases)
    assert (found.labelled, found.not_applicable, found.said) == (5, 2, 5)
    assert found.precision == wilson(3, 5)
    assert found.recall == wilson(3, 5)
    assert found.abstention == wilson(1, 5)
    assert found.silence == wilson(1, 2)
    assert found.exact == wilson(1, 3)
    assert found.macro_f1 is not None
    # dress 0, skirt 0 (named once, wrongly), the other three 1.
    assert found.macro_f1.value == pytest.approx(3 / 5)
    assert found.agreement is None
    assert found.jaccard is None
    assert found.values["trousers"].precision == 1
    assert found.values["skirt"].precision == 0
    assert found.values["skirt"].photographs == 1


def test_a_wrong_narrower_answer_counts_against_its_wider_kind() -> None:
    cases = [case("trousers", ("trousers", 0.9)), case("skirt", ("jeans", 0.9))]
    values = score(vocabulary(), "product_type", cases).values
    assert values["trousers"].precision == 0.5
    assert values["skirt"].recall == 0


def test_two_narrower_kinds_of_one_type_do_not_agree() -> None:
    (found,) = mistakes(vocabulary(), "product_type", [case("sneakers", ("boots", 0.9))])
    assert (found.kind, found.truth, found.said, found.confidence) == ("wrong", ("sneakers",), "boots", 0.9)


def test_colours_by_hand() -> None:
    cases = [
        case("red|white", ("white", 0.6), ("red", 0.4)),
        case("blue", ("navy", 0.7), ("blue", 0.2)),
        case("black"),
        case("", ("green", 0.9)),
    ]
    found = score(vocabulary(), "colour", cases)
    assert found.agreement == wilson(1, 3)
    assert found.jaccard is not None
    assert found.jaccard.value == pytest.approx((1 + 0.5 + 0) / 3)
    assert found.precision is not None
    assert found.precision.value == pytest.approx(3 / 5)
    assert found.recall is not None
    assert found.recall.value == pytest.approx(3 / 4)
    assert found.macro_f1 is None
    assert found.exact is None
    assert [(one.kind, one.said) for one in mistakes(vocabulary(), "colour", cases)] == [
        ("needless", "green"),
        ("wrong", "navy"),
        ("missed", ""),
    ]


def test_each_missed_colour_of_several_is_told() -> None:
    (found,) = mistakes(vocabulary(), "colour", [case("red|white", ("red", 0.9))])
    assert (found.kind, found.truth, found.confidence) == ("missed", ("white",), None)


def test_nothing_said_leaves_nothing_to_be_precise_about() -> None:
    found = score(vocabulary(), "pattern", [case("plain"), case("striped")])
    assert found.precision is None
    assert found.calibration_error is None
    assert found.reliability == ()
    assert found.recall == wilson(0, 2)
    assert found.silence is None


def test_a_table_is_printed_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    cases = [case("t-shirt", ("shirt", 0.9), file="\x1b[31mred.jpg"), case("shirt", ("shirt", 0.7))]
    report = Report(
        command="",
        facts=True,
        engines={"tagger": "some@1"},
        photos=3,
        unreadable={"b.jpg": "damaged"},
        missing=["c.jpg"],
        set_aside={},
        unknown={("colour", "mauve"): 2},
        flags=0,
        scores=[score(vocabulary(), "product_type", cases)],
        mistakes=mistakes(vocabulary(), "product_type", cases),
    )
    print_report(report, details=True, errors=True, markdown=False)
    told = capsys.readouterr().out
    assert "0.50 (0.09–0.91)" in told
    assert "Values of product_type" in told
    assert "tagger some@1" in told
    assert "b.jpg (damaged)" in told
    assert "colour mauve (2)" in told
    assert "\x1b" not in told
    assert "jaccard" not in told
