"""The arithmetic of small heads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from engines.looks.heads import softmax, unit


def test_rows_get_length_one_along_the_axis_named_and_keep_their_precision() -> None:
    rows = np.array([[3.0, 4.0], [0.0, -2.0]], np.float32)
    assert unit(rows).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, -1.0]]
    assert np.linalg.norm(unit(rows, axis=0), axis=0) == pytest.approx([1.0, 1.0])
    assert unit(rows).dtype == np.float32
    assert unit(rows.astype(np.float64)).dtype == np.float64


def test_a_row_of_zeros_stays_zeros() -> None:
    assert not unit(np.zeros((2, 3), np.float32)).any()


@pytest.mark.parametrize("scores", [np.array([[1000.0, 999.0]]), np.array([[-1000.0, -1001.0]])])
def test_probabilities_do_not_overflow(scores: npt.NDArray[np.float64]) -> None:
    row = softmax(scores)[0]
    assert row[0] == pytest.approx(1 / (1 + np.exp(-1)))
    assert row.sum() == pytest.approx(1)


def test_probabilities_keep_the_scores_precision() -> None:
    assert softmax(np.zeros((0, 4), np.float32)).shape == (0, 4)
    assert softmax(np.zeros((1, 4), np.float32)).dtype == np.float32
