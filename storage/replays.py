"""Replays: which products, at what cost, how fast, and how far along. Runs materialise window by window."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, text

from pipeline.errors import RejectedInput
from pipeline.graph import StageGraph
from pipeline.outcomes import Lane
from storage.database import transact
from storage.ledger.advance import advance
from storage.ledger.passes import Purpose, again, lock_products, make_plans
from storage.quotes import Quote, Request, quote, selection, values_of

_UNCHANGED_AT_ONCE = 20_000
_PLANS_AT_ONCE = 200

_CREATE = text("""
INSERT INTO replays (selection, stages, force, review, rate, "window")
VALUES (CAST(:selection AS jsonb), :wanted, :force, :review, :rate, :window) RETURNING id
""")
_ITEMS_OF = "INSERT INTO replay_items (replay_id, product_id) SELECT :replay, p.id FROM products p WHERE "
_RUNNING = text("SELECT id FROM replays WHERE state = 'running' ORDER BY id")
_ACTIVE = text("""
SELECT id, stages, force, review, rate, "window", created_at,
       COALESCE(EXTRACT(epoch FROM now() - COALESCE(admitted_at, created_at)), 0) AS idle_s
FROM replays WHERE id = :replay AND state = 'running' FOR UPDATE SKIP LOCKED
""")
_IN_FLIGHT = text("SELECT count(*) FROM plans WHERE replay_id = :replay AND verdict IS NULL")
_UNCHANGED = text("""
UPDATE replay_items i SET verdict = 'unchanged' FROM (
    SELECT i.product_id FROM replay_items i JOIN products p ON p.id = i.product_id
    WHERE i.replay_id = :replay AND i.verdict = 'pending' AND p.signature = :signature
    ORDER BY i.product_id LIMIT :limit) u
WHERE i.replay_id = :replay AND i.product_id = u.product_id
""")
_NEXT = text("""
SELECT i.product_id FROM replay_items i
WHERE i.replay_id = :replay AND i.verdict = 'pending'
  AND NOT EXISTS (SELECT FROM plans pl WHERE pl.product_id = i.product_id AND pl.verdict IS NULL)
ORDER BY i.product_id LIMIT :limit
""")
_ITEMS = text(
    "UPDATE replay_items SET verdict = :verdict WHERE replay_id = :replay AND product_id = ANY(:products)"
)
_FINISH = text("""
UPDATE replays r SET state = 'done', finished_at = now() WHERE id = :replay
  AND NOT EXISTS (SELECT FROM replay_items i WHERE i.replay_id = r.id AND i.verdict = 'pending')
  AND NOT EXISTS (SELECT FROM plans pl WHERE pl.replay_id = r.id AND pl.verdict IS NULL)
""")
_STATE = text("SELECT state FROM replays WHERE id = :replay")
_PROGRESS = text("""
SELECT r.id, r.state, r.stages, r.force, r.review, r.rate, r."window", r.created_at, r.finished_at, r.selection,
       COALESCE((SELECT jsonb_object_agg(v.verdict, v.items) FROM (
           SELECT verdict, count(*) AS items FROM replay_items i WHERE i.replay_id = r.id GROUP BY 1) v), '{}')
       AS items
