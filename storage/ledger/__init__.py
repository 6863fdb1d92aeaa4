"""The ledger: the only writer of run state. Every method is one transaction, safe to call again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DataError

from pipeline.errors import ContractError
from pipeline.events import Event
from pipeline.graph import StageGraph, StageSpec
from pipeline.outcomes import Blob, Lane
from pipeline.retry import Park
from storage.database import transact
from storage.ledger import sweep as _sweep
from storage.ledger.abandon import abandon
from storage.ledger.accept import Receipt, Refused, accept
from storage.ledger.admit import Batch, admit, batches_of
from storage.ledger.claim import Claimed, claim, renew, replan
from storage.ledger.plan import plan_events
from storage.ledger.settle import Result, Settled, behind, catch_up, settle

__all__ = ["Batch", "Claimed", "Ledger", "Receipt", "Refused", "Result", "Settled"]

T = TypeVar("T")
Follow = Callable[[bool], StageGraph | None]
"""Gives a new graph where it has changed; asked with True it looks at once."""

_SWEEP_LIMIT = 500

_TOUCH = text("""
INSERT INTO assets (digest, media_type, size)
SELECT * FROM unnest(CAST(:digests AS text[]), CAST(:types AS text[]), CAST(:sizes AS bigint[])) AS u
ORDER BY 1 ON CONFLICT (digest) DO UPDATE SET touched_at = now()
""")


class Ledger:
    """Run state in Postgres, over one stage graph, which may change between two pieces of work."""

    def __init__(self, engine: Engine, graph: StageGraph, follow: Follow | None = None) -> None:
        self.engine = engine
        self.graph = graph
        self._follow = follow

    def refresh(self, *, now: bool = False) -> None:
        """Take over the graph of today: call it between two pieces of work, never within one.

        It is looked for once in a while, with ``now`` at once.
        """
        changed = self._follow(now) if self._follow else None
        if changed is not None:
            self.graph = changed

    def accept(self, events: Sequence[tuple[Event, bytes]], refused: Sequence[Refused] = ()) -> Receipt:
        """Record a batch of events; returned means committed.

        What Postgres cannot store (its JSON is stricter than the parser's in fields that we drop) is found by
        halving and quarantined, so that it takes no neighbour along.
        """
        try:
            return self._transact(lambda c: accept(c, events, refused))
        except DataError as error:
            if len(events) == 1:
                [(event, raw)] = events
                why = ContractError("not-storable", str(error.orig).splitlines()[0])
                return self.accept(
                    [], [*refused, Refused(raw, why, event.source, event.id, event.product_id)]
                )
            half = len(events) // 2
            first, second = self.accept(events[:half], refused), self.accept(events[half:])
            return Receipt(
                first.accepted + second.accepted,
                first.duplicates + second.duplicates,
                first.quarantined + second.quarantined,
            )

    def plan(self, limit: int = 500) -> tuple[int, set[str]]:
        """Plan accepted events; returns how many were planned and the queues that got work."""
        return self._transact(lambda c: plan_events(c, self.graph, limit))

    def admit(self, queue: str, window: int) -> list[Batch]:
        """Choose the next batches to announce on ``queue``."""
        return self._transact(lambda c: admit(c, self.graph, queue, window))

    def claim(
        self, spec: StageSpec, ids: Sequence[int], *, lane: Lane, limit: int, worker: str
    ) -> tuple[list[Claimed], set[str]]:
        """Lease work of one stage; returns it and the queues in which something became admissible."""
        taken = self._transact(
            lambda c: claim(c, self.graph, spec, ids, lane=lane, limit=limit, worker=worker)
        )
        queues = {spec.queue} if taken.put_back else set()
        if taken.stale:
            queues |= self._transact(lambda c: replan(c, self.graph, taken.stale))
        if taken.unreadable:
            parked = [
                Result(job, token, decision=Park("unreadable-input", why))
                for job, token, why in taken.unreadable
            ]
            queues |= self.settle(parked).news.queues
        return taken.claimed, queues

    def renew(self, held: Mapping[int, int], lease_s: float) -> set[int]:
        """Extend leases; returns the job ids that are still ours."""
        return self._transact(lambda c: renew(c, held, lease_s))

    def settle(self, results: Sequence[Result], window: int = 0) -> Settled:
        """Take outcomes and failures; what follows from them is committed with them.

        With a ``window``, live work that follows takes the free places of its queue; announce those ``batches``.
        """
        settled = self._transact(lambda c: settle(c, self.graph, results, window))
        if settled.stragglers:
            settled.news.queues |= self._transact(lambda c: catch_up(c, self.graph, settled.stragglers))
        return settled

    def batches(self, settled: Settled) -> list[Batch]:
        """The messages that announce what follows from a settlement."""
        return batches_of(self.graph, settled.news.announced)

    def touch(self, blobs: Iterable[Blob]) -> None:
        """Announce blobs that are about to be written, so that no sweep deletes them meanwhile."""
        unique = sorted({blob.digest: blob for blob in blobs}.values(), key=lambda b: b.digest)
        if unique:
            values: dict[str, Any] = {
                "digests": [blob.digest for blob in unique],
                "types": [blob.media_type for blob in unique],
                "sizes": [blob.size for blob in unique],
            }
            self._transact(lambda c: c.execute(_TOUCH, values))

    def reclaim(self) -> tuple[list[int], set[str]]:
        """Take back expired leases and park what keeps ending its process; returns jobs and queues."""
        parked, queues = self._transact(lambda c: _sweep.poisoned(c, self.graph, _SWEEP_LIMIT))
        again, more = self._transact(lambda c: _sweep.reclaim(c, _SWEEP_LIMIT))
        return parked + again, queues | more

    def catch_up(self) -> set[str]:
        """Settle runs that a crash left behind; returns the queues that got work."""
        products = self._transact(lambda c: behind(c, _SWEEP_LIMIT))
        return self._transact(lambda c: catch_up(c, self.graph, products)) if products else set()

    def abandon(self, stages: Sequence[str]) -> int:
        """Let go of what is open of stages that are in the graph no more; returns of how many products."""
        count = 0
        while True:
            products, _ = self._transact(lambda c: abandon(c, self.graph, stages, _SWEEP_LIMIT))
            if not products:
                return count
            count += products

    def forget_announcements(self, queue: str, patience_s: float) -> int:
        """Announce again what the broker seems to have lost."""
        return self._transact(lambda c: _sweep.forget_announcements(c, queue, patience_s))

    def prune(self, days: int) -> int:
        """Delete the runs of plans that ended long ago; returns how many plans went."""
        return self._transact(lambda c: _sweep.prune(c, days, _SWEEP_LIMIT))

    def sweep_assets(self, delete: Callable[[str, str], Any], grace_s: float) -> int:
        """Delete unreferenced blobs; returns how many."""
        return self._transact(lambda c: _sweep.sweep_assets(c, delete, grace_s, _SWEEP_LIMIT))

    def _transact(self, work: Callable[[Connection], T]) -> T:
        return transact(self.engine, work)
