"""What is set aside for a person: seen, explained, released, without giving a verdict twice."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from pipeline.keys import Recipe
from pipeline.outcomes import Lane
from pipeline.retry import Park
from storage.ledger import Ledger, Result
from storage.parked import Parked
from storage.quotes import Request
from storage.replays import Replays
from tests.factories import stub_graph, upload, withdrawal, work
from tests.queries import one, rows, run_states, verdicts

SHARED = [{"id": "a", "url": "https://shop.example/x.jpg", "sha256": "d" * 64}]


@pytest.fixture
def ledger(database: Engine) -> Ledger:
    return Ledger(database, stub_graph())


@pytest.fixture
def parked(ledger: Ledger) -> Parked:
    return Parked(ledger.engine, ledger.graph)


def park(
    ledger: Ledger, stage: str = "fetch", *, reason: str = "torn", target: str | None = None
) -> list[int]:
    """Park what is ready of a stage (of one photo); the rest of it is let go."""
    claimed, _ = ledger.claim(ledger.graph.stages[stage], [], lane=Lane.LIVE, limit=32, worker="w7")
    chosen = [c for c in claimed if target in (None, c.target)]
    ledger.settle(
        [Result(c.job_id, c.token, decision=Park(reason, "a message", "Traceback: here")) for c in chosen]
    )
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE jobs SET state = 'ready', lease_token = NULL WHERE state = 'running'"
        )
    return sorted(c.job_id for c in chosen)


def arrive(ledger: Ledger, *events: object) -> None:
    ledger.accept(list(events))  # type: ignore[arg-type]
    ledger.plan()


def test_list_explains_what_went_wrong(ledger: Ledger, parked: Parked) -> None:
    arrive(ledger, upload("p1", images=SHARED), upload("p2", images=SHARED), upload("p3"))
    park(ledger)
    assert [(row["stage"], row["reason"], row["jobs"]) for row in parked.summary()] == [("fetch", "torn", 2)]
    shared, single = sorted(parked.jobs(), key=lambda job: job["id"])
    assert (shared["products"], single["products"]) == (["p1", "p2"], ["p3"])
    assert (shared["error"], shared["target"], shared["attempts"], shared["worker"]) == (
        "a message",
        "a",
        1,
        "w7",
    )
    assert parked.trace(shared["id"]) == "Traceback: here"
    assert [job["id"] for job in parked.jobs(jobs=[single["id"]])] == [single["id"]]
    assert parked.jobs(stage="see") == parked.jobs(reason="other") == parked.jobs(jobs=[]) == []
    assert len(parked.jobs(limit=1)) == 1


def test_quarantined_messages_are_listed(ledger: Ledger, parked: Parked) -> None:
    ledger.accept([upload()])
    ledger.accept([upload(title="another")])
    [row] = parked.quarantined()
    assert (row["reason"], row["field"], row["product_id"], row["times"]) == ("id-reused", "id", "p1", 1)


def test_release_after_the_event_ended_makes_another_pass(ledger: Ledger, parked: Parked) -> None:
    arrive(ledger, upload(images=("a", "b")))
    park(ledger, target="b")
    work(ledger)
    assert verdicts(ledger.engine) == {"p1-1": "degraded"}
    assert run_states(ledger.engine)["see/b"] == "skipped"
    settled_at = one(ledger.engine, "SELECT verdict_at FROM events")
    assert parked.release() == 1
    assert work(ledger) == 3, "the photo, what was skipped behind it, and the product anew"
    assert set(run_states(ledger.engine).values()) == {"done", "reused"}
    assert parked.jobs() == []
    assert one(ledger.engine, "SELECT verdict, verdict_at FROM events") == ("degraded", settled_at)
    plans = rows(ledger.engine, "SELECT cause, generation, verdict FROM plans ORDER BY id")
    assert [tuple(row) for row in plans] == [("event", 0, "degraded"), ("release", 1, "done")]
    fields = one(ledger.engine, "SELECT fields FROM presentations")
    assert len(fields["told"]["value"]) == 2


def test_release_while_the_event_is_open_takes_the_runs_back(ledger: Ledger, parked: Parked) -> None:
    arrive(ledger, upload(images=("a", "b", "c")))
    [job] = park(ledger, target="b")
    park(ledger, target="c", reason="other")
    assert run_states(ledger.engine)["see/b"] == "skipped"
    assert parked.release(reason="torn") == 1
    states = run_states(ledger.engine)
    assert (states["fetch/b"], states["see/b"], states["fetch/c"]) == ("ready", "waiting", "parked")
    assert one(ledger.engine, "SELECT attempts, reason FROM jobs WHERE id = :job", job=job) == (0, None)
    work(ledger)
    assert verdicts(ledger.engine) == {"p1-1": "degraded"}
    assert one(ledger.engine, "SELECT count(*) FROM plans") == 1
    assert [job["reason"] for job in parked.jobs()] == ["other"]


@pytest.mark.parametrize("ended", [True, False])
def test_releasing_a_shared_photo_moves_both_products(ledger: Ledger, parked: Parked, *, ended: bool) -> None:
    photos = (
        SHARED if ended else [*SHARED, {"id": "z", "url": "https://shop.example/z.jpg", "sha256": "f" * 64}]
    )
    arrive(ledger, upload("p1", images=photos), upload("p2", images=photos))
    park(ledger, target="a")
    assert one(ledger.engine, "SELECT count(*) FROM plans WHERE verdict IS NULL") == (0 if ended else 2)
    assert parked.release(stage="fetch") == 2
    work(ledger)
    for product in ("p1", "p2"):
        assert set(run_states(ledger.engine, product).values()) <= {"done", "reused"}
    assert set(verdicts(ledger.engine).values()) == ({"rejected"} if ended else {"done"})


def test_release_of_nothing_is_nothing(ledger: Ledger, parked: Parked) -> None:
    arrive(ledger, upload())
    assert parked.release() == parked.release(stage="see") == 0
    assert work(ledger) == 3


def test_released_work_that_nobody_waits_for_is_not_started(ledger: Ledger, parked: Parked) -> None:
    arrive(ledger, upload(revision=1))
    park(ledger)
    arrive(ledger, upload(revision=2))
    assert work(ledger) == 3
    assert parked.release() == 0, "the product has moved on"
    assert one(ledger.engine, "SELECT count(*) FROM jobs WHERE state <> 'done'") == 0
    assert parked.jobs() == []


def test_release_under_another_engine_asks_the_new_one(ledger: Ledger) -> None:
    arrive(ledger, upload())
    work(ledger, stages=["fetch"])
    park(ledger, "see")
    graph = stub_graph(recipes={"see": Recipe("see", 1, "better", "1")})
    parked = Parked(ledger.engine, graph)
    assert parked.release() == 1
    assert work(Ledger(ledger.engine, graph)) == 2
    assert parked.jobs() == []
    assert {row.engine for row in rows(ledger.engine, "SELECT engine FROM jobs WHERE stage = 'see'")} == {
        "better@1"
    }


def test_withdrawn_product_has_nothing_to_release(ledger: Ledger, parked: Parked) -> None:
    arrive(ledger, upload("p1", images=SHARED), upload("p2", images=SHARED))
    park(ledger)
    arrive(ledger, withdrawal("p1", 2))
    assert [job["products"] for job in parked.jobs()] == [["p2"]]
    assert parked.release() == 1
    assert work(ledger) == 3
    arrive(ledger, withdrawal("p2", 2))
    assert one(ledger.engine, "SELECT count(*) FROM jobs") == 0


def test_parked_work_that_a_replay_asked_for_and_left_is_parked_again(ledger: Ledger, parked: Parked) -> None:
    arrive(ledger, upload("p1", images=SHARED), upload("p2", images=SHARED))
    [job] = park(ledger)
    replays = Replays(ledger.engine, ledger.graph)
    replays.create(Request(window=1))
    replays.advance()
    assert parked.jobs() == []
    arrive(ledger, withdrawal("p1", 2))
    [left] = parked.jobs()
    assert (left["id"], left["reason"], left["products"]) == (job, "torn", ["p2"])
