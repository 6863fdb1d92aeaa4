"""Duplicated, shuffled, late events with work and withdrawals in between: always the same end."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from pipeline.events import Event, Product
from pipeline.ordering import Standing, follow
from pipeline.outcomes import Lane
from pipeline.retry import Retry
from storage.ledger import Ledger, Result
from storage.quotes import Request, Selection
from storage.replays import Replays
from tests.factories import stub_graph, upload, withdrawal, work
from tests.queries import change, one, rows, verdicts, violations

Events = list[tuple[Event, bytes]]
PHOTOS = {name: {"id": name, "url": f"https://shop.example/{name}", "sha256": name * 64} for name in "abc"}
_sources = itertools.count()

# A product's history: photos by revision, withdrawals at revisions, thin ones at minutes, a last relisting.
histories = st.tuples(
    st.lists(st.sets(st.sampled_from("abc"), max_size=2), min_size=1, max_size=3),
    st.sets(st.integers(1, 4), max_size=1),
    st.sets(st.integers(1, 5), max_size=1),
    st.booleans(),
)


def events_of(source: str, product: str, history: Any) -> Events:
    photos, withdrawn, thin, relisted = history
    made = [
        upload(product, n, images=[PHOTOS[i] for i in sorted(p)], source=source)
        for n, p in enumerate(photos, 1)
    ]
    made += [withdrawal(product, revision, source=source) for revision in withdrawn]
    made += [withdrawal(product, minute=m, event_id=f"{product}-thin-{m}", source=source) for m in thin]
    if relisted:
        made.append(upload(product, 9, images=[PHOTOS["a"]], source=source, relist=True))
    return made


def expected(events: Iterable[Event]) -> tuple[int, list[str]] | None:
    """The oracle: the revision and the words that must be served in the end, None for nothing."""
    standing, newest = Standing(), None
    for event in sorted(events, key=lambda e: (e.time, e.id)):
        standing, _ = follow(standing, event)
        if not event.is_withdrawal and (newest is None or event.order > newest.order):
            newest = event
    if not standing.live or newest is None:
        return None
    assert isinstance(newest.data, Product)
    return standing.revision, [f"a look at {image.sha256}" for image in newest.data.images]


class Shop:
    """One source in a ledger that is worked on in steps, watched at each of them."""

    def __init__(self, ledger: Ledger, source: str) -> None:
        self.ledger, self.source = ledger, source
        self.replays = Replays(ledger.engine, ledger.graph)
        self.highest: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))

    def step(self, chance: random.Random) -> None:
        """Something that happens between two events."""
        match chance.choice(["plan", "plan one", "work", "some work", "failure", "death", "replay"]):
            case "plan":
                self.ledger.plan()
            case "plan one":
                self.ledger.plan(limit=1)
            case "work":
                work(self.ledger)
            case "some work":
                work(self.ledger, stages=["fetch", "see"][: chance.randint(1, 2)], limit=1)
            case "failure" | "death" as how:
                self.fail(chance.choice(["fetch", "see", "tell"]), how)
            case "replay":
                self.replays.create(
                    Request(
                        Selection(source=self.source),
                        force=chance.random() < 0.5,
                        review=chance.random() < 0.3,
                    )
                )
                self.replays.advance()
        self.watch()

    def fail(self, stage: str, how: str) -> None:
        claimed, _ = self.ledger.claim(
            self.ledger.graph.stages[stage], [], lane=Lane.LIVE, limit=2, worker="fails"
        )
        if how == "failure":
            self.ledger.settle([Result(c.job_id, c.token, decision=Retry(0, "slow")) for c in claimed])
        else:
            change(self.ledger.engine, "UPDATE jobs SET lease_until = now() - interval '1 s', lease_size = 2 "
                                       "WHERE state = 'running'")  # fmt: skip
            self.ledger.reclaim()

    def watch(self) -> None:
        """What is served never goes back, and nothing is served of what is withdrawn."""
        asked = """SELECT p.product_id, p.live, pr.revision, pr.generation FROM presentations pr
            JOIN products p ON p.id = pr.product_id WHERE p.source = :source"""
        for row in rows(self.ledger.engine, asked, source=self.source):
            assert row.live
            assert (row.revision, row.generation) >= self.highest[row.product_id]
            self.highest[row.product_id] = (row.revision, row.generation)

    def finish(self) -> None:
        """Work everything off: what is suspect alone, as the relay lets it be."""
        going = """SELECT (SELECT count(*) FROM plans WHERE verdict IS NULL)
            + (SELECT count(*) FROM replays WHERE state = 'running')"""
        for _ in range(20):
            self.ledger.plan()
            self.replays.advance()
            change(self.ledger.engine, "UPDATE jobs SET suspect = false WHERE suspect")
            work(self.ledger)
            self.watch()
            if not one(self.ledger.engine, going):
                return

    def served(self) -> dict[str, tuple[int, list[str]]]:
        asked = """SELECT p.product_id, pr.revision, COALESCE(pr.fields->'told'->'value', '[]') AS told
            FROM presentations pr JOIN products p ON p.id = pr.product_id WHERE p.source = :source"""
        found = rows(self.ledger.engine, asked, source=self.source)
        return {row.product_id: (row.revision, row.told) for row in found}


@settings(
    max_examples=60,
    deadline=None,
    # Shrinking on a real database takes minutes; the seed reproduces the example.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(histories, min_size=1, max_size=3), st.integers(1, 3), st.integers(0, 2**32))
def test_every_order_of_arrival_ends_where_the_oracle_says(
    database: Engine, shapes: Sequence[Any], copies: int, seed: int
) -> None:
    chance = random.Random(seed)
    shop = Shop(Ledger(database, stub_graph()), f"shop{next(_sources)}")
    events = [e for n, shape in enumerate(shapes) for e in events_of(shop.source, f"p{n}", shape)]
    arriving = events * copies
    chance.shuffle(arriving)
    while arriving:
        batch = [arriving.pop() for _ in range(min(len(arriving), chance.randint(1, 3)))]
        shop.ledger.accept(batch)
        shop.step(chance)
    shop.finish()
    assert violations(database) == {}
    told = {f"p{n}": expected(e for e, _ in events if e.product_id == f"p{n}") for n in range(len(shapes))}
    assert shop.served() == {product: last for product, last in told.items() if last is not None}
    counted = "SELECT count(*) FROM events WHERE source = :source"
    assert one(database, counted, source=shop.source) == len({e.id for e, _ in events})


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_three_events_in_every_order(database: Engine, order: tuple[int, ...]) -> None:
    ledger = Ledger(database, stub_graph(effect=True))
    events = [upload(revision=1), withdrawal("p1", 2), upload(revision=3, images=("z",))]
    for n in order:
        ledger.accept([events[n], events[n]])
        ledger.plan()
        work(ledger)
    assert violations(database) == {}
    found = one(database, "SELECT revision, fields->'told'->'value' FROM presentations")
    assert found == (3, ["a look at https://shop.example/p1/z.jpg"])
    assert verdicts(database)["p1-3"] == "done"


def test_a_return_accepted_before_its_withdrawal_was_planned_is_not_forgotten(database: Engine) -> None:
    ledger = Ledger(database, stub_graph())
    ledger.accept([upload()])
    ledger.accept([withdrawal("p1", 2)])
    ledger.accept([upload(revision=3)])
    for _ in range(3):
        ledger.plan(limit=1)
    assert work(ledger) == 3
    assert verdicts(database) == {"p1-1": "withdrawn", "p1-gone-2": "done", "p1-3": "done"}


@pytest.mark.parametrize("withdrawn", [False, True])
def test_a_body_that_this_release_cannot_read_is_kept_for_one_that_can(
    database: Engine, *, withdrawn: bool
) -> None:
    ledger = Ledger(database, stub_graph())
    ledger.accept([upload()])
    change(database, """UPDATE events SET body = jsonb_set(body, '{type}', '"product.uploaded.v2"')""")
    if withdrawn:
        ledger.accept([withdrawal("p1", 1)])
    ledger.plan()
    asked = "SELECT verdict, body IS NULL FROM events WHERE event_id = 'p1-1'"
    assert one(database, asked) == ("rejected", withdrawn), "unless it is of a withdrawn product"