FROM replays r WHERE CAST(:replay AS bigint) IS NULL OR r.id = :replay ORDER BY r.id DESC LIMIT 50
""")
_SET_STATE = text("""
UPDATE replays SET state = :to, finished_at = CASE WHEN :to = 'cancelled' THEN now() END
WHERE id = :replay AND state = ANY(:of) RETURNING id
""")
_CANCEL_ITEMS = text(
    "UPDATE replay_items SET verdict = 'cancelled' WHERE replay_id = :replay AND verdict = 'pending'"
)


class Replays:
    """Replays in Postgres; the relay lets them advance."""

    def __init__(self, engine: Engine, graph: StageGraph) -> None:
        self._engine = engine
        self._graph = graph

    def quote(self, request: Request) -> Quote:
        """What ``request`` would compute and reuse. Changes nothing."""
        return quote(self._engine, self._graph, request)

    def create(self, request: Request) -> int:
        """Select the products, in one statement, and start; returns the replay's id."""
        shown = {k: v for k, v in request.selection.values().items() if v and k != "by_event"}
        with self._engine.begin() as connection:
            replay: int = connection.execute(
                _CREATE,
                {
                    "selection": json.dumps(shown, default=str),
                    "wanted": list(request.stages),
                    "force": request.force,
                    "review": request.review,
                    "rate": request.rate,
                    "window": request.window,
                },
            ).scalar_one()
            chosen = text(_ITEMS_OF + selection(self._graph))
            connection.execute(chosen, values_of(self._graph, request) | {"replay": replay})
        return replay

    def advance(self) -> int:
        """Make the plans that rate and window allow now; returns how many. Called by the relay's every tick."""
        with self._engine.connect() as connection:
            running = connection.execute(_RUNNING).scalars().all()
        # One transaction each: each locks products in their order.
        return sum(transact(self._engine, partial(self._advance, replay)) for replay in running)

    def _advance(self, replay_id: int, connection: Connection) -> int:
        replay = connection.execute(_ACTIVE, {"replay": replay_id}).one_or_none()
        if replay is None:
            return 0
        if not set(replay.stages) <= self._graph.stages.keys():
            # Of a stage that came with a newer release, or a moment ago: whoever knows it carries on.
            return 0
        if not replay.force:
            values = {"replay": replay.id, "signature": self._graph.signature, "limit": _UNCHANGED_AT_ONCE}
            connection.execute(_UNCHANGED, values)
        in_flight = connection.execute(_IN_FLIGHT, {"replay": replay.id}).scalar_one()
        room = min(_PLANS_AT_ONCE, replay.window - in_flight)
        if replay.rate is not None:
            room = min(room, int(replay.rate * float(replay.idle_s)))
        if room <= 0:
            return 0
        ids = list(connection.execute(_NEXT, {"replay": replay.id, "limit": room}).scalars())
        if not ids:
            connection.execute(_FINISH, {"replay": replay.id})
            return 0
        rows = lock_products(connection, ids)
        gone = [row.id for row in rows if not row.live]
        if gone:
            connection.execute(_ITEMS, {"replay": replay.id, "products": gone, "verdict": "withdrawn"})
        chosen = [row for row in rows if row.live and row.open_plan is None]
        plans = [again(row) for row in chosen]
        purpose = Purpose(
            "replay",
            Lane.BACKFILL,
            replay_id=replay.id,
            review=replay.review,
            force_before=replay.created_at if replay.force else None,
            force_stages=tuple(replay.stages),
        )
        make_plans(connection, self._graph, plans, purpose)
        ids = [row.id for row in chosen]
        connection.execute(_ITEMS, {"replay": replay.id, "products": ids, "verdict": "planned"})
        connection.execute(text("UPDATE replays SET admitted_at = now() WHERE id = :id"), {"id": replay.id})
        advance(connection, self._graph, ids)
        return len(plans)

    def progress(self, replay: int | None = None) -> list[Mapping[str, Any]]:
        """The newest replays, or one, with how many items stand where."""
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(_PROGRESS, {"replay": replay})]

    def is_active(self, replay: int) -> bool:
        """Whether the replay still makes plans, or will when it is resumed."""
        with self._engine.connect() as connection:
            return connection.execute(_STATE, {"replay": replay}).scalar() in ("running", "paused")

    def pause(self, replay: int) -> None:
        """Make no further plans; what is planned ends."""
        self._set(replay, "paused", ["running"])

    def resume(self, replay: int) -> None:
        """Carry on where it was paused."""
        self._set(replay, "running", ["paused"])

    def cancel(self, replay: int) -> None:
        """Drop what is still pending; what is planned ends."""
        self._set(replay, "cancelled", ["running", "paused"])

    def _set(self, replay: int, to: str, of: list[str]) -> None:
        with self._engine.begin() as connection:
            if connection.execute(_SET_STATE, {"replay": replay, "to": to, "of": of}).first() is None:
                raise RejectedInput(
                    "wrong-state", f"replay {replay} is not {' or '.join(of)}: see `vitrine replay list`"
                )
            if to == "cancelled":
                connection.execute(_CANCEL_ITEMS, {"replay": replay})
