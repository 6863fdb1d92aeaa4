"""The errors of Vitrine: a small tree in which the class decides what happens to the work.

==================  =====================================================================
class               what the stage runner or the intake does
==================  =====================================================================
Transient           retry with jittered backoff, up to the stage's attempts, then park
EngineDown          the same, unless another engine is named as a fallback: it answers
NotReady            snooze: try again later, costs no attempt
RejectedInput       park at once: no retry can change the answer
NeedsReview         the same, with what was made: a person judges whether it may be served
ContractError       quarantine the message: it breaks the event contract
ConfigurationError  stop the process: the message names the setting and the remedy
==================  =====================================================================

Anything else is a defect: retried a bounded number of times, then parked with its traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.outcomes import Outcome


class VitrineError(Exception):
    """Root of every error that Vitrine raises on purpose."""


class Transient(VitrineError):
    """A failure that time may heal: a timeout, a refused connection, a full device."""


class EngineDown(Transient):
    """An engine that cannot answer now: its server is away, or what it may spend today is spent.

    Where the federation names a fallback, that engine answers at once; else it is tried again later.
    """


class NotReady(VitrineError):
    """Something this work waits for is not there yet; trying again costs no attempt.

    ``after_s`` is how many seconds to wait before the next look.
    """

    def __init__(self, message: str, *, after_s: float = 5.0) -> None:
        super().__init__(message)
        self.after_s = after_s


class RejectedInput(VitrineError):
    """The input itself is refused. ``reason`` is a stable kebab-case code, the message is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason}: {self.args[0]}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, str(self.args[0]))


class NeedsReview(RejectedInput):
    """Something was made that is not proven to be right: ``outcome`` is kept with the parked work until a person
    accepts or rejects it."""

    def __init__(self, reason: str, message: str, outcome: Outcome) -> None:
        super().__init__(reason, message)
        self.outcome = outcome

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, str(self.args[0]), self.outcome)


class ContractError(VitrineError):
    """A message breaks the event contract. ``field`` is a dotted path, empty for the whole message."""

    def __init__(self, reason: str, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field

    def __str__(self) -> str:
        where = f" at {self.field}" if self.field else ""
        return f"{self.reason}{where}: {self.args[0]}"


class ConfigurationError(VitrineError):
    """A setting or the installation is wrong; the message names the thing and the remedy."""
