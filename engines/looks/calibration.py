"""Confidences that are probabilities: logistic models over what was measured, fitted by ``engines.training``."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipeline.errors import ConfigurationError

FILE = "looks/calibration.toml"
"""Below the folder ``engines``, a table a model. Engines whose answers it shapes name it as their data."""


class Logistic(BaseModel):
    """The probability that an answer is right, from features by name (Platt 1999)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bias: float
    weights: dict[str, float]

    def probability(self, features: Mapping[str, float]) -> float:
        """In (0, 1). Raises ConfigurationError unless the features are those it was fitted on."""
        if features.keys() != self.weights.keys():
            raise ConfigurationError(
                f"{FILE} weighs {', '.join(sorted(self.weights))}, "
                f"but measured was {', '.join(sorted(features))}: fit it again with the script in engines/training"
            )
        score = self.bias + math.fsum(
            weight * features[name] for name, weight in sorted(self.weights.items())
        )
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, score))))


@cache
def calibration(name: str) -> Logistic:
    """The model in the table of that name. Raises ConfigurationError where there is none."""
    tables = tomllib.loads((Path(__file__).parents[1] / FILE).read_text("utf-8"))
    if name not in tables:
        raise ConfigurationError(f"{FILE} has no table [{name}]")
    return Logistic.model_validate(tables[name])
