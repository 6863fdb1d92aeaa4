"""Several connections at once: nothing is missed, nothing happens twice, nobody waits for ever."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from pipeline.outcomes import Lane
from pipeline.retry import Park, Retry
from storage.database import open_database
from storage.ledger import Claimed, Ledger, Result
from storage.ledger.plan import plan_events
from storage.parked import Parked
from storage.quotes import Request
from storage.replays import Replays
from storage.timeline import Timeline
from tests.factories import compute, stub_graph, upload, withdrawal, work
from tests.queries import change, one, rows, run_states, verdicts, violations

SHARED = {"id": "s", "url": "https://shop.example/s.jpg", "sha256": "5" * 64}


@pytest.fixture
def wide(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url, pool_size=12)
    yield engine
    engine.dispose()


@pytest.fixture
def ledger(wide: Engine) -> Ledger:
    return Ledger(wide, stub_graph())


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Call all of them at the same moment; raises what any of them raised."""
    barrier = threading.Barrier(len(calls))

    def call(one_of_them: Callable[[], Any]) -> Any:
        barrier.wait(20)
        return one_of_them()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(60) for future in [pool.submit(call, c) for c in calls]]


@contextmanager
def waiting(engine: Engine, call: Callable[[], Any]) -> Iterator[Future[Any]]:
    """``call`` in a thread, stuck at a lock that the caller holds."""
    asked = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    with ThreadPoolExecutor(1) as pool, engine.connect() as watcher:
        future = pool.submit(call)
        until = time.monotonic() + 20
        while not watcher.execute(asked).scalar_one():
            watcher.rollback()
            assert not future.done(), f"it did not wait: {future.result()}"
            assert time.monotonic() < until
        yield future
        future.result(60)


def claim(ledger: Ledger, stage: str, limit: int = 32) -> list[Claimed]:
    spec = ledger.graph.stages[stage]
    return [c for lane in Lane for c in ledger.claim(spec, [], lane=lane, limit=limit, worker="w")[0]]


def settle(ledger: Ledger, item: Claimed, stage: str) -> Any:
    return ledger.settle([Result(item.job_id, item.token, compute(item, stage))])


def test_last_two_photos_that_finish_together_start_the_product_once(ledger: Ledger) -> None:
    for n in range(15):
        ledger.accept([upload(f"p{n}", images=("a", "b"))])
        ledger.plan()
        work(ledger, stages=["fetch"])
        first, second = claim(ledger, "see")
        together(lambda: settle(ledger, first, "see"), lambda: settle(ledger, second, "see"))  # noqa: B023
        assert len(claim(ledger, "tell")) == 1, "neither missed nor doubled"
    assert one(ledger.engine, "SELECT count(*) FROM jobs WHERE stage = 'tell'") == 15


def test_a_subscription_that_races_the_completion_is_not_left_behind(ledger: Ledger) -> None:
    for n in range(15):
        photo = {**SHARED, "sha256": f"{n:064x}"}
        ledger.accept([upload(f"a{n}", images=[photo])])
        ledger.plan()
        [item] = claim(ledger, "fetch")
        ledger.accept([upload(f"b{n}", images=[photo])])
        together(lambda: settle(ledger, item, "fetch"), ledger.plan)  # noqa: B023
        assert run_states(ledger.engine, f"b{n}")["fetch/s"] in {"done", "reused"}
    work(ledger)
    assert set(verdicts(ledger.engine).values()) == {"done"}


