"""What the relay does at every tick, and what it must leave alone."""

from __future__ import annotations

import hashlib
import threading

import pytest
from sqlalchemy import Engine, text

from pipeline.graph import Scope, StageGraph, StageSpec
from pipeline.outcomes import Blob, Lane, Outcome
from pipeline.retry import Park, Retry
from storage.assets import Assets
from storage.ledger import Ledger, Result
from storage.quotes import Request
from storage.replays import Replays
from tests.factories import compute, stub_graph, upload, withdrawal, work
from tests.queries import change, one, rows, run_states, verdicts


class Cut(Outcome):
    picture: Blob


CUT = StageSpec("cut", 1, Scope.IMAGE, Cut, reads=lambda p, i: i.url if i else None)


@pytest.fixture
def ledger(database: Engine) -> Ledger:
    return Ledger(database, stub_graph())


@pytest.fixture
def assets() -> Assets:
    return Assets("memory://")


def blob(data: bytes) -> Blob:
    return Blob(digest=hashlib.sha256(data).hexdigest(), media_type="image/png", size=len(data))


def store(ledger: Ledger, assets: Assets, data: bytes) -> Blob:
    ledger.touch([blob(data)])
    return assets.put(data, "image/png")


def stored(assets: Assets, kept: Blob) -> bool:
    return assets.exists(kept.digest, kept.media_type)


def age(ledger: Ledger, seconds: int) -> None:
    change(ledger.engine, "UPDATE assets SET touched_at = now() - make_interval(secs => :s)", s=seconds)


def test_unused_blobs_go_after_their_grace_and_used_ones_stay(database: Engine, assets: Assets) -> None:
    ledger = Ledger(database, StageGraph([CUT], {}))
    used, unused = store(ledger, assets, b"used"), store(ledger, assets, b"unused")
    ledger.accept([upload()])
    ledger.plan()
    [item] = ledger.claim(CUT, [], lane=Lane.LIVE, limit=1, worker="w")[0]
    ledger.settle([Result(item.job_id, item.token, Cut(picture=used))])
    assert ledger.sweep_assets(assets.delete, 60) == 0, "just touched"
    age(ledger, 61)
    assert ledger.sweep_assets(assets.delete, 60) == 1
    assert (stored(assets, used), stored(assets, unused)) == (True, False)
    ledger.accept([withdrawal("p1", 1)])
    ledger.plan()
    assert ledger.sweep_assets(assets.delete, 60) == 1, "the withdrawal took the last reference"
    assert not stored(assets, used)
    assert one(database, "SELECT count(*) FROM assets") == 0


def test_a_blob_shared_with_a_live_product_stays(database: Engine, assets: Assets) -> None:
    ledger = Ledger(database, StageGraph([CUT], {}))
    shared = store(ledger, assets, b"shared")
    ledger.accept([upload("p1"), upload("p2")])
    ledger.plan()
    claimed, _ = ledger.claim(CUT, [], lane=Lane.LIVE, limit=2, worker="w")
    ledger.settle([Result(c.job_id, c.token, Cut(picture=shared)) for c in claimed])
    ledger.accept([withdrawal("p1", 1)])
    ledger.plan()
    age(ledger, 99)
    assert ledger.sweep_assets(assets.delete, 60) == 0
    assert stored(assets, shared)


def test_touching_again_renews_the_grace(ledger: Ledger, assets: Assets) -> None:
    kept = store(ledger, assets, b"again")
    age(ledger, 99)
    ledger.touch([kept, kept])
    assert ledger.sweep_assets(assets.delete, 60) == 0
    ledger.touch([])


def test_a_writer_waits_for_the_sweep_and_then_writes_anew(ledger: Ledger, assets: Assets) -> None:
    data = b"raced"
    swept = store(ledger, assets, data)
    age(ledger, 99)
    deleting, go_on = threading.Event(), threading.Event()

    def delete(digest: str, media_type: str) -> None:
        deleting.set()
        assert go_on.wait(20)
        assets.delete(digest, media_type)

    sweep = threading.Thread(target=ledger.sweep_assets, args=(delete, 60))
    sweep.start()
    assert deleting.wait(20)
    writer = threading.Thread(target=store, args=(ledger, assets, data))
    writer.start()
    with ledger.engine.connect() as connection:
        waits = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while not connection.execute(waits).scalar_one():
            connection.rollback()
    go_on.set()
    sweep.join(20)
    writer.join(20)
    assert stored(assets, swept)
    assert one(ledger.engine, "SELECT count(*) FROM assets") == 1


