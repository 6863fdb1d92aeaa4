"""An open plan in memory: what a pass through the graph wants, and how each of its runs stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from pipeline.events import Product
from pipeline.graph import RunKey, RunView
from pipeline.outcomes import RunState
from storage.ledger.facts import plan_facts
from storage.ledger.statements import sql

_PLANS = sql("""
SELECT p.id AS product_id, p.source, pl.id AS plan_id, pl.revision, pl.generation, pl.lane,
       pl.review, pl.cause, pl.event_seq, pl.replay_id, pl.force_before, pl.force_stages
FROM products p JOIN plans pl ON pl.id = p.plan_id
WHERE p.id = ANY(:products) AND pl.verdict IS NULL
""")
_RUNS = sql("""
SELECT r.id, r.plan_id, r.stage, r.target, r.state, r.reason, j.outcome_digest, j.blocks, j.outcome_bytes,
       j.recipe
FROM runs r LEFT JOIN jobs j ON j.id = r.job_id
WHERE r.plan_id = ANY(:plans)
""")


@dataclass(slots=True)
class Plan:
    """An open plan in memory, with its runs."""

    id: int
    product_row: int
    source: str
    product: Product
    revision: int
    generation: int
    lane: int
    review: bool
    cause: str
    event_seq: int | None
    replay_id: int | None
    force_before: datetime | None
    force_stages: tuple[str, ...]
    runs: dict[RunKey, RunView] = field(default_factory=dict)
    run_ids: dict[RunKey, int] = field(default_factory=dict)
    recipes: dict[RunKey, str] = field(default_factory=dict)

    def forces(self, stage: str, finished_at: datetime | None) -> bool:
        if self.force_before is None or (self.force_stages and stage not in self.force_stages):
            return False
        return finished_at is None or finished_at < self.force_before

    def retries(self, reason: str | None, *, root: bool) -> bool:
        """Whether a job that was set aside gets another chance in this pass.

        It does when a person or a backfill asked for the pass. An event is no such word, but what reads the
        outside may find another URL in it; a job that ended its process waits for a person all the same.
        """
        return self.cause != "event" or (root and reason != "poison")


def load_plans(connection: Connection, products: Sequence[int]) -> dict[int, Plan]:
    """The open plans of these products by plan id, with their runs."""
    if not products:
        return {}
    plans: dict[int, Plan] = {}
    rows = connection.exec_driver_sql(_PLANS, {"products": list(products)}).all()
    facts = plan_facts(connection, [row.plan_id for row in rows])
    for row in rows:
        plans[row.plan_id] = Plan(
            id=row.plan_id,
            product_row=row.product_id,
            source=row.source,
            product=facts[row.plan_id],
            revision=row.revision,
            generation=row.generation,
            lane=row.lane,
            review=row.review,
            cause=row.cause,
            event_seq=row.event_seq,
            replay_id=row.replay_id,
            force_before=row.force_before,
            force_stages=tuple(row.force_stages),
        )
    for row in connection.exec_driver_sql(_RUNS, {"plans": list(plans)}).all():
        plan = plans[row.plan_id]
        plan.run_ids[row.stage, row.target] = row.id
        if row.recipe is not None:
            plan.recipes[row.stage, row.target] = row.recipe
        settled = row.state in (RunState.DONE, RunState.REUSED)
        plan.runs[row.stage, row.target] = RunView(
            state=RunState(row.state),
            digest=row.outcome_digest if settled else None,
            blocks=row.blocks if settled else None,
            reason=row.reason or "",
            load_bytes=row.outcome_bytes or 0,
        )
    return plans
