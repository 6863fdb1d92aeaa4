"""Which event of a product counts: a fold that gives the same answer in whatever order events arrive. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum

from pipeline.events import Event, Product

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Effect(Enum):
    """What an event does to its product."""

    CURRENT = "current"  # it is the newest word on a product that is for sale
    SUPERSEDED = "superseded"  # something newer is already known
    WITHDRAWS = "withdraws"  # the product goes, or stays, away because of it
    REFUSED = "refused"  # the product is withdrawn and this does not bring it back


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a product's place in the order of its events.

    The order is (revision, withdrawal, time, id): a withdrawal beats anything else at its revision. A thin
    withdrawal has no revision; it blocks the product until an event with ``relist`` and a later time.
    """

    revision: int = 0
    by_withdrawal: bool = False
    event_time: datetime | None = None
    event_id: str = ""
    blocked_at: datetime | None = None
    relisted_at: datetime | None = None

    @property
    def order(self) -> tuple[int, bool, datetime, str]:
        return (self.revision, self.by_withdrawal, self.event_time or _EPOCH, self.event_id)

    @property
    def blocked(self) -> bool:
        if self.blocked_at is None:
            return False
        return self.relisted_at is None or self.relisted_at <= self.blocked_at

    @property
    def live(self) -> bool:
        return self.revision > 0 and not self.by_withdrawal and not self.blocked


def follow(standing: Standing, event: Event) -> tuple[Standing, Effect]:
    """The standing after ``event``, and what the event did."""
    if event.is_withdrawal and event.revision is None:
        blocked_at = max(standing.blocked_at or event.time, event.time)
        after = replace(standing, blocked_at=blocked_at)
        return after, Effect.WITHDRAWS if after.blocked else Effect.SUPERSEDED
    after = standing
    if isinstance(event.data, Product) and event.data.relist:
        after = replace(after, relisted_at=max(after.relisted_at or event.time, event.time))
    assert event.revision is not None
    order = (event.revision, event.is_withdrawal, event.time, event.id)
    if order <= standing.order:
        return after, Effect.SUPERSEDED if after.live else Effect.REFUSED
    after = replace(
        after,
        revision=event.revision,
        by_withdrawal=event.is_withdrawal,
        event_time=event.time,
        event_id=event.id,
    )
    if event.is_withdrawal:
        return after, Effect.WITHDRAWS
    return after, Effect.REFUSED if after.blocked else Effect.CURRENT
