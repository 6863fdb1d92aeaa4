"""Making plans: a product's next pass through the graph, with its runs, and what it is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from pipeline.events import Product
from pipeline.graph import Scope, StageGraph
from pipeline.outcomes import Lane
from storage.ledger.claim import LOCK_PRODUCTS

_LOCKED = text("""
SELECT p.id, p.live, p.facts, p.revision, p.generation, pl.id AS open_plan FROM products p
LEFT JOIN plans pl ON pl.product_id = p.id AND pl.verdict IS NULL
WHERE p.id = ANY(:ids) ORDER BY p.id
""")
_INSERT_PLANS = text("""
INSERT INTO plans (product_id, cause, event_seq, replay_id, revision, generation, lane, review,
                   force_before, force_stages, traceparent)
SELECT u.product_id, :cause, u.event_seq, :replay_id, u.revision, u.generation, :lane, :review,
       :force_before, :force_stages, u.traceparent
FROM unnest(CAST(:products AS bigint[]), CAST(:seqs AS bigint[]), CAST(:revisions AS bigint[]),
            CAST(:generations AS bigint[]), CAST(:traceparents AS text[]))
    AS u (product_id, event_seq, revision, generation, traceparent)
ORDER BY u.product_id
RETURNING id, product_id
""")
_INSERT_RUNS = text("""
INSERT INTO runs (plan_id, product_id, stage, target)
SELECT * FROM unnest(CAST(:plans AS bigint[]), CAST(:products AS bigint[]), CAST(:stages AS text[]),
                     CAST(:targets AS text[])) AS u (plan_id, product_id, stage, target)
""")
_CURRENT = text("""
UPDATE products SET live = :live, plan_id = u.plan_id, generation = u.generation, signature = '',
    facts = CASE WHEN :live THEN COALESCE(u.facts, products.facts) END
FROM unnest(CAST(:products AS bigint[]), CAST(:plans AS bigint[]), CAST(:generations AS bigint[]),
            CAST(:facts AS jsonb[])) AS u (id, plan_id, generation, facts)
WHERE products.id = u.id
""")
_PRESENT = text("""
INSERT INTO presentations AS p (product_id, revision, generation)
SELECT u.product_id, u.revision, u.generation
FROM unnest(CAST(:products AS bigint[]), CAST(:revisions AS bigint[]), CAST(:generations AS bigint[]))
    AS u (product_id, revision, generation)
ON CONFLICT (product_id) DO UPDATE
SET revision = EXCLUDED.revision, generation = EXCLUDED.generation, candidate = '{}', updated_at = now()
WHERE (EXCLUDED.revision, EXCLUDED.generation) >= (p.revision, p.generation)
""")


@dataclass(frozen=True, slots=True)
class NewPlan:
    """A plan to be made: of the product's current facts, or of new ones."""

    product_row: int
    revision: int
    generation: int
    product: Product | None
    event_seq: int | None = None
    traceparent: str | None = None
    new_facts: bool = False


@dataclass(frozen=True, slots=True)
class Purpose:
    """Why plans are made, and how their work is to be treated."""

    cause: str
    lane: Lane
    replay_id: int | None = None
    review: bool = False
    force_before: Any = None
    force_stages: tuple[str, ...] = ()


def make_plans(
    connection: Connection, graph: StageGraph, plans: Sequence[NewPlan], purpose: Purpose
) -> Mapping[int, int]:
    """Insert plans with their waiting runs and make them current; returns plan ids by product row.

    The products are locked and have no open plan. Call ``advance`` afterwards.
    """
    if not plans:
        return {}
    common = {"products": [p.product_row for p in plans], "generations": [p.generation for p in plans]}
    revisions = [p.revision for p in plans]
    made = {
        row.product_id: row.id
        for row in connection.execute(
            _INSERT_PLANS,
            {
                **common,
                "revisions": revisions,
                "seqs": [p.event_seq for p in plans],
                "traceparents": [p.traceparent for p in plans],
                "cause": purpose.cause,
                "replay_id": purpose.replay_id,
                "lane": int(purpose.lane),
                "review": purpose.review,
                "force_before": purpose.force_before,
                "force_stages": list(purpose.force_stages),
            },
        )
    }
    runs = [(plan, stage, target) for plan in plans for stage, target in _runs(graph, plan)]
    connection.execute(
        _INSERT_RUNS,
        {
            "plans": [made[plan.product_row] for plan, _, _ in runs],
            "products": [plan.product_row for plan, _, _ in runs],
            "stages": [stage for _, stage, _ in runs],
            "targets": [target for _, _, target in runs],
        },
    )
    live = purpose.cause != "withdrawal"
    facts = [p.product.model_dump_json() if p.product and p.new_facts else None for p in plans]
    connection.execute(
        _CURRENT,
        {**common, "plans": [made[p.product_row] for p in plans], "facts": facts, "live": live},
    )
    if live and not purpose.review:
        connection.execute(_PRESENT, {**common, "revisions": revisions})
    return made


def _runs(graph: StageGraph, plan: NewPlan) -> list[tuple[str, str]]:
    if plan.product is not None:
        return graph.runs_of(plan.product)
    effects = [s for s in graph.stages.values() if s.effect and s.scope is Scope.PRODUCT]
    return [(spec.name, "") for spec in effects]


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