def test_prune_keeps_current_plans_and_what_others_share(ledger: Ledger) -> None:
    photo = [{"id": "a", "url": "https://shop.example/x", "sha256": "a" * 64}]
    ledger.accept([upload("p1", images=photo), upload("p2", images=photo)])
    ledger.plan()
    work(ledger)
    ledger.accept([upload("p1", 2)])
    ledger.plan()
    work(ledger)
    assert ledger.prune(1) == 0, "too young"
    change(ledger.engine, "UPDATE plans SET closed_at = now() - interval '2 days'")
    before = verdicts(ledger.engine)
    assert ledger.prune(1) == 1
    assert (
        set(run_states(ledger.engine).values()) == set(run_states(ledger.engine, "p2").values()) == {"done"}
    )
    jobs = rows(ledger.engine, "SELECT stage, count(*) FROM jobs GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in jobs] == [("fetch", 2), ("see", 2), ("tell", 2)], "p1's first tell is gone"
    assert verdicts(ledger.engine) == before
    assert one(ledger.engine, "SELECT count(*) FROM presentations WHERE fields ? 'told'") == 2
    assert ledger.prune(1) == 0


def test_prune_leaves_open_plans_alone(ledger: Ledger) -> None:
    ledger.accept([upload()])
    ledger.plan()
    assert ledger.prune(0) == 0
    assert work(ledger) == 3


def test_what_the_broker_lost_is_announced_again(ledger: Ledger) -> None:
    ledger.accept([upload("p1"), upload("p2")])
    ledger.plan()
    [batch] = ledger.admit("fetch", 10)
    ledger.claim(ledger.graph.stages["fetch"], batch.jobs[:1], lane=Lane.LIVE, limit=1, worker="w")
    change(ledger.engine, "UPDATE jobs SET dispatched_at = now() WHERE state = 'ready'")
    assert ledger.forget_announcements("fetch", 3) == 0, "patience"
    assert ledger.admit("fetch", 10) == []
    change(
        ledger.engine,
        "UPDATE jobs SET dispatched_at = now() - interval '4 s' WHERE dispatched_at IS NOT NULL",
    )
    assert ledger.forget_announcements("vision", 3) == 0
    assert ledger.forget_announcements("fetch", 3) == 1
    assert [b.jobs for b in ledger.admit("fetch", 10)] == [batch.jobs[1:]]


def test_runs_that_a_crash_left_behind_are_caught_up(ledger: Ledger) -> None:
    ledger.accept([upload("p1"), upload("p2")])
    ledger.plan()
    work(ledger, stages=["fetch"])
    # As after a crash between a completion and the subscription that raced it.
    change(ledger.engine, "UPDATE runs SET state = 'ready', settled_at = NULL WHERE stage = 'fetch'")
    change(ledger.engine, "UPDATE runs SET state = 'waiting', job_id = NULL WHERE stage = 'see'")
    change(ledger.engine, "DELETE FROM jobs WHERE stage = 'see'")
    assert ledger.catch_up() == {"vision"}
    assert ledger.catch_up() == set()
    assert run_states(ledger.engine)["fetch/a"] == "done"
    assert work(ledger) == 4
    assert set(verdicts(ledger.engine).values()) == {"done"}


def test_expired_leases_come_back_without_an_operator(ledger: Ledger) -> None:
    ledger.accept([upload(f"p{n}") for n in range(3)])
    ledger.plan()
    claimed, _ = ledger.claim(ledger.graph.stages["fetch"], [], lane=Lane.LIVE, limit=3, worker="dies")
    assert ledger.reclaim() == ([], set())
    change(ledger.engine, "UPDATE jobs SET lease_until = now() - interval '1 s' WHERE state = 'running'")
    assert ledger.reclaim() == (sorted(c.job_id for c in claimed), {"fetch"})
    assert one(ledger.engine, "SELECT max(deaths) FROM jobs") == 0, "the company says nothing about one"
    assert [len(batch.jobs) for batch in ledger.admit("fetch", 9)] == [1, 1, 1]
    first = claimed[0].job_id
    [heir], _ = ledger.claim(ledger.graph.stages["fetch"], [first], lane=Lane.LIVE, limit=1, worker="heir")
    late = ledger.settle([Result(c.job_id, c.token, compute(c, "fetch")) for c in claimed])
    assert late.refused == {c.job_id for c in claimed}
    assert ledger.settle([Result(first, heir.token, compute(heir, "fetch"))]).accepted == {first}


def test_a_forced_outcome_lets_the_picture_before_it_go(database: Engine, assets: Assets) -> None:
    ledger = Ledger(database, StageGraph([CUT], {}))
    old, new = store(ledger, assets, b"old"), store(ledger, assets, b"new")
    ledger.accept([upload()])
    ledger.plan()
    for picture in (old, new):
        [item] = [c for lane in Lane for c in ledger.claim(CUT, [], lane=lane, limit=1, worker="w")[0]]
        ledger.settle([Result(item.job_id, item.token, Cut(picture=picture))])
        replays = Replays(database, ledger.graph)
        replays.create(Request(force=True))
        replays.advance()
    age(ledger, 99)
    assert ledger.sweep_assets(assets.delete, 60) == 1
    assert (stored(assets, old), stored(assets, new)) == (False, True)
    for decision in (Retry(0, "slow"), Park("torn", "x")):
        [item], _ = ledger.claim(CUT, [], lane=Lane.BACKFILL, limit=1, worker="w")
        ledger.settle([Result(item.job_id, item.token, decision=decision)])
        assert ledger.sweep_assets(assets.delete, 60) == 0, "what is served outlives a replay that fails"
