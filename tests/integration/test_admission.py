"""Taking work: what is announced, in which order, and what one claim gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Engine

from pipeline.events import Event
from pipeline.keys import Recipe
from pipeline.outcomes import Lane
from pipeline.retry import Park, Retry
from storage.ledger import Batch, Claimed, Ledger, Result
from storage.quotes import Request
from storage.replays import Replays
from tests.factories import compute, stub_graph, upload, withdrawal, work
from tests.queries import change, one, rows, run_states

NEW = {"see": Recipe("see", 1, "engine", "2")}


@pytest.fixture
def ledger(database: Engine) -> Ledger:
    return Ledger(database, stub_graph(batch=8))


def arrive(ledger: Ledger, *events: tuple[Event, bytes]) -> None:
    ledger.accept(events)
    ledger.plan(len(events))


def claim(ledger: Ledger, ids: Sequence[int] = (), stage: str = "fetch", **how: Any) -> list[Claimed]:
    how = {"lane": Lane.LIVE, "limit": 32, "worker": "w"} | how
    return ledger.claim(ledger.graph.stages[stage], ids, **how)[0]


def jobs_of(batches: Sequence[Batch]) -> list[int]:
    return [job for batch in batches for job in batch.jobs]


def names_of(ledger: Ledger, batches: Sequence[Batch]) -> list[str]:
    """The products of the announced jobs, in the order of the announcement."""
    asked = """SELECT j.id, p.product_id FROM jobs j JOIN runs r ON r.job_id = j.id
        JOIN products p ON p.id = r.product_id"""
    named = {row.id: row.product_id for row in rows(ledger.engine, asked)}
    return [named[job] for job in jobs_of(batches)]


def backfill(ledger: Ledger, count: int, window: int = 1000) -> None:
    """Backfill work in the queue ``fetch``."""
    arrive(ledger, *(upload(f"old{n}") for n in range(count)))
    change(ledger.engine, "UPDATE plans SET lane = 1")
    change(ledger.engine, "UPDATE jobs SET lane = 1")


def test_no_more_than_the_window_is_out_and_nothing_is_announced_twice(ledger: Ledger) -> None:
    backfill(ledger, 30)
    arrive(ledger, *(upload(f"p{n}") for n in range(30)))
    announced = jobs_of(ledger.admit("fetch", 20))
    assert len(announced) == len(set(announced)) == 20
    assert ledger.admit("fetch", 20) == []
    claimed = claim(ledger, announced[:5], limit=5)
    assert len(claimed) == 5
    more = jobs_of(ledger.admit("fetch", 20))
    assert len(more) == 5, "as much as was taken"
    assert not set(more) & set(announced)
    assert ledger.admit("vision", 20) == [], "a queue of its own"


def test_batches_hold_one_stage_and_lane_and_name_their_products(ledger: Ledger) -> None:
    backfill(ledger, 2)
    arrive(ledger, *(upload(f"p{n}", images=("a", "b")) for n in range(5)))
    batches = ledger.admit("fetch", 100)
    assert [(b.lane, len(b.jobs)) for b in batches] == [(Lane.LIVE, 8), (Lane.LIVE, 2), (Lane.BACKFILL, 2)]
    assert batches[0].products == ("p0", "p1", "p2", "p3")
    assert {b.stage for b in batches} == {"fetch"}


def test_live_goes_first_and_backfill_keeps_its_share(ledger: Ledger) -> None:
    backfill(ledger, 40)
    arrive(ledger, *(upload(f"p{n}") for n in range(40)))
    batches = ledger.admit("fetch", 16)
    assert batches[0].lane is Lane.LIVE
    assert sum(len(b.jobs) for b in batches if b.lane is Lane.BACKFILL) == 2


def test_live_work_gets_the_places_that_come_free_in_a_full_window(ledger: Ledger) -> None:
    backfill(ledger, 40)
    assert len(jobs_of(ledger.admit("fetch", 16))) == 12, "a quarter is kept free for live work"
    arrive(ledger, *(upload(f"p{n}") for n in range(20)))
    assert [batch.lane for batch in ledger.admit("fetch", 16)] == [Lane.LIVE], "and is there at once"
    lanes = []
    for _ in range(10):
        [taken] = claim(ledger, limit=1, lane=Lane.BACKFILL)
        lanes += [batch.lane for batch in ledger.admit("fetch", 16)]
        ledger.settle([Result(taken.job_id, taken.token, compute(taken, "fetch"))])
    assert lanes == [Lane.LIVE] * 10


def test_backfill_goes_on_while_live_work_never_ends(ledger: Ledger) -> None:
    backfill(ledger, 5)
    arrive(ledger, *(upload(f"p{n}") for n in range(60)))
    lanes = []
    for _ in range(20):
        batches = ledger.admit("fetch", 8)
        lanes += [batch.lane for batch in batches for _ in batch.jobs]
        claim(ledger, jobs_of(batches), limit=1)
        change(ledger.engine, "UPDATE jobs SET state = 'done', outcome = '{}' WHERE state = 'running'")
    assert Lane.BACKFILL in lanes


def test_a_flood_of_one_source_delays_no_other_beyond_one_window(ledger: Ledger) -> None:
    arrive(ledger, *(upload(f"flood{n:03}", source="flood") for n in range(500)))
    arrive(ledger, *(upload(f"q{n}", source="quiet") for n in range(3)))
    arrive(ledger, upload("s0", source="solo"))
    batches = ledger.admit("fetch", 20)
    first = names_of(ledger, batches)
    assert {"q0", "q1", "q2", "s0"} <= set(first)
    assert len(first) == 20
    assert [n for n in first if n.startswith("flood")] == [f"flood{n:03}" for n in range(16)], "oldest first"


def test_what_may_not_start_yet_is_not_announced(ledger: Ledger) -> None:
    arrive(ledger, upload("p1"), upload("p2"))
    [first] = claim(ledger, limit=1)
    ledger.settle([Result(first.job_id, first.token, decision=Retry(60, "slow"))])
    assert names_of(ledger, ledger.admit("fetch", 10)) == ["p2"]
    change(ledger.engine, "UPDATE jobs SET not_before = now()")
    assert names_of(ledger, ledger.admit("fetch", 10)) == ["p1"]


def test_a_suspect_travels_and_is_claimed_alone(ledger: Ledger) -> None:
    arrive(ledger, *(upload(f"p{n}") for n in range(4)))
    suspect = claim(ledger, limit=1)[0].job_id
    change(ledger.engine, "UPDATE jobs SET lease_until = now() - interval '1 s' WHERE state = 'running'")
    ledger.reclaim()
    batches = ledger.admit("fetch", 10)
    assert sorted(len(b.jobs) for b in batches) == [1, 3]
    assert len(claim(ledger, [suspect])) == 1, "not topped up"
    assert suspect not in {c.job_id for c in claim(ledger, [])}


def test_a_suspect_in_a_batch_is_put_back(ledger: Ledger) -> None:
    arrive(ledger, *(upload(f"p{n}") for n in range(2)))
    announced = jobs_of(ledger.admit("fetch", 10))
    change(ledger.engine, "UPDATE jobs SET suspect = true WHERE id = :id", id=announced[0])
    assert [c.job_id for c in claim(ledger, announced)] == announced[1:]
    assert jobs_of(ledger.admit("fetch", 10)) == announced[:1]


def test_top_up_takes_only_the_same_stage_lane_and_recipe(ledger: Ledger) -> None:
    backfill(ledger, 3)
    arrive(ledger, *(upload(f"p{n}") for n in range(5)))
    change(ledger.engine, "UPDATE jobs SET recipe = 'other' WHERE id = (SELECT max(id) FROM jobs)")
    [first, *_] = jobs_of(ledger.admit("fetch", 100))
    assert len(claim(ledger, [first])) == 4, "five live ones, one of them of another recipe"
    left = rows(ledger.engine, "SELECT lane, recipe = 'other' FROM jobs WHERE state = 'ready' ORDER BY 1")
    assert [tuple(row) for row in left] == [(0, True), (1, False), (1, False), (1, False)], "untouched"


def test_byte_cap_holds_and_the_rest_is_put_back(database: Engine) -> None:
    ledger = Ledger(database, stub_graph(batch_bytes=100))
    arrive(ledger, *(upload(f"p{n}") for n in range(5)))
    change(database, "UPDATE jobs SET load_bytes = 40")
    announced = jobs_of(ledger.admit("fetch", 10))
    assert len(claim(ledger, announced)) == 2
    assert one(database, "SELECT count(*) FROM jobs WHERE dispatched_at IS NOT NULL") == 0
    assert jobs_of(ledger.admit("fetch", 10)) == announced[2:]
    change(database, "UPDATE jobs SET load_bytes = 1000")
    assert len(claim(ledger, announced[2:])) == 1, "what exceeds the cap alone still runs, alone"


def test_item_limit_holds_and_the_rest_is_put_back(ledger: Ledger) -> None:
    arrive(ledger, *(upload(f"p{n}") for n in range(6)))
    announced = jobs_of(ledger.admit("fetch", 10))
    claimed, queues = ledger.claim(
        ledger.graph.stages["fetch"], announced, lane=Lane.LIVE, limit=2, worker="w"
    )
    assert ([c.job_id for c in claimed], queues) == (announced[:2], {"fetch"})
    assert jobs_of(ledger.admit("fetch", 10)) == announced[2:]


def test_jobs_of_another_recipe_are_planned_anew(ledger: Ledger) -> None:
    arrive(ledger, upload())
    work(ledger, stages=["fetch"])
    [old] = jobs_of(ledger.admit("vision", 10))
    newer = Ledger(ledger.engine, stub_graph(recipes=NEW))
    claimed, queues = newer.claim(newer.graph.stages["see"], [old], lane=Lane.LIVE, limit=8, worker="w")
    assert (claimed, queues) == ([], {"vision"})
    assert rows(ledger.engine, "SELECT 1 FROM jobs WHERE id = :id", id=old) == []
    assert work(newer) == 2
    assert one(ledger.engine, "SELECT engine FROM jobs WHERE stage = 'see'") == "engine@2"
    assert set(run_states(ledger.engine).values()) == {"done"}


def test_only_the_right_token_renews(ledger: Ledger) -> None:
    arrive(ledger, upload("p1"), upload("p2"))
    mine, lost = claim(ledger)
    change(
        ledger.engine, "UPDATE jobs SET lease_until = now() - interval '1 s' WHERE id = :id", id=lost.job_id
    )
    ledger.reclaim()
    [heir] = claim(ledger, [lost.job_id])
    before = one(ledger.engine, "SELECT lease_until FROM jobs WHERE id = :id", id=lost.job_id)
    assert ledger.renew({mine.job_id: mine.token, lost.job_id: lost.token}, 3600) == {mine.job_id}
    assert one(ledger.engine, "SELECT lease_until FROM jobs WHERE id = :id", id=lost.job_id) == before
    assert heir.token > lost.token
    ledger.settle([Result(mine.job_id, mine.token, compute(mine, "fetch"))])
    assert ledger.renew({mine.job_id: mine.token}, 3600) == set(), "what is settled is not held"


def announced_for_nobody(ledger: Ledger) -> list[int]:
    asked = """SELECT j.id FROM jobs j WHERE j.state = 'ready' AND NOT EXISTS (
        SELECT FROM runs r WHERE r.job_id = j.id AND r.state = 'ready')"""
    return [row.id for row in rows(ledger.engine, asked)]


@pytest.mark.parametrize("end", ["retry", "death"])
def test_work_that_lost_its_subscriber_while_it_ran_is_not_tried_again(ledger: Ledger, end: str) -> None:
    arrive(ledger, upload(revision=1))
    [old] = claim(ledger)
    arrive(ledger, upload(revision=2))
    if end == "retry":
        ledger.settle([Result(old.job_id, old.token, decision=Retry(0, "slow"))])
    else:
        change(ledger.engine, "UPDATE jobs SET lease_until = now() - interval '1 s' WHERE state = 'running'")
        ledger.reclaim()
    assert announced_for_nobody(ledger) == []
    assert work(ledger) == 3


def test_forced_work_that_lost_its_subscriber_stays_what_it_was(ledger: Ledger) -> None:
    shared = [{"id": "a", "url": "https://shop.example/x", "sha256": "e" * 64}]
    arrive(ledger, upload("p1", images=shared), upload("p2", images=shared))
    work(ledger)
    replays = Replays(ledger.engine, ledger.graph)
    replays.create(Request(force=True, window=1))
    replays.advance()
    arrive(ledger, withdrawal("p1", 2))
    assert announced_for_nobody(ledger) == []
    assert one(ledger.engine, "SELECT count(*) FROM jobs WHERE state = 'done'") == 3
    arrive(ledger, upload("p3", images=shared))
    assert run_states(ledger.engine, "p3")["see/a"] == "reused"


def test_parked_work_that_nobody_waits_for_any_more_is_known_as_parked(ledger: Ledger) -> None:
    arrive(ledger, upload("p1"))
    [item] = claim(ledger)
    ledger.settle([Result(item.job_id, item.token, decision=Park("torn", "x"))])
    assert jobs_of(ledger.admit("fetch", 10)) == []
    assert run_states(ledger.engine) == {"fetch/a": "parked", "see/a": "skipped", "tell": "skipped"}


def test_what_follows_live_work_is_announced_at_once_and_what_follows_backfill_is_not(ledger: Ledger) -> None:
    ledger.accept([upload("live"), upload("old")])
    ledger.plan()
    change(ledger.engine, "UPDATE jobs SET lane = 1 WHERE turn = (SELECT max(turn) FROM jobs)")
    change(ledger.engine, "UPDATE plans SET lane = 1 WHERE id = (SELECT max(id) FROM plans)")
    spec = ledger.graph.stages["fetch"]
    for lane, announced in ((Lane.LIVE, 1), (Lane.BACKFILL, 0)):
        [item], _ = ledger.claim(spec, [], lane=lane, limit=8, worker="w")
        settled = ledger.settle([Result(item.job_id, item.token, compute(item, "fetch"))], window=16)
        assert [len(batch.jobs) for batch in ledger.batches(settled)] == [1] * announced
        assert settled.news.queues == (set() if announced else {"vision"})
    assert [batch.lane for batch in ledger.admit("vision", 16)] == [Lane.BACKFILL]
