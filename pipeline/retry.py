"""What to do with work that failed, as a value: retry, snooze or park."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from pipeline.errors import ConfigurationError, NeedsReview, NotReady, RejectedInput, Transient
from pipeline.outcomes import Outcome

_TRACEBACK_CHARACTERS = 8_000
_MISCONFIGURED_S = 30.0


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after ``after_s`` seconds."""

    after_s: float
    error: str


@dataclass(frozen=True, slots=True)
class Snooze:
    """Look again after ``after_s`` seconds; the attempt is given back."""

    after_s: float
    error: str


@dataclass(frozen=True, slots=True)
class Park:
    """Set aside for a person, with everything needed to understand why; and with what was made, if a person is to
    judge it."""

    reason: str
    error: str
    trace: str = ""
    outcome: Outcome | None = None


Decision = Retry | Snooze | Park


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter.

    Source: M. Brooker, "Exponential Backoff And Jitter", 2015; half of each delay is kept so that an
    immediate retry storm cannot happen.
    """

    max_attempts: int = 5
    first_s: float = 2.0
    longest_s: float = 300.0

    def decide(self, error: BaseException, attempt: int, jitter: float) -> Decision:
        """Judge ``error`` of the ``attempt``-th try (1 is the first); ``jitter`` is uniform in [0, 1)."""
        message = f"{type(error).__name__}: {error}"
        if isinstance(error, RejectedInput):
            made = error.outcome if isinstance(error, NeedsReview) else None
            return Park(error.reason, str(error.args[0]), outcome=made)
        if isinstance(error, NotReady):
            return Snooze(error.after_s * (0.5 + jitter), message)
        if isinstance(error, ConfigurationError):
            # The worker is at fault, not the work: it keeps its attempts until somebody mends the worker.
            return Snooze(_MISCONFIGURED_S * (0.5 + jitter), message)
        trace = "" if isinstance(error, Transient) else _trace(error)
        if attempt >= self.max_attempts:
            reason = "retries-exhausted" if isinstance(error, Transient) else "defect"
            return Park(reason, f"{message} (attempt {attempt} of {self.max_attempts})", trace)
        delay = min(self.longest_s, self.first_s * 2.0 ** (attempt - 1))
        return Retry(delay * (0.5 + jitter / 2), message)


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-_TRACEBACK_CHARACTERS:]
