"""The stage runner's rules: one bad item fails alone, and a process that hangs does not live on."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import Engine, text

from pipeline.errors import ConfigurationError, NotReady, RejectedInput, Transient, VitrineError
from pipeline.events import Product
from pipeline.graph import Scope
from pipeline.outcomes import Lane, Outcome
from storage.ledger import Claimed, Ledger
from tasks._batch import Item, Lease, compute
from tasks._stage import STAGES, broker_queue, stage
from tests.factories import Fetched, Seen, stub_graph, upload


class Scored(Outcome):
    score: float


def items(count: int, **inputs: Any) -> list[Item]:
    product = upload()[0].data
    assert isinstance(product, Product)
    return [
        Item(
            Claimed(
                job_id=n, token=n, attempt=1, recipe="", lane=Lane.LIVE, run_id=n, plan_id=n, source="shop",
                product_id=f"p{n}", product_row=1, product=product, image=product.images[0], target="a", revision=1,
                generation=0, cause="event", event_id=None, traceparent=None, inputs=inputs,
            ),
            {Fetched: "fetch", Seen: "see"},
        )
        for n in range(count)
    ]  # fmt: skip


class Counting:
    """A stage that fails on some items, and counts how often it was asked."""

    def __init__(self, error: BaseException, bad: set[int]) -> None:
        self.error, self.bad, self.calls = error, bad, 0

    def __call__(self, asked: Sequence[Item], runtime: Any) -> list[Outcome | VitrineError]:
        self.calls += 1
        if any(item.claimed.job_id in self.bad for item in asked):
            raise self.error
        return [Scored(score=item.claimed.job_id) for item in asked]


def ask(function: Any, count: int) -> list[Outcome | BaseException]:
    runtime: Any = None
    return compute(function, items(count), runtime)


@pytest.mark.parametrize("bad", [0, 13, 31])
def test_one_bad_item_in_a_batch_fails_alone(bad: int) -> None:
    function = Counting(ValueError("cannot"), {bad})
    outcomes = ask(function, 32)
    assert outcomes[bad] is function.error
    assert [o.score for o in outcomes if isinstance(o, Scored)] == [n for n in range(32) if n != bad]
    assert function.calls == 1 + 2 * 5, "halved, not asked one by one"


def test_several_bad_items_fail_and_only_they() -> None:
    outcomes = ask(Counting(RejectedInput("torn", "no picture"), {1, 2, 6}), 7)
    assert [n for n, o in enumerate(outcomes) if isinstance(o, RejectedInput)] == [1, 2, 6]


@pytest.mark.parametrize("error", [Transient("full"), NotReady("not yet"), ConfigurationError("no kit")])
def test_what_is_of_the_world_is_not_asked_twice(error: VitrineError) -> None:
    function = Counting(error, {3})
    assert ask(function, 32) == [error] * 32
    assert function.calls == 1


@pytest.mark.parametrize("returned", [0, 1, 3])
def test_a_stage_that_returns_another_number_of_outcomes_is_a_defect(returned: int) -> None:
    outcomes = ask(lambda asked, _: [Scored(score=1)] * returned, 2)
    if returned == 1:
        assert outcomes == [Scored(score=1)] * 2, "alone, one for one is right"
    else:
        assert [str(o) for o in outcomes] == [f"the stage returned {returned} outcomes for 1 items"] * 2


def test_errors_in_the_place_of_outcomes_are_kept_there() -> None:
    error = RejectedInput("blank", "nothing on it")
    calls = []

    def function(asked: Sequence[Item], _: Any) -> list[Outcome | VitrineError]:
        calls.append(len(asked))
        return [error if item.claimed.job_id == 1 else Scored(score=1) for item in asked]

    assert ask(function, 3) == [Scored(score=1), error, Scored(score=1)]
    assert calls == [3]


def test_nan_fails_alone() -> None:
    def function(asked: Sequence[Item], _: Any) -> list[Outcome | VitrineError]:
        return [Scored(score=float("nan") if item.claimed.job_id == 2 else 1.0) for item in asked]

    outcomes = ask(function, 4)
    assert isinstance(outcomes[2], ValidationError)
    assert [o for n, o in enumerate(outcomes) if n != 2] == [Scored(score=1.0)] * 3


def test_item_gives_outcomes_by_their_class() -> None:
    fetched, seen = Fetched(content="x"), [("a", Seen(what="1")), ("b", Seen(what="2"))]
    [item] = items(1, fetch=[("a", fetched)], see=seen)
    assert item.one(Fetched) is fetched
    assert item.all(Seen) == seen
    assert item.image.id == "a"
    with pytest.raises(ValueError, match="too many values"):
        item.one(Seen)


def test_a_stage_is_named_by_one_function() -> None:
    def tests_only(asked: Sequence[Item], _: Any) -> list[Outcome | VitrineError]:
        return []

    register = stage(version=1, scope=Scope.PRODUCT, produces=Scored)
    try:
        register(tests_only)
        register(tests_only)
        assert STAGES["tests_only"].spec.produces is Scored
        tests_only.__module__ = "elsewhere"

        def again(asked: Sequence[Item], _: Any) -> list[Outcome | VitrineError]:
            return []

        again.__name__ = "tests_only"
        with pytest.raises(ConfigurationError, match="'tests_only' is defined in"):
            register(again)
    finally:
        STAGES.pop("tests_only", None)


def test_lanes_have_queues_of_their_own() -> None:
    assert [broker_queue("vision", lane) for lane in Lane] == ["vision.live", "vision.backfill"]


def test_lease_is_kept_alive_and_let_go(database: Engine) -> None:
    ledger = Ledger(database, stub_graph(lease_s=2.0))
    ledger.accept([upload()])
    ledger.plan()
    spec = ledger.graph.stages["fetch"]
    claimed, _ = ledger.claim(spec, [], lane=Lane.LIVE, limit=1, worker="w")
    first, waited_until = leased_until(ledger), time.monotonic() + 20
    with Lease(ledger, spec, claimed):
        while leased_until(ledger) <= first:
            assert time.monotonic() < waited_until, "nobody renewed the lease"
            time.sleep(0.01)
    assert "lease" not in {thread.name for thread in threading.enumerate()}


def leased_until(ledger: Ledger) -> float:
    with ledger.engine.connect() as connection:
        asked = text("SELECT EXTRACT(epoch FROM lease_until) FROM jobs")
        return float(connection.execute(asked).scalar_one())


HANG = """
import sys, threading
from pipeline.outcomes import Lane
from storage.database import open_database
from storage.ledger import Ledger
from tasks._batch import Lease
from tests.factories import stub_graph

ledger = Ledger(open_database(sys.argv[1]), stub_graph(lease_s=0.3, deadline_s=0.2))
spec = ledger.graph.stages["fetch"]
with Lease(ledger, spec, ledger.claim(spec, [], lane=Lane.LIVE, limit=1, worker="hangs")[0]):
    threading.Event().wait(60)
"""


def test_a_process_that_hangs_ends_itself(database: Engine, database_url: str) -> None:
    ledger = Ledger(database, stub_graph())
    ledger.accept([upload()])
    ledger.plan()
    hung = subprocess.run(
        [sys.executable, "-c", HANG, database_url],
        timeout=60,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert hung.returncode == 70, hung.stderr
    assert "stage.hung" in hung.stdout + hung.stderr
    waited_until = time.monotonic() + 20
    while not ledger.reclaim()[0]:
        assert time.monotonic() < waited_until, "its lease was renewed past the deadline"
        time.sleep(0.01)
