"""Multinomial logistic regression on frozen features: fitted, its decay and temperature chosen by folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Model:
    """``x @ weight + bias`` are the scores: weight (D, kinds), bias (kinds)."""

    weight: Floats
    bias: Floats

    def scores(self, x: Floats) -> Floats:
        scores: Floats = x @ self.weight + self.bias
        return scores


@dataclass(frozen=True, slots=True)
class Choice:
    """What the folds led to: the decay, the temperature, and every row's scores by a model that never saw it."""

    decay: float
    temperature: float
    scores: Floats


def fit(x: Floats, y: Integers, kinds: int, decay: float) -> Model:
    """The minimum of mean cross-entropy + decay / 2 * |weight|^2 over features of unit variance."""
    import torch

    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
    rows, labels = torch.from_numpy((x - mean) / spread), torch.from_numpy(y)
    weight = torch.zeros((x.shape[1], kinds), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(kinds, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(rows @ weight + bias, labels)
        value = value + decay / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    # The model takes the features as they come: the standardisation goes into its weights.
    scaled = weight.detach().numpy() / spread[:, np.newaxis]
    return Model(scaled, bias.detach().numpy() - mean @ scaled)


def choose(x: Floats, y: Integers, folds: Integers, kinds: int, decays: Sequence[float]) -> Choice:
    """The decay under which models fitted on the other folds are least surprised by the fold left out."""
    choices = []
    for decay in decays:
        scores = np.zeros((len(y), kinds))
        for fold in np.unique(folds):
            out = folds == fold
            scores[out] = fit(x[~out], y[~out], kinds, decay).scores(x[out])
        choices.append(Choice(decay, calibrate(scores, y), scores))
    return min(choices, key=lambda choice: surprise(choice.scores, y, choice.temperature))


def calibrate(scores: Floats, y: Integers) -> float:
    """The temperature at which the scores' probabilities are least surprised, to within 2%."""
    candidates = np.geomspace(0.2, 5, 161)
    return float(min(candidates, key=lambda temperature: surprise(scores, y, float(temperature))))


def surprise(scores: Floats, y: Integers, temperature: float) -> float:
    """The mean negative log-probability of the truth, in nats."""
    scaled = scores / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    log = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return float(-log[np.arange(len(y)), y].mean())
