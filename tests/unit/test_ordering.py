"""Which event counts: the same answer in whatever order events arrive, and a withdrawal always wins."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.events import Event
from pipeline.ordering import Effect, Standing, follow
from tests.factories import upload, withdrawal


def sold(revision: int, minute: int = 0, event_id: str | None = None, *, relist: bool = False) -> Event:
    return upload(revision=revision, minute=minute, event_id=event_id, relist=relist)[0]


def gone(revision: int | None = None, minute: int = 0, event_id: str | None = None) -> Event:
    return withdrawal(revision=revision, minute=minute, event_id=event_id)[0]


def fold(events: Iterable[Event]) -> tuple[Standing, list[Effect]]:
    standing, effects = Standing(), []
    for event in events:
        standing, effect = follow(standing, event)
        effects.append(effect)
    return standing, effects


revisions, minutes, names = st.integers(1, 3), st.integers(0, 4), st.sampled_from("xyz")
histories = st.lists(
    st.builds(lambda r, m, i, again: sold(r, m, i, relist=again), revisions, minutes, names, st.booleans())
    | st.builds(gone, st.none() | revisions, minutes, names),
    min_size=1,
    max_size=7,
)


@settings(deadline=None)
@given(histories, st.randoms(use_true_random=False))
def test_every_order_and_every_repetition_ends_at_the_same_standing(
    events: Sequence[Event], chance: object
) -> None:
    expected, _ = fold(events)
    shuffled = [*events, *events[:3]]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fold(shuffled)[0] == expected


@settings(deadline=None)
@given(histories)
def test_order_never_goes_back_and_only_the_current_event_changes_it(events: Sequence[Event]) -> None:
    standing = Standing()
    for event in events:
        before = standing
        standing, effect = follow(standing, event)
        assert standing.order >= before.order
        if effect is Effect.CURRENT:
            assert standing.live
            assert standing.event_id == event.id
        if effect in (Effect.WITHDRAWS, Effect.REFUSED):
            assert not standing.live
        again, repeated = follow(standing, event)
        assert again == standing, "a duplicate is nothing new"
        assert repeated is not Effect.CURRENT


@settings(deadline=None)
@given(histories)
def test_what_is_withdrawn_at_its_revision_is_not_for_sale(events: Sequence[Event]) -> None:
    standing, _ = fold(events)
    newest = max((e.revision or 0 for e in events), default=0)
    withdrawn = {e.revision for e in events if e.is_withdrawal and e.revision}
    thin = [e.time for e in events if e.is_withdrawal and e.revision is None]
    relisted = [e.time for e in events if getattr(e.data, "relist", False)]
    blocked = bool(thin) and (not relisted or max(relisted) <= max(thin))
    assert standing.live is (newest > 0 and newest not in withdrawn and not blocked)


def test_newest_revision_then_time_then_id() -> None:
    assert fold([sold(1), sold(2)])[1] == [Effect.CURRENT, Effect.CURRENT]
    assert fold([sold(2), sold(1, minute=9)])[1] == [Effect.CURRENT, Effect.SUPERSEDED]
    assert fold([sold(1, 5), sold(1, 6)])[1] == [Effect.CURRENT, Effect.CURRENT]
    assert fold([sold(1, 5, "b"), sold(1, 5, "a")])[1] == [Effect.CURRENT, Effect.SUPERSEDED]


def test_withdrawal_beats_its_own_revision_whatever_the_clocks_say() -> None:
    for order in itertools.permutations([sold(2, minute=50), gone(2, minute=1), sold(1, minute=60)]):
        standing, effects = fold(order)
        assert not standing.live
        assert Effect.WITHDRAWS in effects
    assert fold([gone(2), sold(2, minute=50)])[1] == [Effect.WITHDRAWS, Effect.REFUSED]
    assert fold([gone(2), sold(3)])[1] == [Effect.WITHDRAWS, Effect.CURRENT]
    assert fold([sold(3), gone(2)])[1] == [Effect.CURRENT, Effect.SUPERSEDED]


def test_thin_withdrawal_blocks_every_revision_until_a_later_relisting() -> None:
    blocked = [sold(1), gone(minute=10), sold(7, minute=20)]
    assert fold(blocked)[1] == [Effect.CURRENT, Effect.WITHDRAWS, Effect.REFUSED]
    assert fold([*blocked, sold(8, minute=10, relist=True)])[1][-1] is Effect.REFUSED, "not later"
    assert fold([*blocked, sold(8, minute=11, relist=True)])[1][-1] is Effect.CURRENT
    assert fold([gone(minute=5), sold(1, minute=6, relist=True), gone(minute=4)])[1][-1] is Effect.SUPERSEDED


@pytest.mark.parametrize("of", [gone(3), gone(minute=20)])
def test_relisting_lifts_no_withdrawal_that_is_newer(of: Event) -> None:
    assert not fold([sold(2, minute=10, relist=True), of])[0].live
    assert not fold([of, sold(2, minute=10, relist=True)])[0].live


def test_where_the_order_of_arrival_shows_a_relisting_overtaken_by_a_refused_revision() -> None:
    """The standing agrees in every order; what can be served does not, and no rule could make it.

    Revision 4 met the block and was refused, its payload forgotten as a withdrawal demands. The relisting of
    revision 3 that lifts the block comes later, is older than 4 and so is superseded. Only in the order in
    which the relisting comes first is revision 4 served; in the other the product waits for its next event.
    """
    thin, relisting, next_one = gone(minute=1), sold(3, 2, relist=True), sold(4, 3)
    told, first = fold([thin, relisting, next_one])
    late, second = fold([thin, next_one, relisting])
    assert told == late
    assert late.live
    assert first == [Effect.WITHDRAWS, Effect.CURRENT, Effect.CURRENT]
    assert second == [Effect.WITHDRAWS, Effect.REFUSED, Effect.SUPERSEDED]
