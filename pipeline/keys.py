"""Fingerprints: what a derived value is named by, so that the same work is never done twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


def canonical(value: Any) -> bytes:
    """Deterministic JSON: sorted keys, no spaces, no NaN. Equal values give equal bytes on every machine."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest(value: Any) -> bytes:
    """SHA-256 of the canonical JSON of ``value``, 32 bytes."""
    return hashlib.sha256(canonical(value)).digest()


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a stage computes today: its own version, the engine that serves it, and the parameters."""

    stage: str
    version: int
    engine: str = ""
    revision: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    key: str = field(init=False, compare=False, repr=False)
    """Sixteen hex digits; work of equal keys may share a batch. Made once: it is asked for at every run."""

    def __post_init__(self) -> None:
        parts = [self.stage, self.version, self.engine, self.revision, dict(self.params)]
        object.__setattr__(self, "key", digest(parts).hex()[:16])

    @property
    def label(self) -> str:
        """The engine that answers, as it is recorded beside every outcome: ``name@revision``, or empty."""
        return f"{self.engine}@{self.revision}" if self.engine else ""


def fingerprint(recipe_key: str, inputs: Any) -> bytes:
    """The name of what ``recipe_key`` makes of ``inputs`` (JSON: digests and facts actually used), 32 bytes."""
    return digest([recipe_key, inputs])
