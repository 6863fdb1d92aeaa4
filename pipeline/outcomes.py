"""What a stage leaves behind: immutable, typed, serialisable values; the graph's edges are their classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum, StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Verdict(StrEnum):
    """How an event, or a replay of one, ended. Every accepted event gets exactly one."""

    DONE = "done"
    DEGRADED = "degraded"  # some stages parked or skipped
    SUPERSEDED = "superseded"  # a newer revision took over
    WITHDRAWN = "withdrawn"  # the product was, or got, withdrawn
    REJECTED = "rejected"  # nothing could be derived from it


class RunState(StrEnum):
    """Where one stage of one plan stands. ``ready`` covers running: the job it subscribes to knows more."""

    WAITING = "waiting"
    READY = "ready"
    DONE = "done"
    REUSED = "reused"
    SKIPPED = "skipped"
    PARKED = "parked"
    SUPERSEDED = "superseded"


class JobState(StrEnum):
    """Where one unit of work stands."""

    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    PARKED = "parked"


class Lane(IntEnum):
    """Who waits for the work; the smaller number goes first."""

    LIVE = 0
    BACKFILL = 1


class Value(BaseModel):
    """An immutable part of an outcome. Unknown fields and NaN are errors, never data."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Blob(Value):
    """A reference to a content-addressed asset: ``digest`` is the SHA-256 of its bytes, in hex."""

    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    media_type: str
    size: int = Field(ge=0, description="bytes")


class Outcome(Value):
    """Base of every stage's result.

    The digest of its canonical JSON enters the fingerprints of the stages behind it, so an outcome holds
    only what follows from its inputs: no clock, no host, no product id.
    """

    def blocks(self) -> str | None:
        """The reason why nothing may be derived from this, or None. Stages behind it are skipped with it."""
        return None

    def load_bytes(self) -> int:
        """How many bytes of memory a stage that reads this will need for it; caps a batch."""
        return 0

    def blobs(self) -> tuple[Blob, ...]:
        """Every asset that this outcome keeps alive."""
        return tuple(_blobs(self))


def _blobs(value: Any) -> Iterator[Blob]:
    if isinstance(value, Blob):
        yield value
        return
    parts: Iterable[Any] = ()
    if isinstance(value, BaseModel):
        parts = vars(value).values()
    elif isinstance(value, tuple | list):
        parts = value
    elif isinstance(value, dict):
        parts = value.values()
    for part in parts:
        if not isinstance(part, str | int | float):
            yield from _blobs(part)
