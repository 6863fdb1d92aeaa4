"""What was made and is not proven waits for a person: never served before, served once accepted."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from pipeline.errors import NeedsReview, RejectedInput
from pipeline.graph import Scope, StageGraph, StageSpec
from pipeline.outcomes import Blob, Lane, Outcome
from pipeline.retry import RetryPolicy
from storage.ledger import Ledger, Result
from storage.parked import Parked
from storage.presentations import Presentations
from storage.quotes import Request
from storage.replays import Replays
from storage.reviews import REJECTED, Reviews
from tests.factories import Seen, specs, upload, withdrawal, work
from tests.queries import one, rows

PICTURE = Blob(digest="e" * 64, media_type="image/png", size=3)


class Shown(Outcome):
    picture: Blob
    slot: str


def graph(version: int = 1) -> StageGraph:
    shown = StageSpec(
        "show",
        version,
        Scope.PRODUCT,
        Shown,
        needs=(Seen,),
        slots=("wide", "tall"),
        presents=lambda outcome: {"scene": {"picture": outcome.picture.digest}},
    )
    return StageGraph([*specs(), shown], {})


@pytest.fixture
def ledger(database: Engine) -> Ledger:
    return Ledger(database, graph())


@pytest.fixture
def reviews(ledger: Ledger) -> Reviews:
    return Reviews(ledger.engine, ledger.graph)


def arrive(ledger: Ledger, *events: object) -> None:
    ledger.accept(list(events))  # type: ignore[arg-type]
    ledger.plan()


def show(ledger: Ledger, good: str = "@tall") -> int:
    """Do what is ready; of what is shown only this slot is proven. Returns how many were shown."""
    work(ledger, stages=["fetch", "see", "tell"])
    spec = ledger.graph.stages["show"]
    results = []
    for lane in Lane:
        for item in ledger.claim(spec, [], lane=lane, limit=9, worker="w")[0]:
            outcome = Shown(picture=PICTURE, slot=item.target)
            ledger.touch([PICTURE])
            if item.target == good:
                results.append(Result(item.job_id, item.token, outcome))
            else:
                error = NeedsReview("below-the-bar", "half of it is another colour", outcome)
                decision = RetryPolicy().decide(error, item.attempt, 0.5)
                results.append(Result(item.job_id, item.token, decision=decision))
    if results:
        ledger.settle(results)
    work(ledger, stages=["fetch", "see", "tell"])
    return len(results)


def served(ledger: Ledger, product: str = "p1") -> set[str]:
    document = Presentations(ledger.engine).read(product)
    return set(document.get("scene", {})) if document else set()


def test_what_is_not_proven_is_parked_with_what_was_made(ledger: Ledger, reviews: Reviews) -> None:
    arrive(ledger, upload("p1"))
    assert show(ledger) == 2
    assert served(ledger) == {"tall"}
    assert one(ledger.engine, "SELECT verdict FROM events") == "degraded"
    [waiting] = reviews.pending()
    assert (waiting["stage"], waiting["target"], waiting["products"]) == ("show", "@wide", ["p1"])
    assert (waiting["reason"], waiting["error"]) == ("below-the-bar", "half of it is another colour")
    assert Shown.model_validate(waiting["outcome"]).picture == PICTURE
    assert rows(ledger.engine, "SELECT outcome FROM jobs WHERE state = 'parked'") == [(None,)]
    assert one(ledger.engine, "SELECT count(*) FROM asset_uses WHERE digest = repeat('e', 64)") == 2, (
        "nothing sweeps it"
    )


def test_accepted_it_is_served_and_says_who_and_why(ledger: Ledger, reviews: Reviews) -> None:
    arrive(ledger, upload("p1"))
    show(ledger)
    [waiting] = reviews.pending()
    assert reviews.accept(waiting["id"], by="ana", why="the label is only folded") == 1
    assert show(ledger) == 0, "nothing is made again"
    assert served(ledger) == {"tall", "wide"}
    assert reviews.pending() == []
    [decided] = reviews.pending(decided=True)
    assert (decided["accepted"], decided["decided_by"], decided["why"]) == (
        True,
        "ana",
        "the label is only folded",
    )
    with pytest.raises(RejectedInput, match="does not wait for review"):
        reviews.accept(waiting["id"], by="bob", why="again")


def test_rejected_it_is_never_served_nor_made_again_by_a_replay(ledger: Ledger, reviews: Reviews) -> None:
    arrive(ledger, upload("p1"))
    show(ledger)
    [waiting] = reviews.pending()
    reviews.reject(waiting["id"], by="ana", why="a second cup")
    assert reviews.pending() == []
    [job] = Parked(ledger.engine, ledger.graph).jobs()
    assert (job["reason"], job["error"]) == (REJECTED, "ana rejected it: a second cup")
    replays = Replays(ledger.engine, ledger.graph)
    replays.create(Request())
    replays.advance()
    assert show(ledger) == 0
    assert served(ledger) == {"tall"}


def test_an_open_review_survives_a_replay_and_a_forced_one_makes_it_anew(
    ledger: Ledger, reviews: Reviews
) -> None:
    arrive(ledger, upload("p1"))
    show(ledger)
    replays = Replays(ledger.engine, ledger.graph)
    replays.create(Request())
    replays.advance()
    assert show(ledger) == 0
    assert len(reviews.pending()) == 1
    replays.create(Request(stages=("show",), force=True))
    replays.advance()
    replays.advance()
    assert show(ledger, good="@wide") == 2
    assert served(ledger) == {"tall", "wide"}
    assert [waiting["target"] for waiting in reviews.pending()] == ["@tall"]


def test_a_release_that_shows_otherwise_makes_a_rejected_one_anew(ledger: Ledger, reviews: Reviews) -> None:
    arrive(ledger, upload("p1"))
    show(ledger)
    reviews.reject(reviews.pending()[0]["id"], by="ana", why="no")
    newer = Ledger(ledger.engine, graph(version=2))
    replays = Replays(newer.engine, newer.graph)
    replays.create(Request())
    replays.advance()
    assert show(newer, good="@wide") == 2
    assert served(newer) == {"tall", "wide"}


def test_what_is_let_go_while_it_is_made_again_is_not_taken_for_an_answer(
    ledger: Ledger, reviews: Reviews
) -> None:
    arrive(ledger, upload("p1"))
    show(ledger)
    Parked(ledger.engine, ledger.graph).release(reason="below-the-bar")
    work(ledger, stages=["fetch", "see", "tell"])
    arrive(ledger, upload("p1", revision=2, title="another", images=["b"]))
    states = rows(ledger.engine, "SELECT j.state FROM jobs j JOIN reviews v ON v.job_id = j.id")
    assert ("done",) not in states
    assert served(ledger) == set(), "the new revision has another photo"


def test_a_withdrawal_takes_what_waits_with_it(ledger: Ledger, reviews: Reviews) -> None:
    arrive(ledger, upload("p1"))
    show(ledger)
    arrive(ledger, withdrawal("p1", 2))
    assert reviews.pending(decided=True) == []
    assert one(ledger.engine, "SELECT count(*) FROM asset_uses WHERE digest = repeat('e', 64)") == 0
