"""Give up stages that are in the graph no more: what waited for them is let go, and their products go on."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from pipeline.graph import StageGraph
from storage.ledger.advance import advance
from storage.ledger.claim import LOCK_PRODUCTS
from storage.ledger.statements import sql
from storage.ledger.withdraw import drop_orphans

_WAITING = sql("""
SELECT DISTINCT r.product_id FROM runs r JOIN plans pl ON pl.id = r.plan_id
WHERE r.stage = ANY(:stages) AND r.state IN ('waiting', 'ready') AND pl.verdict IS NULL
ORDER BY 1 LIMIT :limit
""")
_SKIP = sql("""
WITH given_up AS (
    SELECT r.id, r.job_id FROM runs r JOIN plans pl ON pl.id = r.plan_id
    WHERE r.product_id = ANY(:products) AND r.stage = ANY(:stages) AND r.state IN ('waiting', 'ready')
      AND pl.verdict IS NULL
)
UPDATE runs SET state = 'superseded', reason = 'given up', settled_at = now(), job_id = NULL
FROM given_up WHERE runs.id = given_up.id
RETURNING given_up.job_id
""")


def abandon(
    connection: Connection, graph: StageGraph, stages: Sequence[str], limit: int
) -> tuple[int, set[str]]:
    """Let go of the open runs of ``stages`` of up to ``limit`` products; returns how many, and queues with work."""
    values = {"stages": list(stages), "limit": limit}
    products = list(connection.exec_driver_sql(_WAITING, values).scalars())
    if not products:
        return 0, set()
    connection.exec_driver_sql(LOCK_PRODUCTS, {"ids": products})
    jobs = connection.exec_driver_sql(_SKIP, {"stages": list(stages), "products": products}).scalars().all()
    drop_orphans(connection, jobs)
    return len(products), advance(connection, graph, products).queues
