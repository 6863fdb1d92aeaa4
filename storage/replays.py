"""Replays: which products, at what cost, how fast, and how far along. Runs materialise window by window."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, text

from pipeline.errors import RejectedInput
from pipeline.events import Product
from pipeline.graph import Scope, StageGraph
from pipeline.outcomes import Lane
from storage.database import transact
from storage.ledger.advance import advance
from storage.ledger.claim import LOCK_PRODUCTS
from storage.ledger.plan import NewPlan, Purpose, make_plans

_UNCHANGED_AT_ONCE = 20_000
_PLANS_AT_ONCE = 200

_SELECTION = """
p.live
AND (CAST(:products AS text[]) IS NULL OR p.product_id = ANY(:products))
AND (CAST(:source AS text) IS NULL OR p.source = :source)
AND (CAST(:category AS text) IS NULL OR p.facts->>'category' ILIKE :category || '%')
AND (NOT :by_event OR EXISTS (
    SELECT FROM events e WHERE e.source = p.source AND e.product_id = p.product_id
      AND (CAST(:since AS timestamptz) IS NULL OR e.time >= :since)
      AND (CAST(:until AS timestamptz) IS NULL OR e.time < :until)
      AND (CAST(:types AS text[]) IS NULL OR e.type = ANY(:types))
      AND (CAST(:verdicts AS text[]) IS NULL OR e.verdict = ANY(:verdicts))))
AND (CAST(:engine AS text) IS NULL OR EXISTS (
    SELECT FROM runs r JOIN jobs j ON j.id = r.job_id WHERE r.plan_id = p.plan_id
      AND split_part(j.engine, '@', 1) = :engine))
AND (NOT :stale_only OR EXISTS (
    SELECT FROM unnest(CAST(:stages AS text[]), CAST(:recipes AS text[])) AS s (stage, recipe)
    WHERE s.stage = ANY(:wanted) AND NOT EXISTS (
        SELECT FROM runs r JOIN jobs j ON j.id = r.job_id
        WHERE r.plan_id = p.plan_id AND r.stage = s.stage AND j.recipe = s.recipe AND j.state = 'done')))
"""
_CREATE = text("""
INSERT INTO replays (selection, stages, force, review, rate, "window")
VALUES (CAST(:selection AS jsonb), :wanted, :force, :review, :rate, :window) RETURNING id
""")
PLAN_ITEMS = f"INSERT INTO replay_items (replay_id, product_id) SELECT :replay, p.id FROM products p WHERE {_SELECTION}"
_COUNT = text(f"SELECT count(*) FROM products p WHERE {_SELECTION}")
# An upper bound: an input that comes out as before saves everything behind it.
_QUOTE = text(f"""
WITH selected AS (
    SELECT p.id, p.plan_id, p.facts, NOT :force AND p.signature = :signature AS unchanged
    FROM products p WHERE {_SELECTION}
), stages AS (
    SELECT * FROM unnest(CAST(:stages AS text[]), CAST(:recipes AS text[]), CAST(:image_scope AS boolean[]))
        AS s (stage, recipe, image_scope)
), lineage AS (
    SELECT * FROM unnest(CAST(:line_stage AS text[]), CAST(:line_ancestor AS text[])) AS l (stage, ancestor)
), known AS (
    SELECT s.id, r.stage, r.target, s.unchanged,
           (j.id IS NOT NULL AND (j.state <> 'done' OR j.recipe IS DISTINCT FROM st.recipe))
           OR (:force AND (cardinality(CAST(:wanted AS text[])) = 0 OR r.stage = ANY(:wanted))) AS stale
    FROM selected s JOIN runs r ON r.plan_id = s.plan_id JOIN stages st ON st.stage = r.stage
    LEFT JOIN jobs j ON j.id = r.job_id
), moved AS (
    SELECT DISTINCT k.id, l.stage FROM known k JOIN lineage l ON l.ancestor = k.stage
    WHERE k.stale AND NOT k.unchanged
), missing AS (
    SELECT st.stage, sum(CASE WHEN st.image_scope THEN jsonb_array_length(s.facts->'images') ELSE 1 END) AS runs
    FROM selected s CROSS JOIN stages st
    WHERE NOT s.unchanged AND NOT EXISTS (SELECT FROM runs r WHERE r.plan_id = s.plan_id AND r.stage = st.stage)
    GROUP BY 1
)
SELECT st.stage,
       COALESCE(c.compute, 0) + COALESCE(m.runs, 0) AS compute, COALESCE(c.reuse, 0) AS reuse,
       (SELECT avg(seconds) FROM (SELECT seconds FROM jobs j WHERE j.stage = st.stage AND j.state = 'done'
                                  ORDER BY j.finished_at DESC NULLS LAST LIMIT 1000) recent) AS seconds
