"""A model swap without an outage: filled in the background, compared, switched, taken back, interrupted anywhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from pipeline.errors import RejectedInput
from storage.ledger import Ledger
from storage.replays import Replays
from storage.searches import Searches
from storage.spaces import Role, Spaces
from storage.vectors import VectorIndex
from tests.factories import upload, withdrawal
from tests.index import ENGINES, FEDERATION, NEW, OLD, Shop
from workers.keeper import IndexKeeper
from workers.search import Search
from workers.swap import Swap


@pytest.fixture
def shop(database: Engine, index: VectorIndex) -> Shop:
    shop = Shop(database, index)
    shop.publish(*(upload(f"p{n}", title=f"lamp {n}") for n in range(6)))
    shop.work()
    return shop


@pytest.fixture
def swap(shop: Shop) -> Swap:
    return Swap(shop.ledger, shop.index, ENGINES, FEDERATION)


def fill(shop: Shop) -> None:
    """Let replays and workers do all there is to do."""
    while True:
        shop.ledger.refresh(now=True)
        if not Replays(shop.database, shop.ledger.graph).advance() + shop.work():
            return


def search(shop: Shop) -> Search:
    return Search(shop.database, shop.index, ENGINES, "none", record=True)


def first(shop: Shop, query: str) -> tuple[str, str]:
    """The first hit's id, and the engine that was asked."""
    results = search(shop).find(query)
    return results.hits[0].document["product_id"], results.engine


def test_a_swap_from_plan_to_retirement(shop: Shop, swap: Swap) -> None:
    planned = swap.plan("new_table")
    assert (planned.serving, planned.new, planned.products, planned.photos) == (OLD, NEW, 6, 6)
    assert first(shop, "lamp 3") == ("p3", OLD)

    begun, quote = swap.shadow("new_table", rate=None, window=10)
    assert (begun.products, begun.missing) == (6, 6)
    assert quote is not None
    assert {stage.stage: stage.compute for stage in quote.stages if stage.compute} == {
        "shadow_image": 6,
        "shadow_text": 6,
        "shadow_index": 6,
    }
    assert first(shop, "lamp 3") == ("p3", OLD)
    with pytest.raises(RejectedInput, match="6 of 6 products are not in"):
        swap.switch()

    fill(shop)
    assert swap.fill().missing == 0
    assert first(shop, "lamp 3") == ("p3", OLD), "nothing is served from it yet"
    compared = swap.compare(search(shop), ["lamp 3", "lamp 4"])
    assert [one.shadow[0] for one in compared.queries] == ["shop/p3", "shop/p4"]
    assert compared.same_first == 1.0

    serving, shadow = swap.switch()
    assert (serving.engine, shadow.engine) == (NEW, OLD)
    assert first(shop, "lamp 3") == ("p3", NEW)
    assert shop.work() == 0, "what the shadow computed is what serves now"

    shop.publish(upload("late", title="a late lamp"))
    shop.work()
    assert first(shop, "a late lamp") == ("late", NEW)
    swap.switch(incomplete=True)
    assert first(shop, "a late lamp") == ("late", OLD), "the way back lost nothing"

    assert swap.retire().engine == NEW
    assert shop.points(OLD).keys() == {"late", *(f"p{n}" for n in range(6))}
    assert [space.engine for space in Spaces(shop.database).all()] == [OLD]


def test_an_upload_during_the_swap_lands_in_both(shop: Shop, swap: Swap) -> None:
    swap.shadow("new_table", rate=None, window=10)
    shop.publish(upload("late", title="late"))
    shop.work()
    assert "late" in shop.points(OLD)
    assert "late" in shop.points(NEW)


def test_a_withdrawal_during_the_swap_leaves_both(shop: Shop, swap: Swap) -> None:
    swap.shadow("new_table", rate=None, window=10)
    fill(shop)
    shop.publish(withdrawal("p1", 2))
    shop.work()
    assert "p1" not in shop.points(OLD)
    assert "p1" not in shop.points(NEW)


def test_a_changed_photo_changes_both_also_after_the_switch(shop: Shop, swap: Swap) -> None:
    swap.shadow("new_table", rate=None, window=10)
    fill(shop)
    swap.switch()
    shop.publish(upload("p1", revision=2, images=["b"], title="another lamp"))
    shop.work()
    for engine in (OLD, NEW):
        assert shop.points(engine)["p1"]["revision"] == 2
        assert len(shop.points(engine)["p1"]["vectors"]["image"]) == 1


def test_what_serves_is_not_written_again_for_a_new_shadow(shop: Shop, swap: Swap) -> None:
    serving = Spaces(shop.database).active()[0]
    swap.shadow("new_table", rate=None, window=10)
    shop.index.delete(serving.collection, {1: 2**60})
    IndexKeeper(shop.ledger, shop.index).keep()
    assert "p0" not in shop.points(OLD), "nothing of it has changed"
    assert shop.points(NEW) == {}, "nothing is embedded yet"
    shop.index.drop(serving.collection)
    IndexKeeper(shop.ledger, shop.index).keep()
    assert len(shop.points(OLD)) == 6
    fill(shop)
    assert len(shop.points(NEW)) == 6


