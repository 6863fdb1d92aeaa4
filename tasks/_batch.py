"""A batch in hand: its items, computing them, and keeping their leases alive meanwhile. No Celery here."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError

from pipeline.errors import ConfigurationError, NotReady, Transient, VitrineError
from pipeline.events import ImageRef, Product
from pipeline.graph import StageSpec, slot_of
from pipeline.outcomes import Outcome
from storage.ledger import Claimed, Ledger
from tasks._runtime import Runtime

_log = structlog.get_logger("vitrine.stage")

_EXIT_HUNG = 70  # EX_SOFTWARE of sysexits.h

O = TypeVar("O", bound=Outcome)  # noqa: E741
I = TypeVar("I")  # noqa: E741
A = TypeVar("A")
E = TypeVar("E", bound=Exception)
StageFunction = Callable[[Sequence["Item"], Runtime], Sequence[Outcome | VitrineError]]


@dataclass(frozen=True, slots=True)
class Item:
    """One job as a stage sees it: the product's facts, the photo it is about, the outcomes it builds on."""

    claimed: Claimed
    producers: Mapping[type[Outcome], str]

    @property
    def product(self) -> Product:
        return self.claimed.product

    @property
    def image(self) -> ImageRef:
        assert self.claimed.image is not None, "only image-scope stages have one image"
        return self.claimed.image

    @property
    def slot(self) -> str:
        """The slot of the stage that this job fills; empty where it has none."""
        return slot_of(self.claimed.target)

    def one(self, kind: type[O]) -> O:
        """The outcome of ``kind`` for this photo, or for the product."""
        [(_, outcome)] = self.claimed.inputs[self.producers[kind]]
        assert isinstance(outcome, kind)
        return outcome

    def maybe(self, kind: type[O]) -> O | None:
        """The outcome of ``kind`` for this photo, or for the product, where there is one."""
        return next((outcome for _, outcome in self.all(kind)), None)

    def all(self, kind: type[O]) -> list[tuple[str, O]]:
        """Every usable outcome of ``kind`` with its photo's id, in the order of the photos."""
        found = self.claimed.inputs[self.producers[kind]]
        return [(target, outcome) for target, outcome in found if isinstance(outcome, kind)]


def compute(
    function: StageFunction, items: Sequence[Item], runtime: Runtime
) -> list[Outcome | BaseException]:
    """The outcomes of ``items``, or errors in their places; a batch that raises is halved."""

    def checked(part: Sequence[Item]) -> Sequence[Outcome | BaseException]:
        try:
            outcomes = list(function(part, runtime))
        except (Transient, NotReady, ConfigurationError) as error:
            # Of the world, not of an item: halving would only ask the same question again.
            return [error] * len(part)
        if len(outcomes) != len(part):
            raise ValueError(f"the stage returned {len(outcomes)} outcomes for {len(part)} items")
        strange = [type(o).__name__ for o in outcomes if not isinstance(o, Outcome | VitrineError)]
        if strange:
            raise TypeError(f"the stage returned {strange[0]} in the place of an outcome")
        return outcomes

    return halved(checked, items, Exception)


def halved(answer: Callable[[Sequence[I]], Sequence[A]], items: Sequence[I], refusal: type[E]) -> list[A | E]:
    """The answers to ``items``; a batch that raises ``refusal`` is halved until what is refused stands alone."""
    try:
        return list(answer(items))
    except refusal as error:
        if len(items) == 1:
            return [error]
        half = len(items) // 2
        return halved(answer, items[:half], refusal) + halved(answer, items[half:], refusal)


class Lease:
    """Keeps the leases of a batch alive from a thread; ends a process that outlives its deadline."""

    def __init__(self, ledger: Ledger, spec: StageSpec, claimed: Sequence[Claimed]) -> None:
        self._ledger = ledger
        self._spec = spec
        self._held = {item.job_id: item.token for item in claimed}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        deadline = time.monotonic() + self._spec.deadline_s
        while not self._ended.wait(self._spec.lease_s / 3):
            if time.monotonic() > deadline:
                # An engine that hangs cannot be interrupted from within; its lease expires behind it.
                _log.error("stage.hung", stage=self._spec.name, deadline_s=self._spec.deadline_s)
                os._exit(_EXIT_HUNG)
            try:
                self._ledger.renew(self._held, self._spec.lease_s)
            except (OperationalError, InterfaceError) as error:
                _log.warning("lease.unrenewed", stage=self._spec.name, error=str(error).splitlines()[0])
