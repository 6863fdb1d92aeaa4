"""Precision, recall, F1 and calibration, each with a 95% interval. Pure functions of what was right.

Shares of independent photographs get Wilson's interval, everything else a seeded bootstrap over photographs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

_RESAMPLES = 2000
_BINS, _LEAST_IN_BIN = 10, 10


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured share with the bounds of its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, slots=True)
class Scores:
    """One kind's precision, recall and F1, and how many photographs of it there were."""

    precision: float
    recall: float
    f1: float
    photographs: int


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of like confidence: how many, their mean confidence, and the share of them that is right."""

    answers: int
    confidence: float
    right: Interval


def per_kind(truth: Integers, answer: Integers, kinds: int) -> list[Scores]:
    """Of each kind in order; a share of nothing counts zero.

    ``truth`` and ``answer`` are indices of kinds, one a photograph; one that is ``kinds`` or more is none of them.
    """
    right, named, there = _counts(truth, answer, kinds)
    return [
        Scores(r / max(1, n), r / max(1, t), 2 * r / max(1, n + t), t)
        for r, n, t in zip(right.tolist(), named.tolist(), there.tolist(), strict=True)
    ]


def macro_f1(truth: Integers, answer: Integers, kinds: int) -> float:
    """The mean of the F1 of the kinds that occur; NaN where none does."""
    right, named, there = _counts(truth, answer, kinds)
    occur = there > 0
    return float((2 * right[occur] / (named + there)[occur]).mean()) if occur.any() else float("nan")


def macro_f1_interval(truth: Integers, answer: Integers, kinds: int) -> Interval:
    """Macro-F1 by bootstrap over photographs."""
    return bootstrap(lambda draw: macro_f1(truth[draw], answer[draw], kinds), len(truth))


def bootstrap(measure: Callable[[Integers], float], total: int) -> Interval:
    """``measure`` of all indices below ``total``, and its 2.5th and 97.5th percentile over indices drawn anew.

    Seeded. Draws of which it is NaN, there being nothing to measure, are left out. Raises ValueError of nothing.
    """
    if total < 1:
        raise ValueError("nothing to measure")
    random = np.random.default_rng(0)
    values = np.array([measure(random.integers(0, total, total)) for _ in range(_RESAMPLES)])
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return Interval(measure(np.arange(total)), float(low), float(high))


def wilson(right: int, total: int) -> Interval:
    """Wilson's score interval of a share, https://doi.org/10.1080/01621459.1927.10502953."""
    if total < 1:
        raise ValueError("a share of nothing")
    z = 1.959964
    share, scale = right / total, 1 + z * z / total
    middle = (share + z * z / (2 * total)) / scale
    half = z * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / scale
    return Interval(share, float(max(0.0, middle - half)), float(min(1.0, middle + half)))


def calibration_error(confidence: Floats, right: Booleans) -> float:
    """The expected calibration error over bins of equally many answers.

    Bins of equal width would leave most of them empty, since engines abstain below a floor. Ten bins, fewer
    where they would hold under ten answers. Like every binned estimate it is too high on few answers.
    """
    bins = _bins(confidence)
    return float(np.abs(np.bincount(bins, confidence - right)).sum() / len(right))


def calibration_interval(confidence: Floats, right: Booleans) -> Interval:
    """The expected calibration error by bootstrap over answers."""
    return bootstrap(lambda draw: calibration_error(confidence[draw], right[draw]), len(right))


def reliability(confidence: Floats, right: Booleans) -> list[Bin]:
    """The bins of the calibration error, least confident first; equal confidences share a bin."""
    bins = _bins(confidence)
    return [
        Bin(
            int((bins == one).sum()),
            float(confidence[bins == one].mean()),
            wilson(int(right[bins == one].sum()), int((bins == one).sum())),
        )
        for one in np.unique(bins)
    ]


def _counts(truth: Integers, answer: Integers, kinds: int) -> tuple[Integers, Integers, Integers]:
    """How often each kind was named rightly, named, and there."""

    def count(values: Integers) -> Integers:
        return np.bincount(values, minlength=kinds)[:kinds]

    return count(truth[truth == answer]), count(answer), count(truth)


def _bins(confidence: Floats) -> Integers:
    """The bin of each answer, by its rank among all."""
    wanted = max(1, min(_BINS, len(confidence) // _LEAST_IN_BIN))
    rank = np.searchsorted(np.sort(confidence), confidence, side="left")
    return (rank * wanted // max(1, len(confidence))).astype(np.int64)
