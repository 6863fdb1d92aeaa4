"""Reading the ledger: what happened to one product, and how everything stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Engine, text

from pipeline.errors import RejectedInput
from pipeline.graph import StageGraph
from pipeline.outcomes import Lane
from storage.database import transact
from storage.ledger.advance import advance
from storage.ledger.passes import Purpose, again, lock_products, make_plans

_FIND = text("""
SELECT id, source, product_id, live, revision, generation, plan_id, facts, withdrawn_at FROM products
WHERE product_id = :product AND (CAST(:source AS text) IS NULL OR source = :source)
""")
_EVENTS = text("""
SELECT event_id, type, revision, time, received_at, verdict, verdict_at FROM events
WHERE source = :source AND product_id = :product ORDER BY seq DESC LIMIT 20
""")
_PLAN = text("""
SELECT id, cause, revision, generation, created_at, closed_at, verdict, traceparent, replay_id
FROM plans WHERE product_id = :row ORDER BY id DESC LIMIT 20
""")
_RUNS = text("""
SELECT r.stage, r.target, CASE WHEN r.state = 'ready' THEN j.state ELSE r.state END AS state, r.reason,
    r.settled_at, j.engine, j.attempts, j.seconds, j.started_at, j.finished_at, j.error, j.worker,
    encode(j.fingerprint, 'hex') AS fingerprint, j.id AS job, j.outcome
FROM runs r LEFT JOIN jobs j ON j.id = r.job_id WHERE r.plan_id = :plan ORDER BY r.id
""")
_STAGES = text("""
SELECT r.stage, CASE WHEN r.state = 'ready' THEN j.state ELSE r.state END AS state, count(*) AS runs
FROM products p JOIN runs r ON r.plan_id = p.plan_id LEFT JOIN jobs j ON j.id = r.job_id
GROUP BY 1, 2
""")
_VERDICTS = text("SELECT COALESCE(verdict, 'open') AS verdict, count(*) AS events FROM events GROUP BY 1")
_QUEUES = text("""
SELECT queue, lane, count(*) FILTER (WHERE state = 'ready') AS ready,
       count(*) FILTER (WHERE state = 'running') AS running,
       EXTRACT(epoch FROM now() - min(not_before) FILTER (WHERE state = 'ready')) AS oldest_s
FROM jobs WHERE state IN ('ready', 'running') GROUP BY 1, 2 ORDER BY 1, 2
""")
_TOTALS = text("""
SELECT (SELECT count(*) FROM products WHERE live) AS live, (SELECT count(*) FROM products) AS products,
       (SELECT count(*) FROM jobs WHERE state = 'parked') AS parked,
       (SELECT count(*) FROM quarantine) AS quarantined,
       (SELECT count(*) FROM plans WHERE verdict IS NULL) AS open_plans,
       (SELECT count(*) FROM events WHERE planned_at IS NULL) AS unplanned
""")
_HASTEN = text("""
WITH plan AS (UPDATE plans SET lane = 0 WHERE id = :plan)
UPDATE jobs SET lane = 0, dispatched_at = NULL FROM runs r
WHERE r.job_id = jobs.id AND r.plan_id = :plan AND jobs.state = 'ready' AND jobs.lane > 0
""")


class Timeline:
    """Read access for operators, and the one thing they ask of a single product: now."""

    def __init__(self, engine: Engine, graph: StageGraph) -> None:
        self._engine = engine
        self._graph = graph

    def show(self, product: str, source: str | None = None) -> Mapping[str, Any]:
        """Everything known of one product: its events, plans and the runs of the current plan."""
        with self._engine.connect() as connection:
            row = _find(connection, product, source)
            events = connection.execute(_EVENTS, {"source": row.source, "product": row.product_id})
            plans = connection.execute(_PLAN, {"row": row.id})
            runs = connection.execute(_RUNS, {"plan": row.plan_id})
            return {
                **{k: v for k, v in row._mapping.items() if k not in ("id", "plan_id")},
                "events": [dict(e._mapping) for e in events],
                "plans": [dict(p._mapping) for p in plans],
                "runs": [dict(r._mapping) for r in runs],
            }

    def status(self) -> Mapping[str, Any]:
        """How everything stands: verdicts, stages, queues."""
        with self._engine.connect() as connection:
            stages: dict[str, dict[str, int]] = {name: {} for name in self._graph.stages}
            for row in connection.execute(_STAGES):
                stages.setdefault(row.stage, {})[row.state] = row.runs
            queues = [
                {**row._mapping, "lane": Lane(row.lane).name.lower(), "oldest_s": float(row.oldest_s or 0)}
                for row in connection.execute(_QUEUES)
            ]
            return {
                **connection.execute(_TOTALS).one()._mapping,
                "events": {row.verdict: row.events for row in connection.execute(_VERDICTS)},
                "stages": stages,
                "queues": queues,
            }

    def process(self, product: str, source: str | None = None) -> set[str]:
        """Pass a product through the graph now, ahead of any backfill; returns the queues that got work."""
        return transact(self._engine, lambda connection: self._process(connection, product, source))

    def _process(self, connection: Connection, product: str, source: str | None) -> set[str]:
        found = _find(connection, product, source)
        [row] = lock_products(connection, [found.id])
        if not row.live:
            raise RejectedInput(
                "withdrawn", f"product {product!r} is withdrawn: only a new event brings it back"
            )
        if row.open_plan is not None:
            connection.execute(_HASTEN, {"plan": row.open_plan})
            return {spec.queue for spec in self._graph.stages.values()}
        make_plans(connection, self._graph, [again(row)], Purpose("process", Lane.LIVE))
        return advance(connection, self._graph, [row.id]).queues


def _find(connection: Connection, product: str, source: str | None) -> Any:
    rows = connection.execute(_FIND, {"product": product, "source": source}).all()
    if not rows:
        raise RejectedInput("unknown-product", f"no event of product {product!r} was ever accepted")
    if len(rows) > 1:
        sources = ", ".join(sorted(row.source for row in rows))
        raise RejectedInput("ambiguous-product", f"{product!r} exists in {sources}: name one with --source")
    return rows[0]