def test_planners_share_products_without_loss(ledger: Ledger) -> None:
    events = [upload(f"p{n % 7}", n // 7 + 1, images=("a",)) for n in range(42)]
    random.Random(3).shuffle(events)
    for event in events:
        ledger.accept([event])

    def plan() -> int:
        planned = 0
        while step := ledger.plan(limit=3)[0]:
            planned += step
        return planned

    together(*[plan] * 4)
    while ledger.plan()[0]:
        pass
    work(ledger)
    assert violations(ledger.engine) == {}
    assert {r.revision for r in rows(ledger.engine, "SELECT revision FROM presentations")} == {6}
    assert sorted(verdicts(ledger.engine).values(), key=str).count("done") >= 7


def test_a_job_deleted_in_the_moment_it_is_joined_is_made_anew(ledger: Ledger) -> None:
    ledger.accept([upload("p1", images=[SHARED])])
    ledger.plan()
    ledger.accept([upload("p2", images=[SHARED])])
    with ledger.engine.begin() as other:
        other.execute(text("SELECT id FROM jobs FOR UPDATE"))
        with waiting(ledger.engine, ledger.plan):
            other.execute(text("DELETE FROM runs WHERE state = 'ready'"))
            other.execute(text("DELETE FROM jobs"))
            other.commit()
    assert run_states(ledger.engine, "p2")["fetch/s"] == "ready"
    assert one(ledger.engine, "SELECT count(*) FROM jobs") == 1


def planned_meanwhile(ledger: Ledger, call: Callable[[], Any]) -> None:
    """Let ``call`` wait for a product that a planner gives a new plan at that moment."""

    def plan(connection: Connection) -> None:
        connection.execute(text("SELECT id FROM products FOR UPDATE"))
        with waiting(ledger.engine, call):
            plan_events(connection, ledger.graph, 10)
            connection.commit()

    ledger.accept([upload(revision=2)])
    with ledger.engine.connect() as connection:
        plan(connection)


def parked_product(ledger: Ledger) -> None:
    ledger.accept([upload()])
    ledger.plan()
    [item] = claim(ledger, "fetch")
    ledger.settle([Result(item.job_id, item.token, decision=Park("torn", "x"))])


@pytest.mark.parametrize("who", ["release", "replay", "process"])
def test_who_waited_for_a_product_sees_the_plan_it_got_meanwhile(ledger: Ledger, who: str) -> None:
    parked_product(ledger)
    replays = Replays(ledger.engine, ledger.graph)
    replays.create(Request(force=True))
    calls: dict[str, Callable[[], Any]] = {
        "release": Parked(ledger.engine, ledger.graph).release,
        "replay": replays.advance,
        "process": lambda: Timeline(ledger.engine, ledger.graph).process("p1"),
    }
    planned_meanwhile(ledger, calls[who])
    assert one(ledger.engine, "SELECT count(*) FROM plans WHERE verdict IS NULL") == 1
    assert work(ledger) == 3
    replays.advance()
    work(ledger)
    replays.advance()
    assert violations(ledger.engine) == {}
    assert verdicts(ledger.engine) == {"p1-1": "rejected", "p1-2": "done"}


class Shop:
    """Everything that may happen to a few products, from any thread."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.replays = Replays(ledger.engine, ledger.graph)
        self.parked = Parked(ledger.engine, ledger.graph)
        self.timeline = Timeline(ledger.engine, ledger.graph)

    def act(self, seed: int, times: int) -> None:
        chance = random.Random(seed)
        acts = [self.publish, self.publish, self.plan, self.plan, self.work, self.work, self.work, self.work,
                self.replay, self.release, self.tidy]  # fmt: skip
        for _ in range(times):
            chance.choice(acts)(chance)

    def publish(self, chance: random.Random) -> None:
        product, revision = f"p{chance.randint(1, 5)}", chance.randint(1, 12)
        if chance.random() < 0.15:
            self.ledger.accept([withdrawal(product, revision)])
        else:
            photos = chance.sample([SHARED, *"ab"], chance.randint(1, 2))
            name = f"{product}-{revision}-{chance.random()}"
            self.ledger.accept([upload(product, revision, images=photos, event_id=name)])

    def plan(self, chance: random.Random) -> None:
        self.ledger.plan(limit=chance.randint(1, 5))

    def work(self, chance: random.Random) -> None:
        for stage in self.ledger.graph.stages:
            results = []
            for item in claim(self.ledger, stage, 4):
                fate = chance.random()
                if fate < 0.1:
                    results.append(Result(item.job_id, item.token, decision=Retry(0, "slow")))
                elif fate < 0.15:
                    results.append(Result(item.job_id, item.token, decision=Park("torn", "x")))
                else:
                    results.append(Result(item.job_id, item.token, compute(item, stage)))
            self.ledger.settle(results)

    def replay(self, chance: random.Random) -> None:
        self.replays.create(Request(force=chance.random() < 0.5, window=3))
        self.replays.advance()

    def release(self, chance: random.Random) -> None:
        self.parked.release()

    def tidy(self, chance: random.Random) -> None:
        self.ledger.admit("fetch", 4)
        self.ledger.prune(0)
        self.ledger.catch_up()
        self.ledger.reclaim()


@pytest.mark.parametrize("seed", [1, 2])
def test_everything_at_once_ends_in_order(ledger: Ledger, seed: int) -> None:
    shop = Shop(ledger)
    together(*[lambda n=n: shop.act(seed * 10 + n, 60) for n in range(4)])
    for _ in range(40):
        ledger.plan()
        shop.parked.release()
        shop.replays.advance()
        work(ledger)
    assert violations(ledger.engine) == {}
    assert one(ledger.engine, "SELECT count(*) FROM replays WHERE state <> 'done'") == 0
    assert one(ledger.engine, "SELECT count(*) FROM jobs WHERE state = 'parked'") == 0
    assert change(ledger.engine, "UPDATE products SET live = live") == 5
