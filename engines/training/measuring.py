"""Accuracy, F1 and calibration of a classifier, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

_RESAMPLES = 2000


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


def per_kind(truth: Integers, answer: Integers, kinds: int) -> list[Scores]:
    """Of each kind in order; a share of nothing counts zero."""
    rows = []
    for kind in range(kinds):
        right = int(((truth == kind) & (answer == kind)).sum())
        named, there = int((answer == kind).sum()), int((truth == kind).sum())
        rows.append(
            Scores(right / max(1, named), right / max(1, there), 2 * right / max(1, named + there), there)
        )
    return rows


def macro_f1(truth: Integers, answer: Integers, kinds: int) -> float:
    """The mean of the F1 of the kinds that occur."""
    return float(np.mean([row.f1 for row in per_kind(truth, answer, kinds) if row.photographs]))


def macro_f1_interval(truth: Integers, answer: Integers, kinds: int) -> Interval:
    """By bootstrap: the 2.5th and 97.5th percentile over photographs drawn anew, seeded."""
    random = np.random.default_rng(0)
    draws = random.integers(0, len(truth), (_RESAMPLES, len(truth)))
    values = [macro_f1(truth[draw], answer[draw], kinds) for draw in draws]
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(macro_f1(truth, answer, kinds), float(low), float(high))


def wilson(right: int, total: int) -> Interval:
    """Wilson's score interval of a share, https://doi.org/10.1080/01621459.1927.10502953."""
    z = 1.959964
    share, scale = right / total, 1 + z * z / total
    middle = (share + z * z / (2 * total)) / scale
    half = z * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / scale
    return Interval(share, float(max(0.0, middle - half)), float(min(1.0, middle + half)))


def calibration_error(confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    """The expected calibration error over ten equal bins of confidence."""
    bins = np.minimum((confidence * 10).astype(int), 9)
    return float(
        sum(
            abs(confidence[bins == one].mean() - right[bins == one].mean()) * (bins == one).mean()
            for one in np.unique(bins)
        )
    )
