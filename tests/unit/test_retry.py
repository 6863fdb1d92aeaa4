"""What becomes of work that failed: every class of error, every attempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError, ContractError, NotReady, RejectedInput, Transient
from pipeline.retry import Park, Retry, RetryPolicy, Snooze

POLICY = RetryPolicy(max_attempts=4, first_s=2.0, longest_s=10.0)
jitters = st.floats(0, 1, exclude_max=True)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


@given(st.integers(1, 3), jitters)
def test_transient_backs_off_within_half_and_all_of_the_delay(attempt: int, jitter: float) -> None:
    decision = POLICY.decide(Transient("slow"), attempt, jitter)
    assert isinstance(decision, Retry)
    delay = {1: 2.0, 2: 4.0, 3: 8.0}[attempt]
    assert delay / 2 <= decision.after_s <= delay
    assert decision.error == "Transient: slow"


def test_delay_is_capped() -> None:
    decision = RetryPolicy(max_attempts=100, longest_s=10.0).decide(Transient("slow"), 60, 0.999)
    assert isinstance(decision, Retry)
    assert 9.9 < decision.after_s <= 10.0


@pytest.mark.parametrize("attempt", [4, 5, 99])
def test_last_attempt_parks(attempt: int) -> None:
    decision = POLICY.decide(Transient("slow"), attempt, 0.5)
    assert decision == Park("retries-exhausted", f"Transient: slow (attempt {attempt} of 4)")


def test_defect_is_retried_then_parked_with_its_traceback() -> None:
    error = raised(ZeroDivisionError("division by zero"))
    assert isinstance(POLICY.decide(error, 3, 0.0), Retry)
    decision = POLICY.decide(error, 4, 0.0)
    assert isinstance(decision, Park)
    assert decision.reason == "defect"
    assert "Traceback" in decision.trace
    assert "raise error" in decision.trace


@pytest.mark.parametrize("error", [ContractError("x", "y"), MemoryError("full"), SystemError("odd")])
def test_whatever_is_not_known_is_a_defect(error: BaseException) -> None:
    assert isinstance(POLICY.decide(error, 1, 0.0), Retry)
    assert POLICY.decide(error, 4, 0.0).reason == "defect"  # type: ignore[union-attr]


def test_a_long_traceback_keeps_its_end() -> None:
    decision = POLICY.decide(raised(ValueError("x" * 9_000 + "the end")), 4, 0.0)
    assert isinstance(decision, Park)
    assert len(decision.trace) == 8_000
    assert decision.trace.rstrip().endswith("the end")


@given(st.integers(1, 10_000), jitters)
def test_rejected_input_parks_at_once(attempt: int, jitter: float) -> None:
    assert POLICY.decide(RejectedInput("too-large", "60 MP"), attempt, jitter) == Park("too-large", "60 MP")


@given(st.integers(1, 10_000), jitters)
def test_what_is_not_ready_snoozes_for_ever(attempt: int, jitter: float) -> None:
    decision = POLICY.decide(NotReady("no image yet", after_s=8), attempt, jitter)
    assert isinstance(decision, Snooze)
    assert 4.0 <= decision.after_s <= 12.0


@given(st.integers(1, 10_000), jitters)
def test_a_misconfigured_worker_costs_the_work_no_attempt(attempt: int, jitter: float) -> None:
    decision = POLICY.decide(ConfigurationError("VITRINE_KIT is not there: run make demo"), attempt, jitter)
    assert isinstance(decision, Snooze)
    assert 15.0 <= decision.after_s <= 45.0
    assert "VITRINE_KIT" in decision.error


def test_one_attempt_means_no_retry() -> None:
    assert isinstance(RetryPolicy(max_attempts=1).decide(Transient("x"), 1, 0.0), Park)
