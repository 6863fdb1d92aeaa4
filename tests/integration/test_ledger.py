"""The ledger on a real Postgres: from accepted events to verdicts, whatever happens in between."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, text

from pipeline.events import parse_event
from pipeline.keys import Recipe
from pipeline.outcomes import Lane
from pipeline.retry import Park, Retry, Snooze
from storage.ledger import Ledger, Result
from storage.quotes import Request
from storage.replays import Replays
from tests.factories import Seen, compute, stub_graph, upload, withdrawal, work


@pytest.fixture
def ledger(database: Engine) -> Ledger:
    return Ledger(database, stub_graph())


def rows(ledger: Ledger, sql: str, **values: Any) -> list[Any]:
    with ledger.engine.connect() as connection:
        return list(connection.execute(text(sql), values).all())


def one(ledger: Ledger, sql: str, **values: Any) -> Any:
    [row] = rows(ledger, sql, **values)
    return row[0] if len(row) == 1 else row


def run_states(ledger: Ledger, product: str = "p1") -> dict[str, str]:
    found = rows(
        ledger,
        "SELECT r.stage, r.target, r.state FROM runs r JOIN products p ON p.plan_id = r.plan_id "
        "WHERE p.product_id = :product",
        product=product,
    )
    return {f"{row.stage}/{row.target}".rstrip("/"): row.state for row in found}


def test_event_becomes_outcomes_presentation_and_verdict(ledger: Ledger) -> None:
    receipt = ledger.accept([upload(images=("a", "b"))])
    assert (receipt.accepted, receipt.duplicates, receipt.quarantined) == (1, 0, 0)
    planned, queues = ledger.plan()
    assert (planned, queues) == (1, {"fetch"})
    assert work(ledger) == 5
    assert set(run_states(ledger).values()) == {"done"}
    assert one(ledger, "SELECT verdict FROM events") == "done"
    fields = one(ledger, "SELECT fields FROM presentations")
    assert set(fields) == {"seen/a", "seen/b", "told"}
    assert fields["told"]["value"] == [
        "a look at https://shop.example/p1/a.jpg",
        "a look at https://shop.example/p1/b.jpg",
    ]
    assert (fields["told"]["revision"], fields["told"]["generation"]) == (1, 0)


def test_duplicate_changes_nothing_and_a_reused_id_is_quarantined(ledger: Ledger) -> None:
    ledger.accept([upload()])
    assert ledger.accept([upload(), upload()]).duplicates == 2
    receipt = ledger.accept([upload(title="Another")])
    assert (receipt.accepted, receipt.quarantined) == (0, 1)
    assert one(ledger, "SELECT reason, event_id FROM quarantine") == ("id-reused", "p1-1")
    ledger.plan()
    assert work(ledger) == 3


@pytest.mark.parametrize("hostile", [b'"x": 1e999999'])
def test_what_postgres_cannot_store_is_quarantined_alone(ledger: Ledger, hostile: bytes) -> None:
    _, raw = upload("bad")
    raw = raw.replace(b'"title"', hostile + b', "title"')
    events = [upload(f"p{n}") for n in range(5)]
    events.insert(2, (parse_event(raw), raw))
    receipt = ledger.accept(events)
    assert (receipt.accepted, receipt.quarantined) == (5, 1)
    assert one(ledger, "SELECT reason, event_id FROM quarantine") == ("not-storable", "bad-1")


def test_same_photo_under_two_products_is_computed_once(ledger: Ledger) -> None:
    digest = "0" * 64
    image = [{"id": "a", "url": "https://shop.example/x.jpg", "sha256": digest}]
    ledger.accept([upload("p1", images=image), upload("p2", images=image)])
    ledger.plan()
    assert work(ledger) == 4, "one fetch, one see, and a tell each, since titles differ"
    assert run_states(ledger, "p2")["see/a"] == "done"


def test_later_product_with_a_known_photo_is_answered_at_once(ledger: Ledger) -> None:
    image = [{"id": "a", "url": "https://shop.example/x.jpg", "sha256": "1" * 64}]
    ledger.accept([upload("p1", images=image)])
    ledger.plan()
    work(ledger)
    ledger.accept([upload("p2", images=image, title="Product p1")])
    planned, queues = ledger.plan()
    assert (planned, queues) == (1, set())
    assert set(run_states(ledger, "p2").values()) == {"reused"}
    assert one(ledger, "SELECT count(*) FROM events WHERE verdict = 'done'") == 2
    assert one(ledger, "SELECT count(*) FROM presentations WHERE fields ? 'told'") == 2


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_newest_revision_wins_in_any_order(ledger: Ledger, order: tuple[int, ...]) -> None:
    for revision in order:
        ledger.accept([upload(revision=revision, images=(f"i{revision}",))])
        ledger.plan()
        work(ledger, stages=["fetch"], limit=1)
    work(ledger)
    verdicts = {r.revision: r.verdict for r in rows(ledger, "SELECT revision, verdict FROM events")}
    assert verdicts[3] == "done"
    assert set(verdicts.values()) <= {"done", "superseded"}
    presentation = one(ledger, "SELECT revision, fields FROM presentations")
    assert presentation[0] == 3
    assert set(presentation[1]) == {"seen/i3", "told"}


def test_superseded_work_is_not_started(ledger: Ledger) -> None:
    ledger.accept([upload(revision=1)])
    ledger.plan()
    ledger.accept([upload(revision=2)])
    ledger.plan()
    assert one(ledger, "SELECT count(*) FROM jobs") == 1
    assert work(ledger) == 3
    assert one(ledger, "SELECT verdict FROM events WHERE revision = 1") == "superseded"


def test_unsafe_photo_feeds_nothing_and_says_why(ledger: Ledger) -> None:
    ledger.accept([upload(images=("a",), urls={"a": "https://shop.example/unsafe.jpg"})])
    ledger.plan()
    work(ledger)
    assert run_states(ledger) == {"fetch/a": "done", "see/a": "done", "tell": "skipped"}
    assert one(ledger, "SELECT reason FROM runs WHERE stage = 'tell'") == "see: unsafe"
    assert one(ledger, "SELECT verdict FROM events") == "degraded"


def test_lost_lease_is_fenced_off(ledger: Ledger) -> None:
    ledger.accept([upload()])
    ledger.plan()
    spec = ledger.graph.stages["fetch"]
    [zombie], _ = ledger.claim(spec, [], lane=Lane.LIVE, limit=8, worker="zombie")
    expire(ledger)
    ledger.reclaim()
    [heir], _ = ledger.claim(spec, [zombie.job_id], lane=Lane.LIVE, limit=8, worker="heir")
    late = ledger.settle([Result(zombie.job_id, zombie.token, compute(zombie, "fetch"))])
    assert late.refused == {zombie.job_id}
    assert one(ledger, "SELECT state FROM jobs") == "running"
    told = Result(heir.job_id, heir.token, compute(heir, "fetch"))
    assert ledger.settle([told]).accepted == {heir.job_id}
    again = ledger.settle([told])
    assert again.accepted == {heir.job_id}, "told twice, as after a lost answer"
    assert one(ledger, "SELECT count(*) FROM jobs WHERE stage = 'see'") == 1


def expire(ledger: Ledger) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(
            text("UPDATE jobs SET lease_until = now() - interval '1 s' WHERE state = 'running'")
        )


def test_deaths_alone_park_and_neighbours_live(ledger: Ledger) -> None:
    ledger.accept([upload(f"p{n}") for n in range(4)])
    ledger.plan()
    spec = ledger.graph.stages["fetch"]
    batch, _ = ledger.claim(spec, [], lane=Lane.LIVE, limit=8, worker="w")
    poison = batch[2].job_id
    for _ in range(8):
        expire(ledger)
        ledger.reclaim()
        for (job,) in rows(ledger, "SELECT id FROM jobs WHERE state = 'ready' AND stage = 'fetch'"):
            claimed, _ = ledger.claim(spec, [job], lane=Lane.LIVE, limit=8, worker="w")
            assert len(claimed) == 1, "a suspect is claimed alone"
            if job != poison:
                ledger.settle([Result(job, claimed[0].token, compute(claimed[0], "fetch"))])
    assert one(ledger, "SELECT reason, attempts FROM jobs WHERE id = :id", id=poison) == ("poison", 3)
    work(ledger)
    verdicts = sorted(r.verdict for r in rows(ledger, "SELECT verdict FROM events"))
    assert verdicts == ["done", "done", "done", "rejected"]


def test_retry_waits_snooze_is_free_park_degrades(ledger: Ledger) -> None:
    ledger.accept([upload(images=("a", "b", "c"))])
    ledger.plan()
    spec = ledger.graph.stages["fetch"]
    claimed, _ = ledger.claim(spec, [], lane=Lane.LIVE, limit=8, worker="w")
    a, b, c = sorted(claimed, key=lambda item: item.target)
    ledger.settle(
        [
            Result(a.job_id, a.token, decision=Retry(60, "slow")),
            Result(b.job_id, b.token, decision=Snooze(60, "not yet")),
            Result(c.job_id, c.token, decision=Park("not-found", "gone \x00")),
        ]
    )
    assert ledger.claim(spec, [a.job_id, b.job_id], lane=Lane.LIVE, limit=8, worker="w")[0] == []
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET not_before = now()"))
    again, _ = ledger.claim(spec, [], lane=Lane.LIVE, limit=8, worker="w")
    assert {item.target: item.attempt for item in again} == {"a": 2, "b": 1}
    ledger.settle([Result(i.job_id, i.token, compute(i, "fetch")) for i in again])
    work(ledger)
    states = run_states(ledger)
    assert (states["fetch/c"], states["see/c"], states["tell"]) == ("parked", "skipped", "done")
    assert one(ledger, "SELECT reason FROM runs WHERE stage = 'see' AND target = 'c'") == "fetch: not-found"
    assert one(ledger, "SELECT verdict FROM events") == "degraded"


def test_withdrawal_leaves_nothing_but_a_shared_photo_of_another(ledger: Ledger) -> None:
    image = [{"id": "a", "url": "https://shop.example/x.jpg", "sha256": "2" * 64}]
    ledger.accept([upload("p1", images=image), upload("p2", images=image)])
    ledger.plan()
    work(ledger)
    ledger.accept([withdrawal("p1", 2)])
    ledger.plan()
    assert one(ledger, "SELECT live, facts FROM products WHERE product_id = 'p1'") == (False, None)
    assert one(ledger, "SELECT count(*) FROM runs r JOIN products p ON p.id = r.product_id "
                       "WHERE p.product_id = 'p1'") == 0  # fmt: skip
    assert one(ledger, "SELECT count(*) FROM presentations") == 1
    assert one(ledger, "SELECT count(*) FROM jobs") == 3, "those that p2 still subscribes to"
    assert {r.body is None for r in rows(ledger, "SELECT body FROM events WHERE product_id = 'p1'")} == {True}
    verdicts = {r.event_id: r.verdict for r in rows(ledger, "SELECT event_id, verdict FROM events")}
    assert verdicts == {"p1-1": "done", "p2-1": "done", "p1-gone-2": "done"}


def test_withdrawal_during_processing_wins(ledger: Ledger) -> None:
    ledger.accept([upload()])
    ledger.plan()
    spec = ledger.graph.stages["fetch"]
    [item], _ = ledger.claim(spec, [], lane=Lane.LIVE, limit=8, worker="w")
    ledger.accept([withdrawal("p1", 1)])
    ledger.plan()
    ledger.settle([Result(item.job_id, item.token, compute(item, "fetch"))])
    assert work(ledger) == 0
    assert one(ledger, "SELECT count(*) FROM jobs") == 0
    assert one(ledger, "SELECT verdict FROM events WHERE event_id = 'p1-1'") == "withdrawn"
    ledger.accept([upload(event_id="late", minute=50)])
    ledger.plan()
    assert one(ledger, "SELECT verdict, body FROM events WHERE event_id = 'late'") == ("withdrawn", None)
    ledger.accept([upload(revision=2)])
    ledger.plan()
    assert work(ledger) == 3, "a higher revision sells it again"


def test_thin_withdrawal_blocks_until_relisted(ledger: Ledger) -> None:
    ledger.accept([upload(revision=1), withdrawal("p1", minute=10)])
    ledger.plan()
    ledger.accept([upload(revision=2, minute=11)])
    ledger.plan()
    assert work(ledger) == 0
    ledger.accept([upload(revision=3, minute=12, relist=True)])
    ledger.plan()
    assert work(ledger) == 3
    ledger.accept([upload(revision=4, minute=13)])
    ledger.plan()
    assert one(ledger, "SELECT verdict FROM events WHERE event_id = 'p1-3'") == "done"
    assert work(ledger) == 1, "the same photo under a new revision: asked for again, and the rest is reused"


def test_withdrawn_and_relisted_in_one_batch_leaves_nothing_of_before(ledger: Ledger) -> None:
    for event in (upload(revision=1), withdrawal("p1", 2), upload(revision=3, images=("b",))):
        ledger.accept([event])
    ledger.plan()
    work(ledger)
    bodies = {r.event_id: r.body is None for r in rows(ledger, "SELECT event_id, body FROM events")}
    assert bodies == {"p1-1": True, "p1-gone-2": True, "p1-3": False}
    assert set(one(ledger, "SELECT fields FROM presentations")) == {"seen/b", "told"}


def test_effect_runs_for_each_plan_and_for_a_withdrawal(database: Engine) -> None:
    ledger = Ledger(database, stub_graph(effect=True))
    ledger.accept([upload()])
    ledger.plan()
    assert work(ledger) == 4
    ledger.accept([withdrawal("p1", 2)])
    assert ledger.plan()[1] == {"effects"}
    assert one(ledger, "SELECT verdict FROM events WHERE event_id = 'p1-gone-2'") is None
    assert work(ledger) == 1
    assert one(ledger, "SELECT verdict FROM events WHERE event_id = 'p1-gone-2'") == "done"


def test_product_without_photo_is_rejected_and_clears_what_was_served(ledger: Ledger) -> None:
    ledger.accept([upload(images=("a", "b"))])
    ledger.plan()
    work(ledger)
    ledger.accept([upload(revision=2, images=("b",), kind="product.updated.v1")])
    ledger.plan()
    assert set(one(ledger, "SELECT fields FROM presentations")) == {"seen/b"}
    work(ledger)
    assert set(one(ledger, "SELECT fields FROM presentations")) == {"seen/b", "told"}
    ledger.accept([upload(revision=3, images=())])
    ledger.plan()
    assert one(ledger, "SELECT verdict FROM events WHERE revision = 3") == "rejected"
    assert one(ledger, "SELECT fields FROM presentations") == {}


def test_corrected_url_of_a_declared_digest_is_tried_again(ledger: Ledger) -> None:
    for revision, url in ((1, "https://shop.example/typo.jpg"), (2, "https://shop.example/right.jpg")):
        ledger.accept([upload(revision=revision, images=[{"id": "a", "url": url, "sha256": "c" * 64}])])
        ledger.plan()
        if revision == 1:
            [item], _ = ledger.claim(ledger.graph.stages["fetch"], [], lane=Lane.LIVE, limit=8, worker="w")
            ledger.settle([Result(item.job_id, item.token, decision=Park("photo-not-found", "404"))])
    assert work(ledger) == 3
    assert one(ledger, "SELECT verdict FROM events WHERE revision = 2") == "done"


def test_photo_going_back_to_what_it_was_is_reused(ledger: Ledger) -> None:
    for revision, url in ((1, "A"), (2, "B"), (3, "A")):
        image = [{"id": "a", "url": "https://shop.example/x", "sha256": ("a" if url == "A" else "b") * 64}]
        ledger.accept([upload(revision=revision, images=image)])
        ledger.plan()
        assert work(ledger) == (0 if revision == 3 else 3)
    assert one(ledger, "SELECT fields->'told'->'value'->>0 FROM presentations").endswith("a" * 64)


def test_photo_that_a_replay_finds_unsafe_is_shown_no_more(database: Engine) -> None:
    ledger = Ledger(database, stub_graph())
    ledger.accept([upload(images=("a", "unsafe-later"))])
    ledger.plan()
    work(ledger)
    with database.begin() as connection:
        connection.execute(text("UPDATE products SET signature = ''"))
    stricter = Ledger(database, stub_graph(recipes={"see": Recipe("see", 2)}))
    replays = Replays(database, stricter.graph)
    replay = replays.create(Request(review=True))
    replays.advance()
    for row in rows(ledger, "SELECT id, target FROM runs WHERE stage = 'see' AND state = 'ready'"):
        spec = stricter.graph.stages["see"]
        for item in stricter.claim(spec, [], lane=Lane.BACKFILL, limit=8, worker="w")[0]:
            outcome = Seen(what="seen again", unsafe=item.target == "unsafe-later")
            stricter.settle([Result(item.job_id, item.token, outcome)])
        assert row.target
    served = one(ledger, "SELECT fields FROM presentations")
    assert set(served) == {"seen/a", "told"}, "at once, although the replay is under review"
    work(stricter)
    replays.advance()
    assert replays.progress(replay)[0]["state"] == "done"


def test_stage_of_a_newer_release_is_left_alone_by_an_older_process(database: Engine) -> None:
    newer, older = Ledger(database, stub_graph(effect=True)), Ledger(database, stub_graph())
    newer.accept([upload()])
    newer.plan()
    assert work(older) == 3
    assert one(older, "SELECT verdict FROM events") is None, "not the older one's to close"
    assert newer.catch_up() == {"effects"}, "the newer release's relay sees that nothing moves"
    assert work(newer) == 1
    assert one(newer, "SELECT verdict FROM events") == "done"
    older.accept([upload("p2")])
    older.plan()
    assert work(newer) == 3
    signature = one(newer, "SELECT signature FROM products WHERE product_id = 'p2'")
    assert signature != newer.graph.signature, "its effect is missing, and a replay must find that out"


def test_input_that_this_release_cannot_read_parks_its_reader(ledger: Ledger) -> None:
    ledger.accept([upload("p1"), upload("p2")])
    ledger.plan()
    work(ledger, stages=["fetch"])
    with ledger.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE jobs SET outcome = CAST(:other AS jsonb) "
                "WHERE stage = 'fetch' AND turn = (SELECT min(turn) FROM jobs)"
            ),
            {"other": '{"colour": 1}'},
        )
    work(ledger)
    assert one(ledger, "SELECT reason FROM jobs WHERE state = 'parked'") == "unreadable-input"
    verdicts = {r.product_id: r.verdict for r in rows(ledger, "SELECT product_id, verdict FROM events")}
    assert verdicts == {"p1": "degraded", "p2": "done"}
