"""Replays: quoted before they start, bounded while they run, and never a step back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from pipeline.errors import RejectedInput
from pipeline.keys import Recipe
from pipeline.outcomes import Lane
from pipeline.retry import Park
from storage.ledger import Ledger, Result
from storage.presentations import Presentations
from storage.quotes import Quote, Request, Selection
from storage.replays import Replays
from tests.factories import START, Told, compute, stub_graph, upload, withdrawal, work
from tests.queries import change, one, rows, run_states, verdicts

SEE_2 = {"see": Recipe("see", 1, "engine", "2")}
TELL_2 = {"tell": Recipe("tell", 2)}


@pytest.fixture
def ledger(database: Engine) -> Ledger:
    """Four products, done; the last has two photos and another category."""
    ledger = Ledger(database, stub_graph())
    ledger.accept([upload(f"p{n}", category="mugs/tea") for n in range(3)])
    ledger.accept([upload("p3", images=("a", "b"), category="hats")])
    ledger.plan()
    assert work(ledger) == 14
    return ledger


def renewed(ledger: Ledger, recipes: Any) -> tuple[Ledger, Replays]:
    """The same database under a graph with other recipes."""
    graph = stub_graph(recipes=recipes)
    return Ledger(ledger.engine, graph), Replays(ledger.engine, graph)


def replay(ledger: Ledger, replays: Replays, request: Request | None = None) -> tuple[int, int]:
    """Run a replay to its end; returns its id and how many jobs were computed."""
    made, computed = replays.create(request or Request()), 0
    for _ in range(50):
        replays.advance()
        computed += work(ledger)
        if progress(replays, made)["state"] == "done":
            return made, computed
    raise AssertionError(f"the replay does not end: {progress(replays, made)}")


def progress(replays: Replays, made: int) -> dict[str, Any]:
    [found] = replays.progress(made)
    return dict(found)


def by_stage(quote: Quote) -> dict[str, tuple[int, int]]:
    return {stage.stage: (stage.compute, stage.reuse) for stage in quote.stages}


def everything(ledger: Ledger) -> list[Any]:
    tables = ("products", "plans", "runs", "jobs", "presentations", "replays", "replay_items")
    return [rows(ledger.engine, f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


def test_quote_changes_nothing_and_says_what_is_stale(ledger: Ledger) -> None:
    before = everything(ledger)
    unchanged = Replays(ledger.engine, ledger.graph).quote(Request())
    assert unchanged.products == 4
    assert by_stage(unchanged) == {"fetch": (0, 5), "see": (0, 5), "tell": (0, 4)}
    _, replays = renewed(ledger, SEE_2)
    assert by_stage(replays.quote(Request())) == {"fetch": (0, 5), "see": (5, 0), "tell": (4, 0)}
    _, replays = renewed(ledger, TELL_2)
    assert by_stage(replays.quote(Request())) == {"fetch": (0, 5), "see": (0, 5), "tell": (4, 0)}
    assert everything(ledger) == before


def test_quote_of_force_of_a_selection_and_of_a_new_stage(ledger: Ledger) -> None:
    replays = Replays(ledger.engine, ledger.graph)
    quote = replays.quote(Request(force=True))
    assert by_stage(quote) == {"fetch": (5, 0), "see": (5, 0), "tell": (4, 0)}
    assert quote.seconds_by_queue() == pytest.approx({"fetch": 0.05, "vision": 0.09})
    hats = Request(Selection(category="hats"), stages=("tell",), force=True)
    assert by_stage(replays.quote(hats)) == {"fetch": (0, 2), "see": (0, 2), "tell": (1, 0)}
    _, replays = Ledger(ledger.engine, ledger.graph), Replays(ledger.engine, stub_graph(effect=True))
    quote = replays.quote(Request())
    assert by_stage(quote)["announce"] == (4, 0)
    assert quote.stages[-1].seconds is None, "never measured"


@pytest.mark.parametrize(("recipes", "bound"), [(SEE_2, 9), (TELL_2, 4)])
def test_replay_computes_no_more_than_was_quoted(ledger: Ledger, recipes: Any, bound: int) -> None:
    newer, replays = renewed(ledger, recipes)
    assert sum(stage.compute for stage in replays.quote(Request()).stages) == bound
    made, computed = replay(newer, replays)
    assert computed <= bound
    assert progress(replays, made)["items"] == {"done": 4}
    assert sum(stage.compute for stage in replays.quote(Request()).stages) == 0


def test_an_outcome_as_before_saves_everything_behind_it(ledger: Ledger) -> None:
    newer, replays = renewed(ledger, SEE_2)
    made, computed = replay(newer, replays)
    assert computed == 5, "the new engine sees what the old one saw, so nothing is told again"
    assert run_states(ledger.engine)["tell"] == "reused"
    assert progress(replays, made)["items"] == {"done": 4}


def test_unchanged_products_are_recognised_without_a_plan(ledger: Ledger) -> None:
    replays = Replays(ledger.engine, ledger.graph)
    made = replays.create(Request())
    assert replays.advance() == 0
    assert progress(replays, made)["items"] == {"unchanged": 4}
    replays.advance()
    assert progress(replays, made)["state"] == "done"
    assert one(ledger.engine, "SELECT count(*) FROM plans WHERE cause = 'replay'") == 0


def test_a_new_stage_is_missing_everywhere(ledger: Ledger) -> None:
    graph = stub_graph(effect=True)
    newer, replays = Ledger(ledger.engine, graph), Replays(ledger.engine, graph)
    _, computed = replay(newer, replays, Request(stages=("announce",)))
    assert computed == 4
    assert replays.quote(Request(stages=("announce",))).products == 0


def test_force_computes_again_and_serves_the_next_generation(ledger: Ledger) -> None:
    replays = Replays(ledger.engine, ledger.graph)
    _, computed = replay(ledger, replays, Request(force=True))
    assert computed == 14
    served = one(
        ledger.engine, "SELECT DISTINCT revision, generation, fields->'told'->'generation' FROM presentations"
    )
    assert served == (1, 1, 1)
    _, computed = replay(ledger, replays, Request(stages=("tell",), force=True))
    assert computed == 4, "of this stage only"


def test_force_stays_out_of_the_way_of_live_work(ledger: Ledger) -> None:
    replays = Replays(ledger.engine, ledger.graph)
    replays.create(Request(force=True))
    replays.advance()
    lanes = rows(ledger.engine, "SELECT lane, count(*) FROM jobs WHERE state = 'ready' GROUP BY 1")
    assert [tuple(row) for row in lanes] == [(Lane.BACKFILL, 5)]


def test_force_asks_a_shared_photo_once(ledger: Ledger) -> None:
    photo = [{"id": "a", "url": "https://shop.example/x", "sha256": "e" * 64}]
    ledger.accept([upload(p, images=photo, title="one title") for p in ("s1", "s2")])
    ledger.plan()
    assert work(ledger) == 3
    request = Request(Selection(products=("s1", "s2")), force=True, window=1)
    assert replay(ledger, Replays(ledger.engine, ledger.graph), request)[1] == 3


def test_window_bounds_what_is_planned(ledger: Ledger) -> None:
    newer, replays = renewed(ledger, TELL_2)
    made = replays.create(Request(window=3))
    assert (replays.advance(), replays.advance()) == (3, 0)
    assert progress(replays, made)["items"] == {"pending": 1, "planned": 3}
    assert {row.lane for row in rows(ledger.engine, "SELECT lane FROM jobs WHERE state = 'ready'")} == {
        Lane.BACKFILL
    }
    work(newer)
    assert replays.advance() == 1


def test_rate_bounds_how_fast(ledger: Ledger) -> None:
    _, replays = renewed(ledger, TELL_2)
    made = replays.create(Request(rate=0.5))
    assert replays.advance() == 0
    change(ledger.engine, "UPDATE replays SET created_at = now() - interval '2.5 s'")
    assert (replays.advance(), replays.advance()) == (1, 0)
    change(ledger.engine, "UPDATE replays SET admitted_at = now() - interval '4.5 s'")
    assert replays.advance() == 2
    assert progress(replays, made)["items"] == {"pending": 1, "planned": 3}


def test_pause_resume_and_restart(ledger: Ledger) -> None:
    newer, replays = renewed(ledger, TELL_2)
    made = replays.create(Request(window=2))
    replays.advance()
    replays.pause(made)
    work(newer)
    assert replays.advance() == 0
    _, restarted = renewed(ledger, TELL_2)
    assert progress(restarted, made) | {"items": None} == progress(replays, made) | {"items": None}
    assert progress(restarted, made)["items"] == {"pending": 2, "done": 2}
    with pytest.raises(RejectedInput, match=f"replay {made} is not paused|is not running"):
        restarted.pause(made)
    restarted.resume(made)
    assert restarted.advance() == 2
    work(newer)
    restarted.advance()
    assert progress(restarted, made)["state"] == "done"
    with pytest.raises(RejectedInput, match="wrong-state"):
        restarted.cancel(made)


def test_cancel_drops_what_is_pending_only(ledger: Ledger) -> None:
    newer, replays = renewed(ledger, TELL_2)
    made = replays.create(Request(window=1))
    replays.advance()
    replays.cancel(made)
    assert (work(newer), replays.advance()) == (1, 0)
    assert progress(replays, made)["state"] == "cancelled"
    assert progress(replays, made)["items"] == {"cancelled": 3, "done": 1}
    with pytest.raises(RejectedInput, match="wrong-state"):
        replays.resume(made)


def test_review_proposes_beside_what_is_served(ledger: Ledger) -> None:
    newer, replays = renewed(ledger, TELL_2)
    presentations = Presentations(ledger.engine)
    made = replays.create(Request(review=True))
    replays.advance()
    for claimed in newer.claim(newer.graph.stages["tell"], [], lane=Lane.BACKFILL, limit=9, worker="w")[0]:
        newer.settle([Result(claimed.job_id, claimed.token, Told(words=("new",)))])
    shown = presentations.read("p0")
    assert shown is not None
    assert shown["told"] == ["a look at https://shop.example/p0/a.jpg"]
    assert shown["candidate"]["told"] == ["new"]
    assert shown["generation"] == 0
    assert presentations.promote(made) == 4
    promoted = presentations.read("p0")
    assert promoted is not None
    assert (promoted["told"], promoted["candidate"], promoted["generation"]) == (["new"], {}, 1)
    assert presentations.discard(made) == 0


def test_discarded_and_overtaken_proposals_are_never_served(ledger: Ledger) -> None:
    newer, replays = renewed(ledger, TELL_2)
    presentations = Presentations(ledger.engine)
    made, _ = replay(newer, replays, Request(review=True))
    newer.accept([upload("p0", 2)])
    newer.plan()
    newer.accept([withdrawal("p1", 2)])
    newer.plan()
    assert presentations.discard(made) == 2, "neither the newer revision's nor the withdrawn product's"
    assert presentations.promote(made) == 0
    assert {shown["generation"] for shown in presentations.all()} == {0, 1}


def test_withdrawal_during_a_replay_wins(ledger: Ledger) -> None:
    newer, replays = renewed(ledger, SEE_2)
    made = replays.create(Request(window=2))
    replays.advance()
    held, _ = newer.claim(newer.graph.stages["see"], [], lane=Lane.BACKFILL, limit=2, worker="w")
    newer.accept([withdrawal("p0", 2), withdrawal("p3", 2)])
    newer.plan()
    newer.settle([Result(item.job_id, item.token, compute(item, "see")) for item in held])
    work(newer)
    replays.advance()
    work(newer)
    replays.advance()
    assert progress(replays, made)["items"] == {"withdrawn": 2, "done": 2}
    assert progress(replays, made)["state"] == "done"
    assert one(ledger.engine, "SELECT count(*) FROM runs r JOIN products p ON p.id = r.product_id "
                              "WHERE NOT p.live") == 0  # fmt: skip
    assert one(ledger.engine, "SELECT count(*) FROM presentations") == 2
    again = replays.create(Request(force=True))
    assert progress(replays, again)["items"] == {"pending": 2}


def test_a_newer_revision_takes_over_from_a_replay(ledger: Ledger) -> None:
    newer, replays = renewed(ledger, SEE_2)
    made = replays.create(Request())
    replays.advance()
    newer.accept([upload("p0", 2, images=("n",))])
    newer.plan()
    work(newer)
    replays.advance()
    assert progress(replays, made)["items"] == {"superseded": 1, "done": 3}
    served = Presentations(ledger.engine).read("p0")
    assert served is not None
    assert (served["revision"], served["generation"]) == (2, 1)
    assert [image["seen"] for image in served["images"]] == ["a look at https://shop.example/p0/n.jpg"]


def test_a_replay_waits_for_live_work_on_the_same_product(ledger: Ledger) -> None:
    newer, replays = renewed(ledger, TELL_2)
    newer.accept([upload("p0", 2)])
    newer.plan()
    made = replays.create(Request())
    assert replays.advance() == 3
    work(newer)
    replays.advance()
    assert progress(replays, made)["items"] == {"done": 3, "unchanged": 1}


def test_what_was_parked_is_tried_again(ledger: Ledger) -> None:
    ledger.accept([upload("p4")])
    ledger.plan()
    [item] = ledger.claim(ledger.graph.stages["fetch"], [], lane=Lane.LIVE, limit=1, worker="w")[0]
    ledger.settle([Result(item.job_id, item.token, decision=Park("torn", "x"))])
    replays = Replays(ledger.engine, ledger.graph)
    made, computed = replay(ledger, replays)
    assert computed == 3
    assert progress(replays, made)["items"] == {"unchanged": 4, "done": 1}
    assert verdicts(ledger.engine)["p4-1"] == "rejected", "an event's verdict is given once"


@pytest.mark.parametrize(
    ("selection", "products"),
    [
        (Selection(), 5),
        (Selection(products=("p1", "p3", "nobody")), 2),
        (Selection(source="other"), 1),
        (Selection(category="mugs"), 3),
        (Selection(category="mugs/tea", products=("p0", "p3")), 1),
        (Selection(engine="tuned"), 1),
        (Selection(engine="tune"), 0),
        (Selection(verdicts=("done",)), 4),
        (Selection(verdicts=("degraded", "rejected")), 1),
        (Selection(types=("product.updated.v1",)), 1),
        (Selection(since=START + timedelta(minutes=5)), 1),
        (Selection(until=START + timedelta(minutes=5)), 4),
        (Selection(since=START, until=START + timedelta(minutes=1)), 0),
        (Selection(types=("product.uploaded.v1",), since=START + timedelta(minutes=5)), 0),
    ],
)
def test_selection(ledger: Ledger, selection: Selection, products: int) -> None:
    tuned, replays = renewed(ledger, {"tell": Recipe("tell", 1, "tuned", "3")})
    event = upload("q", source="other", images=(), minute=9, kind="product.updated.v1", category="x")
    tuned.accept([event])
    tuned.plan()
    replay(tuned, replays, Request(Selection(products=("p0",))))
    assert replays.quote(Request(selection)).products == products
    made = replays.create(Request(selection))
    assert sum(progress(replays, made)["items"].values()) == products


def test_a_stage_that_is_not_there_is_refused_by_name(ledger: Ledger) -> None:
    with pytest.raises(RejectedInput, match="no stage 'tel'; known stages: fetch, see, tell"):
        Replays(ledger.engine, ledger.graph).create(Request(stages=("tel",)))
