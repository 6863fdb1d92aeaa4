"""What was made and is not proven: shown to a person, accepted or rejected, with who decided and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, text

from pipeline.errors import RejectedInput
from pipeline.graph import StageGraph
from storage.database import transact
from storage.ledger.passes import lock_products
from storage.parked import replan

REJECTED = "rejected"

_LIST = text("""
SELECT j.id, j.stage, j.engine, j.reason, j.error, v.outcome, v.asked_at, v.accepted, v.decided_by, v.why,
    v.decided_at,
    (SELECT array_agg(DISTINCT p.product_id ORDER BY p.product_id) FROM runs r JOIN products p ON p.id = r.product_id
     WHERE r.job_id = j.id) AS products,
    (SELECT min(r.target) FROM runs r WHERE r.job_id = j.id) AS target
FROM reviews v JOIN jobs j ON j.id = v.job_id
WHERE (:decided OR (v.accepted IS NULL AND j.state = 'parked'))
  AND (CAST(:jobs AS bigint[]) IS NULL OR j.id = ANY(:jobs))
ORDER BY v.asked_at, j.id LIMIT :limit
""")
_PRODUCTS = text("""
SELECT DISTINCT r.product_id FROM runs r JOIN products p ON p.id = r.product_id
WHERE r.job_id = :job AND r.plan_id = p.plan_id ORDER BY 1
""")
_DECIDE = text("""
UPDATE reviews SET accepted = :accepted, decided_by = :by, why = :why, decided_at = now()
FROM jobs j WHERE reviews.job_id = :job AND j.id = reviews.job_id AND j.state = 'parked'
RETURNING j.id
""")
_SERVE = text("""
UPDATE jobs j SET state = 'done', reason = NULL, error = NULL, outcome = v.outcome, outcome_digest = v.digest,
    outcome_bytes = v.load_bytes, seconds = v.seconds
FROM reviews v WHERE v.job_id = j.id AND j.id = :job
""")
_REFUSE = text("UPDATE jobs SET reason = :reason, error = :why WHERE id = :job")


class Reviews:
    """Outcomes that wait for a person, and what was decided of them."""

    def __init__(self, engine: Engine, graph: StageGraph) -> None:
        self._engine = engine
        self._graph = graph

    def pending(
        self, jobs: Sequence[int] | None = None, *, decided: bool = False, limit: int = 100
    ) -> list[Mapping[str, Any]]:
        """What waits, the oldest first, each with its outcome; with ``decided`` also what was decided."""
        values = {"jobs": None if jobs is None else list(jobs), "decided": decided, "limit": limit}
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(_LIST, values)]

    def accept(self, job: int, *, by: str, why: str) -> int:
        """Serve what the job made, for every product that has it; returns how many."""
        return transact(self._engine, lambda connection: self._accept(connection, job, by, why))

    def reject(self, job: int, *, by: str, why: str) -> None:
        """Never serve it: the job stays parked until its stage computes otherwise, or somebody forces it."""
        with self._engine.begin() as connection:
            self._decide(connection, job, accepted=False, by=by, why=why)
            told = f"{by} rejected it: {why}"
            connection.execute(_REFUSE, {"job": job, "reason": REJECTED, "why": told})

    def _accept(self, connection: Connection, job: int, by: str, why: str) -> int:
        ids = list(connection.execute(_PRODUCTS, {"job": job}).scalars())
        rows = lock_products(connection, ids) if ids else []
        self._decide(connection, job, accepted=True, by=by, why=why)
        connection.execute(_SERVE, {"job": job})
        replan(connection, self._graph, [row for row in rows if row.live], [job])
        return len(rows)

    def _decide(self, connection: Connection, job: int, *, accepted: bool, by: str, why: str) -> None:
        values = {"job": job, "accepted": accepted, "by": by, "why": why}
        if connection.execute(_DECIDE, values).first() is None:
            raise RejectedInput(
                "nothing-to-review", f"job {job} does not wait for review: see `vitrine review`"
            )
