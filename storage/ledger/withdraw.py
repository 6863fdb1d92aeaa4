"""Letting go: superseded work is not started, and of a withdrawn product nothing stays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, text

from pipeline.graph import StageGraph
from pipeline.outcomes import Verdict

_CLOSE_OPEN = text("""
WITH closed AS (
    UPDATE plans SET verdict = :verdict, closed_at = now()
    WHERE product_id = ANY(:products) AND verdict IS NULL
    RETURNING id, event_seq, replay_id, product_id
), events AS (
    UPDATE events SET verdict = :verdict, verdict_at = now() FROM closed c
    WHERE events.seq = c.event_seq AND events.verdict IS NULL
), items AS (
    UPDATE replay_items i SET verdict = :verdict FROM closed c
    WHERE i.replay_id = c.replay_id AND i.product_id = c.product_id
)
SELECT id FROM closed
""")
# Work that has begun keeps its link: its result may serve a later revision that returns to this photo.
_UNSUBSCRIBE = text("""
WITH open AS (
    SELECT r.id, r.job_id, j.state AS job_state FROM runs r LEFT JOIN jobs j ON j.id = r.job_id
    WHERE r.plan_id = ANY(:plans) AND r.state IN ('waiting', 'ready')
), gone AS (
    UPDATE runs SET state = 'superseded', settled_at = now(),
        job_id = CASE WHEN open.job_state = 'ready' THEN NULL ELSE runs.job_id END
    FROM open WHERE runs.id = open.id
)
SELECT DISTINCT job_id FROM open WHERE job_state = 'ready'
""")
_DELETE_RUNS = text(
    "DELETE FROM runs WHERE plan_id IN (SELECT id FROM plans WHERE product_id = ANY(:products)) RETURNING job_id"
)
_LOCK_JOBS = text("SELECT id FROM jobs WHERE id = ANY(:jobs) ORDER BY id FOR UPDATE")
# Ready, but nobody waits for it: what was known before is known again, the rest is not started.
_REST = text("""
WITH idle AS (
    SELECT j.id, j.outcome IS NOT NULL AS known,
        (SELECT r.reason FROM runs r JOIN products p ON p.plan_id = r.plan_id
         WHERE r.job_id = j.id AND r.state = 'parked' LIMIT 1) AS reason
    FROM jobs j WHERE j.id = ANY(:jobs) AND j.state = 'ready'
      AND NOT EXISTS (SELECT FROM runs r WHERE r.job_id = j.id AND r.state = 'ready')
), back AS (
    UPDATE jobs SET state = CASE WHEN idle.known THEN 'done' ELSE 'parked' END, reason = idle.reason,
        dispatched_at = NULL
    FROM idle WHERE jobs.id = idle.id AND (idle.known OR idle.reason IS NOT NULL)
)
UPDATE runs SET job_id = NULL FROM idle WHERE runs.job_id = idle.id AND NOT idle.known AND idle.reason IS NULL
""")
# A running one is deleted by its own completion, which then finds no subscriber.
_DELETE_ORPHANS = text("""
DELETE FROM jobs j WHERE j.id = ANY(:jobs) AND j.state <> 'running'
  AND NOT EXISTS (SELECT FROM runs r WHERE r.job_id = j.id)
""")
_FORGET = text("""
UPDATE products SET live = false, facts = NULL, signature = '', withdrawn_at = now()
WHERE id = ANY(:products)
""")
# What is not planned yet may be the product's return; planning it decides.
_REDACT = text("""
UPDATE events SET body = NULL
FROM unnest(CAST(:sources AS text[]), CAST(:names AS text[])) AS u (source, product_id)
WHERE events.source = u.source AND events.product_id = u.product_id AND events.body IS NOT NULL
  AND events.planned_at IS NOT NULL
""")
_REDACT_QUARANTINE = text("""
DELETE FROM quarantine q USING unnest(CAST(:sources AS text[]), CAST(:names AS text[])) AS u (source, name)
WHERE q.source = u.source AND q.product_id = u.name
""")
_UNPRESENT = text("DELETE FROM presentations WHERE product_id = ANY(:products)")
_DROP_ITEMS = text("""
UPDATE replay_items SET verdict = 'withdrawn' WHERE product_id = ANY(:products) AND verdict = 'pending'
""")


def supersede(connection: Connection, products: Sequence[int], verdict: Verdict) -> None:
    """Close the open plans of these locked products; what nobody else waits for is not started."""
    if not products:
        return
    rows = connection.execute(_CLOSE_OPEN, {"products": list(products), "verdict": verdict})
    plans = [row.id for row in rows]
    if plans:
        jobs = connection.execute(_UNSUBSCRIBE, {"plans": plans}).scalars().all()
        drop_orphans(connection, jobs)


def retract(connection: Connection, graph: StageGraph, products: Sequence[tuple[int, str, str]]) -> set[str]:
    """Remove everything of these locked products (row id, source, product id) but the fact that they were.

    Their blobs lose their last references with the jobs; the sweep deletes them after its grace period.
    Returns the queues of the effects that have to follow.
    """
    rows = [row_id for row_id, _, _ in products]
    named = {"sources": [s for _, s, _ in products], "names": [n for _, _, n in products]}
    supersede(connection, rows, Verdict.WITHDRAWN)
    jobs = connection.execute(_DELETE_RUNS, {"products": rows}).scalars().all()
    drop_orphans(connection, jobs)
    for statement in (_FORGET, _UNPRESENT, _DROP_ITEMS):
        connection.execute(statement, {"products": rows})
    for statement in (_REDACT, _REDACT_QUARANTINE):
        connection.execute(statement, named)
    return {spec.queue for spec in graph.stages.values() if spec.effect}


def drop_orphans(connection: Connection, jobs: Iterable[int | None]) -> None:
    """Let go of those of ``jobs`` that no run waits for: not started, and deleted when no run names them.

    Locked in a statement of its own first: the others then see subscriptions made until that moment.
    """
    ids = sorted({job for job in jobs if job is not None})
    if ids:
        connection.execute(_LOCK_JOBS, {"jobs": ids})
        connection.execute(_REST, {"jobs": ids})
        connection.execute(_DELETE_ORPHANS, {"jobs": ids})
