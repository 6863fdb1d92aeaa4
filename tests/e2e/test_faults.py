"""Faults on real servers and real processes: what was accepted ends exactly once, and nothing goes back."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
import redis

from storage.ledger import Ledger
from storage.quotes import Request
from storage.quotes import Selection as Selected
from storage.replays import Replays
from tests.e2e.conftest import System, check_invariants
from tests.e2e.process import LEASE_S, graph
from tests.factories import upload, withdrawal
from workers.app import make_app

pytestmark = pytest.mark.timeout(180)


def test_duplicate_and_shuffled_events(system: System) -> None:
    system.start()
    events = [upload(f"p{n}", revision) for n in range(8) for revision in (1, 2, 3)]
    events += [withdrawal("p7", 4), withdrawal("p6", 2)]
    shuffled = events * 3
    random.Random(7).shuffle(shuffled)
    system.publish(shuffled)
    system.quiet(len(events))
    check_invariants(system)
    verdicts = {row.event_id: row.verdict for row in system.rows("SELECT event_id, verdict FROM events")}
    assert all(verdicts[f"p{n}-3"] == "done" for n in range(7)), (
        "p6's withdrawal is older than its revision 3"
    )
    assert system.rows("SELECT live FROM products WHERE product_id = 'p7'") == [(False,)]


def test_worker_killed_in_mid_stage(system: System) -> None:
    system.start()
    system.publish([upload("p1", urls={"a": "https://x.example/gate.jpg"})])
    begun = system.until(lambda: list(system.folder.glob("begun-*")), "the stage to begin")
    os.kill(int(begun[0].name.split("-")[1]), signal.SIGKILL)
    (system.folder / "open").touch()
    killed = time.monotonic()
    system.quiet(1)
    assert time.monotonic() - killed < LEASE_S + 10
    check_invariants(system)
    assert system.one("SELECT attempts, deaths FROM jobs WHERE stage = 'fetch'") == (2, 1)


def test_whole_worker_killed_and_restarted(system: System) -> None:
    system.start()
    system.publish(upload(f"p{n}") for n in range(40))
    system.until(lambda: system.one("SELECT count(*) FROM jobs WHERE state = 'done'") > 5, "some work")
    os.killpg(system.pid("worker"), signal.SIGKILL)
    system.quiet(40)
    check_invariants(system)


def test_worker_that_wakes_up_after_its_lease_writes_nothing(system: System) -> None:
    system.start()
    system.publish([upload("p1", urls={"a": "https://x.example/gate.jpg"})])
    begun = system.until(lambda: list(system.folder.glob("begun-*")), "the stage to begin")
    zombie = int(begun[0].name.split("-")[1])
    os.kill(zombie, signal.SIGSTOP)
    try:
        (system.folder / "open").touch()
        system.quiet(1)
        before = system.one("SELECT outcome_digest, lease_token, worker FROM jobs WHERE stage = 'fetch'")
    finally:
        os.kill(zombie, signal.SIGCONT)
    log = system.folder / "logs" / "worker.log"
    system.until(lambda: "refused=1" in plain(log.read_text()), "the late write to be refused")
    assert system.one("SELECT outcome_digest, lease_token, worker FROM jobs WHERE stage = 'fetch'") == before
    check_invariants(system)


def plain(log: str) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", log)


def test_broker_killed_and_wiped_in_the_middle(system: System) -> None:
    system.start()
    system.publish(upload(f"p{n}") for n in range(200))
    system.until(lambda: system.one("SELECT count(*) FROM events") == 200, "all to be accepted")
    system.until(lambda: system.one("SELECT count(*) FROM jobs WHERE state = 'done'") > 20, "some work")
    client = redis.Redis.from_url(system.valkey.url)
    client.flushall()
    system.until(lambda: system.one("SELECT count(*) FROM jobs WHERE state = 'done'") > 60, "work to go on")
    system.valkey.kill()
    system.valkey.start()
    client.flushall()
    client.close()
    system.quiet(200)
    check_invariants(system)
    system.publish([upload("late")])
    system.quiet(201)


def test_database_stopped_at_once_and_restarted(system: System) -> None:
    system.start()
    system.publish(upload(f"p{n}") for n in range(100))
    system.until(lambda: system.one("SELECT count(*) FROM jobs WHERE state = 'done'") > 20, "some work")
    system.postgres.stop("immediate")
    system.publish(upload(f"q{n}") for n in range(20))
    system.postgres.start()
    system.quiet(120)
    check_invariants(system)


def test_poison_in_a_batch_of_32(system: System) -> None:
    system.start("intake", "relay")
    events = [upload(f"p{n}") for n in range(31)] + [
        upload("bad", urls={"a": "https://x.example/poison.jpg"})
    ]
    system.publish(events)
    system.until(lambda: system.one("SELECT count(*) FROM jobs WHERE stage = 'fetch'") == 32, "the plans")
    assert system.supervisor
    system.supervisor.stop()
    system.start()
    system.quiet(32)
    check_invariants(system)
    assert system.one("SELECT count(*) FROM events WHERE verdict = 'done'") == 31
    assert system.one("SELECT reason, attempts <= 3 FROM jobs WHERE state = 'parked'") == ("poison", True)


def test_withdrawal_during_processing(system: System) -> None:
    system.start()
    system.publish([upload("p1", urls={"a": "https://x.example/gate.jpg"}), upload("p2")])
    system.until(lambda: list(system.folder.glob("begun-*")), "the stage to begin")
    system.publish([withdrawal("p1", 2)])
    system.until(
        lambda: system.rows("SELECT id FROM products WHERE product_id = 'p1' AND withdrawn_at IS NOT NULL"),
        "the withdrawal",
    )
    (system.folder / "open").touch()
    system.quiet(3)
    system.until(
        lambda: not system.rows("SELECT id FROM jobs WHERE state = 'running'"),
        "the late result to be dropped",
    )
    check_invariants(system)
    assert "p1 2 1 gone" in system.effects.read_text()


def test_withdrawal_during_a_replay(system: System) -> None:
    system.start()
    system.publish(upload(f"p{n}") for n in range(30))
    system.quiet(30)
    replays = Replays(system.engine, graph())
    replay = replays.create(Request(Selected(source="shop"), force=True, window=10))
    system.until(lambda: system.one("SELECT count(*) FROM plans WHERE cause = 'replay'") >= 10, "the replay")
    system.publish(withdrawal(f"p{n}", 2) for n in range(0, 30, 3))
    system.quiet(40)
    system.until(lambda: replays.progress(replay)[0]["state"] == "done", "the replay to end")
    check_invariants(system)
    assert system.one("SELECT count(*) FROM products WHERE live") == 20


def test_two_products_share_a_photo_and_one_goes(system: System) -> None:
    system.start()
    image = [{"id": "a", "url": "https://x.example/shared.jpg", "sha256": "5" * 64}]
    system.publish([upload("p1", images=image), upload("p2", images=image)])
    system.quiet(2)
    system.publish([withdrawal("p1", 2)])
    system.quiet(3)
    check_invariants(system)
    assert system.one("SELECT count(*) FROM jobs WHERE stage = 'see' AND state = 'done'") == 1
    fields = system.one(
        "SELECT fields FROM presentations pr JOIN products p ON p.id = pr.product_id WHERE p.product_id = 'p2'"
    )
    assert set(fields) == {"seen/a", "told"}


def test_the_last_two_photos_finish_at_once(system: System) -> None:
    system.start(env={"worker": {"TEST_CONCURRENCY": "4"}})
    images = ("gate-a", "gate-b")
    for n in range(10):
        system.publish([upload(f"p{n}", images=images)])
    system.until(
        lambda: system.one("SELECT count(*) FROM jobs WHERE stage = 'fetch' AND state = 'running'") > 1,
        "both photos in hand",
    )
    (system.folder / "open").touch()
    system.quiet(10)
    check_invariants(system)
    assert system.one("SELECT count(*) FROM runs WHERE stage = 'tell' AND state IN ('done', 'reused')") == 10


@pytest.mark.parametrize("point", ["intake.committed", "intake.acknowledged"])
def test_intake_killed_between_its_steps(system: System, point: str) -> None:
    crash = {"VITRINE_CRASH_AT": point, "VITRINE_CRASH_ONCE": str(system.folder / "crashed")}
    system.start(env={"intake": crash})
    system.publish(upload(f"p{n}") for n in range(20))
    system.quiet(20)
    assert (system.folder / "crashed").exists()
    check_invariants(system)


@pytest.mark.parametrize("point", ["fetch.claimed", "see.computed", "tell.settled"])
def test_worker_killed_between_its_steps(system: System, point: str) -> None:
    crash = {"VITRINE_CRASH_AT": point, "VITRINE_CRASH_ONCE": str(system.folder / "crashed")}
    system.start(env={"worker": crash})
    system.publish(upload(f"p{n}") for n in range(20))
    system.quiet(20)
    assert (system.folder / "crashed").exists()
    check_invariants(system)


@pytest.mark.parametrize("point", ["relay.before_announcing", "relay.admitted"])
def test_relay_killed_between_its_steps(system: System, point: str) -> None:
    crash = {"VITRINE_CRASH_AT": f"{point}:3", "VITRINE_CRASH_ONCE": str(system.folder / "crashed")}
    system.start(env={"relay": crash})
    system.publish(upload(f"p{n}") for n in range(20))
    system.quiet(20)
    system.until((system.folder / "crashed").exists, "the crash")
    check_invariants(system)


def test_worker_that_is_alive_but_takes_nothing_is_replaced(system: System) -> None:
    system.start()
    system.publish([upload("p1")])
    system.quiet(1)
    app = make_app(system.valkey.url)
    for queue in ("fetch", "vision", "effects"):
        app.control.cancel_consumer(f"{queue}.live", reply=True, timeout=5)
    before = system.pid("worker")
    system.publish([upload("p2")])
    system.quiet(2)
    assert system.pid("worker") != before


def test_two_ledgers_agree_on_a_closed_system(system: System) -> None:
    """A second look at a quiet system finds nothing to do."""
    system.start()
    system.publish(upload(f"p{n}") for n in range(5))
    system.quiet(5)
    ledger = Ledger(system.engine, graph())
    assert ledger.reclaim() == ([], set())
    assert ledger.catch_up() == set()