def test_a_relay_that_does_not_know_the_shadow_yet_leaves_its_replay_alone(shop: Shop, swap: Swap) -> None:
    behind = shop.ledger.graph
    begun, _ = swap.shadow("new_table", rate=None, window=10)
    assert Replays(shop.database, behind).advance() == 0
    fill(shop)
    assert swap.fill().missing == 0
    assert begun.replay is not None
    assert not Replays(shop.database, shop.ledger.graph).is_active(begun.replay)


def test_an_upload_planned_without_the_shadow_is_found_by_the_next_call(shop: Shop, swap: Swap) -> None:
    behind = shop.ledger.graph
    swap.shadow("new_table", rate=None, window=10)
    fill(shop)
    late = Ledger(shop.database, behind)
    late.accept([upload("late", title="late")])
    late.plan()
    fill(shop)
    assert swap.fill().missing == 1
    swap.shadow("new_table", rate=None, window=10)
    fill(shop)
    assert swap.fill().missing == 0


def test_the_replay_of_a_shadow_that_is_given_up_ends(shop: Shop, swap: Swap) -> None:
    begun, _ = swap.shadow("new_table", rate=None, window=2)
    swap.retire()
    assert begun.replay is not None
    assert not Replays(shop.database, shop.ledger.graph).is_active(begun.replay)


def test_filling_goes_on_where_it_was_interrupted(shop: Shop, swap: Swap) -> None:
    swap.shadow("new_table", rate=None, window=2)
    shop.ledger.refresh(now=True)
    Replays(shop.database, shop.ledger.graph).advance()
    shop.work()
    half = swap.fill()
    assert 0 < half.missing < 6
    again, _ = Swap(shop.ledger, shop.index, ENGINES, FEDERATION).shadow("new_table", rate=None, window=2)
    assert (again.replay, again.missing) == (half.replay, half.missing)
    fill(shop)
    assert swap.fill().missing == 0


def test_a_switch_that_died_between_alias_and_table_is_finished_by_the_next(shop: Shop, swap: Swap) -> None:
    swap.shadow("new_table", rate=None, window=10)
    fill(shop)
    shop.index.serve(swap.fill().space.collection)
    assert first(shop, "lamp 2") == ("p2", NEW), "a search follows the alias"
    swap.switch()
    assert first(shop, "lamp 2") == ("p2", NEW)
    assert {space.role: space.engine for space in Spaces(shop.database).active()} == {
        Role.SERVING: NEW,
        Role.SHADOW: OLD,
    }


def test_a_shadow_given_up_in_the_middle_holds_no_event_up(shop: Shop, swap: Swap) -> None:
    swap.shadow("new_table", rate=None, window=10)
    shop.publish(upload("late"))
    shop.work(["fetch", "embed_image", "embed_text", "index"])
    assert verdict(shop, "late-1") is None
    swap.retire()
    assert verdict(shop, "late-1") == "done"
    shop.publish(upload("later"))
    shop.work()
    assert verdict(shop, "later-1") == "done"


def test_a_retirement_that_died_is_finished_by_the_keeper(shop: Shop, swap: Swap) -> None:
    swap.shadow("new_table", rate=None, window=10)
    fill(shop)
    shop.publish(upload("late"))
    shop.work(["fetch", "embed_image", "embed_text", "index"])
    retired = Spaces(shop.database).retire()
    assert shop.index.exists(retired.collection)
    IndexKeeper(shop.ledger, shop.index).keep()
    assert not shop.index.exists(retired.collection)
    assert Spaces(shop.database).retired() == []
    assert verdict(shop, "late-1") == "done"


def verdict(shop: Shop, event: str) -> str | None:
    with shop.database.connect() as connection:
        found: str | None = connection.execute(
            text("SELECT verdict FROM events WHERE event_id = :event"), {"event": event}
        ).scalar_one()
    return found


@pytest.mark.parametrize(
    ("attempt", "reason"),
    [
        (lambda swap: swap.plan("old_table"), "already-serving"),
        (lambda swap: swap.shadow("old_table", rate=None, window=1), "already-serving"),
        (lambda swap: swap.switch(), "no-shadow"),
        (lambda swap: swap.retire(), "no-shadow"),
        (lambda swap: swap.fill(), "no-shadow"),
    ],
)
def test_a_step_out_of_turn_says_which_is_due(
    swap: Swap, attempt: Callable[[Swap], object], reason: str
) -> None:
    with pytest.raises(RejectedInput) as caught:
        attempt(swap)
    assert caught.value.reason == reason


def test_searches_are_counted_and_the_frequent_come_first(shop: Shop) -> None:
    for query in ("lamp 1", "lamp 2", "lamp  2 ", "x" * 400):
        search(shop).find(query)
    assert Searches(shop.database).often(10) == ["lamp 2", "lamp 1"]
