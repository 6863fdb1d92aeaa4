"""Logistic regression with weighted rows, for the few features of ``engines.looks.calibration``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from engines.looks.calibration import Logistic

_DECAY = 0.1
"""The prior on a weight, as if seen in a tenth of one row: it only keeps a perfect feature finite."""

_STEPS = 50


def fit(rows: Sequence[Mapping[str, float]], right: Sequence[bool], weights: Sequence[float]) -> Logistic:
    """The likeliest model, by Newton's method; the same rows give the same model.

    Targets are drawn in as Platt (1999) does, so that rows without an error do not promise certainty.
    """
    names = sorted(rows[0])
    x = np.array([[row[name] for name in names] + [1.0] for row in rows])
    y, w = np.array(right, np.float64), np.array(weights, np.float64)
    positive, negative = float((w * y).sum()), float((w * (1 - y)).sum())
    target = np.where(y > 0, (positive + 1) / (positive + 2), 1 / (negative + 2))
    prior = np.diag([_DECAY] * len(names) + [0.0])
    beta = np.zeros(len(names) + 1)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        gradient = x.T @ (w * (p - target)) + prior @ beta
        hessian = (x * (w * p * (1 - p))[:, np.newaxis]).T @ x + prior + 1e-9 * np.eye(len(beta))
        beta = beta - np.linalg.solve(hessian, gradient)
    found: npt.NDArray[np.float64] = beta.round(4)
    return Logistic(bias=float(found[-1]), weights=dict(zip(names, map(float, found[:-1]), strict=True)))