FROM stages st
LEFT JOIN missing m ON m.stage = st.stage
LEFT JOIN (
    SELECT k.stage, count(*) FILTER (WHERE mv.id IS NOT NULL) AS compute,
           count(*) FILTER (WHERE mv.id IS NULL) AS reuse
    FROM known k LEFT JOIN moved mv ON mv.id = k.id AND mv.stage = k.stage GROUP BY 1
) c ON c.stage = st.stage
""")
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
_LOCKED = text("""
SELECT p.id, p.live, p.facts, p.revision, p.generation, pl.id AS open_plan FROM products p
LEFT JOIN plans pl ON pl.product_id = p.id AND pl.verdict IS NULL
WHERE p.id = ANY(:ids) ORDER BY p.id
""")
_ITEMS = text(
    "UPDATE replay_items SET verdict = :verdict WHERE replay_id = :replay AND product_id = ANY(:products)"
)
_FINISH = text("""
UPDATE replays r SET state = 'done', finished_at = now() WHERE id = :replay
  AND NOT EXISTS (SELECT FROM replay_items i WHERE i.replay_id = r.id AND i.verdict = 'pending')
  AND NOT EXISTS (SELECT FROM plans pl WHERE pl.replay_id = r.id AND pl.verdict IS NULL)
""")
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


@dataclass(frozen=True, slots=True)
class Selection:
    """Which live products a replay is about; what is left out does not narrow."""

    products: tuple[str, ...] = ()
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    types: tuple[str, ...] = ()
    category: str | None = None
    engine: str | None = None
    verdicts: tuple[str, ...] = ()

    def values(self) -> dict[str, Any]:
        return {
            "products": list(self.products) or None,
            "source": self.source,
            "since": self.since,
            "until": self.until,
            "types": list(self.types) or None,
            "category": self.category,
            "engine": self.engine,
            "verdicts": list(self.verdicts) or None,
            "by_event": bool(self.since or self.until or self.types or self.verdicts),
        }


@dataclass(frozen=True, slots=True)
class StageQuote:
    """What a replay would do in one stage; ``compute`` is an upper bound, ``seconds`` its estimate."""

    stage: str
    queue: str
    compute: int
    reuse: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Quote:
    """What a replay would cost."""

    products: int
    stages: tuple[StageQuote, ...]

    def seconds_by_queue(self) -> dict[str, float]:
        """Estimated seconds of computing by queue, from measured history; without history a stage counts 0."""
        totals: dict[str, float] = {}
        for stage in self.stages:
            totals[stage.queue] = totals.get(stage.queue, 0.0) + (stage.seconds or 0.0)
        return totals


@dataclass(frozen=True, slots=True)
class Request:
    """A replay to be made. With ``stages`` and without ``force``: only products where one is missing or stale."""

    selection: Selection = field(default_factory=Selection)
    stages: tuple[str, ...] = ()
    force: bool = False
    review: bool = False
    rate: float | None = None
    window: int = 100


class Replays:
    """Replays in Postgres; the relay lets them advance."""

    def __init__(self, engine: Engine, graph: StageGraph) -> None:
        self._engine = engine
        self._graph = graph

    def quote(self, request: Request) -> Quote:
        """What ``request`` would compute and reuse. Changes nothing."""
        stages = self._graph.stages
        lineage = [(s, a) for a in stages for s in (a, *self._graph.descendants(a))]
        values = self._values(request) | {
            "force": request.force,
            "signature": self._graph.signature,
            "image_scope": [spec.scope is Scope.IMAGE for spec in stages.values()],
            "line_stage": [stage for stage, _ in lineage],
            "line_ancestor": [ancestor for _, ancestor in lineage],
        }
        with self._engine.connect() as connection:
            products = connection.execute(_COUNT, self._values(request)).scalar_one()
            rows = {row.stage: row for row in connection.execute(_QUOTE, values)}
        return Quote(
            products,
            tuple(
                StageQuote(
                    name,
                    spec.queue,
                    int(rows[name].compute),
                    int(rows[name].reuse),
                    None if rows[name].seconds is None else rows[name].seconds * int(rows[name].compute),
                )
                for name, spec in stages.items()
            ),
        )

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
            connection.execute(text(PLAN_ITEMS), self._values(request) | {"replay": replay})
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

    def _values(self, request: Request) -> dict[str, Any]:
        unknown = sorted(set(request.stages) - set(self._graph.stages))
        if unknown:
            known = ", ".join(self._graph.stages)
            raise RejectedInput("unknown-stage", f"there is no stage {unknown[0]!r}; known stages: {known}")
        return request.selection.values() | {
            "stages": list(self._graph.stages),
            "recipes": [self._graph.recipe_key(name) for name in self._graph.stages],
            "wanted": list(request.stages),
            "stale_only": bool(request.stages) and not request.force,
        }


def lock_products(connection: Connection, ids: Sequence[int]) -> Sequence[Any]:
    """Lock products by row id; returns how they, and their open plans, stand now that nobody else changes them.

    Two statements, since one that waits for a lock reads the rows beside it as they were before the wait.
    """
    connection.exec_driver_sql(LOCK_PRODUCTS, {"ids": ids})
    return connection.execute(_LOCKED, {"ids": ids}).all()


def again(row: Any) -> NewPlan:
    """The plan of another pass over a locked, live product's facts, one generation on."""
    product = Product.model_validate(row.facts)
    return NewPlan(row.id, row.revision, row.generation + 1, product)
