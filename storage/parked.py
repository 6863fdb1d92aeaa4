"""What was set aside for a person: list it, explain it, release it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, text

from pipeline.graph import StageGraph
from pipeline.outcomes import Lane
from storage.database import transact
from storage.ledger.advance import advance
from storage.ledger.passes import Purpose, again, lock_products, make_plans
from storage.ledger.withdraw import drop_orphans

_WHERE = """
j.state = 'parked' AND (CAST(:jobs AS bigint[]) IS NULL OR j.id = ANY(:jobs))
AND (CAST(:stage AS text) IS NULL OR j.stage = :stage) AND (CAST(:reason AS text) IS NULL OR j.reason = :reason)
"""
_LIST = text(f"""
SELECT j.id, j.stage, j.engine, j.reason, j.error, j.attempts, j.deaths, j.finished_at, j.worker,
    (SELECT array_agg(DISTINCT p.product_id) FROM runs r JOIN products p ON p.id = r.product_id
     WHERE r.job_id = j.id) AS products,
    (SELECT min(r.target) FROM runs r WHERE r.job_id = j.id) AS target
FROM jobs j WHERE {_WHERE} ORDER BY j.finished_at DESC NULLS LAST LIMIT :limit
""")
_SUMMARY = text("""
SELECT stage, COALESCE(reason, 'parked') AS reason, count(*) AS jobs, max(finished_at) AS latest
FROM jobs WHERE state = 'parked' GROUP BY 1, 2 ORDER BY jobs DESC, stage
""")
_TRACE = text("SELECT trace FROM jobs WHERE id = :job AND state = 'parked'")
_QUARANTINED = text("""
SELECT encode(digest, 'hex') AS digest, reason, field, message, source, event_id, product_id, size, times, last_at
FROM quarantine ORDER BY last_at DESC LIMIT :limit
""")
_PRODUCTS = text(f"""
SELECT DISTINCT r.product_id FROM jobs j JOIN runs r ON r.job_id = j.id JOIN products p ON p.id = r.product_id
WHERE {_WHERE} AND r.plan_id = p.plan_id AND r.state = 'parked' ORDER BY 1
""")
_REOPEN_RUNS = text("""
UPDATE runs SET state = 'waiting', job_id = NULL, reason = NULL, settled_at = NULL
WHERE plan_id = ANY(:plans) AND (state = 'skipped' OR (state = 'parked' AND job_id = ANY(:jobs)))
""")
_READY = text(f"""
UPDATE jobs j SET state = 'ready', attempts = 0, deaths = 0, suspect = false, not_before = now(),
    dispatched_at = NULL, reason = NULL, error = NULL, trace = NULL, lease_token = NULL
WHERE {_WHERE} RETURNING j.id
""")


class Parked:
    """Parked jobs and quarantined messages."""

    def __init__(self, engine: Engine, graph: StageGraph) -> None:
        self._engine = engine
        self._graph = graph

    def summary(self) -> list[Mapping[str, Any]]:
        """How many jobs are parked in which stage for which reason."""
        return self._rows(_SUMMARY, {})

    def jobs(
        self,
        jobs: Sequence[int] | None = None,
        stage: str | None = None,
        reason: str | None = None,
        limit: int = 50,
    ) -> list[Mapping[str, Any]]:
        """Parked jobs with their products and errors, newest first."""
        return self._rows(_LIST, _values(jobs, stage, reason) | {"limit": limit})

    def trace(self, job: int) -> str | None:
        """The traceback of a parked defect."""
        with self._engine.connect() as connection:
            return connection.execute(_TRACE, {"job": job}).scalar_one_or_none()

    def quarantined(self, limit: int = 50) -> list[Mapping[str, Any]]:
        """Messages that broke the contract, newest first."""
        return self._rows(_QUARANTINED, {"limit": limit})

    def release(
        self, jobs: Sequence[int] | None = None, stage: str | None = None, reason: str | None = None
    ) -> int:
        """Give parked jobs another chance, and replan what was skipped because of them; returns products."""
        values = _values(jobs, stage, reason)
        return transact(self._engine, lambda connection: self._release(connection, values))

    def _release(self, connection: Connection, values: Mapping[str, Any]) -> int:
        ids = list(connection.execute(_PRODUCTS, values).scalars())
        rows = lock_products(connection, ids) if ids else []
        released = connection.execute(_READY, values).scalars().all()
        replan(connection, self._graph, [row for row in rows if row.live], released)
        drop_orphans(connection, released)
        return len(rows)

    def _rows(self, statement: Any, values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(statement, values)]


def replan(connection: Connection, graph: StageGraph, rows: Sequence[Any], released: Sequence[int]) -> None:
    """Go on with locked, live products whose parked jobs are ``released``.

    An open plan takes the runs back; a closed one keeps its verdict, and another pass is made.
    """
    still_open = [row for row in rows if row.open_plan is not None]
    if still_open:
        plans_open = [row.open_plan for row in still_open]
        connection.execute(_REOPEN_RUNS, {"plans": plans_open, "jobs": list(released)})
    plans = [again(row) for row in rows if row.open_plan is None]
    make_plans(connection, graph, plans, Purpose("release", Lane.LIVE))
    advance(connection, graph, [row.id for row in rows])


def _values(jobs: Sequence[int] | None, stage: str | None, reason: str | None) -> dict[str, Any]:
    return {"jobs": None if jobs is None else [*jobs], "stage": stage, "reason": reason}
