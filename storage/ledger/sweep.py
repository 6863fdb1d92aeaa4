"""What the relay does at every tick: expired leases, lost announcements, old plans, unreferenced blobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, text

from pipeline.graph import StageGraph
from pipeline.retry import Park
from storage.ledger.settle import Result, settle
from storage.ledger.withdraw import drop_orphans

# The batch it died in says nothing about one job; alone twice in a row does.
_DEATHS_ALONE = 2

_EXPIRED = text("""
SELECT id, lease_token, lease_size, deaths, queue, worker FROM jobs
WHERE state = 'running' AND lease_until < now() ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
""")
_RECLAIM = text("""
UPDATE jobs SET state = 'ready', suspect = true, deaths = deaths + CAST(lease_size = 1 AS int),
    lease_token = NULL, lease_until = NULL, dispatched_at = NULL, not_before = now(),
    error = 'its lease expired: the process that held it died or hung'
WHERE id = ANY(:ids)
""")
_POISON = text("""
SELECT id, lease_token, queue, worker FROM jobs
WHERE state = 'running' AND lease_until < now() AND lease_size = 1 AND deaths >= :deaths
ORDER BY id LIMIT :limit
""")
_UNHEARD = text("""
UPDATE jobs SET dispatched_at = NULL
WHERE queue = :queue AND state = 'ready' AND dispatched_at < now() - make_interval(secs => :patience_s)
""")
_OLD_PLANS = text("""
SELECT pl.id FROM plans pl JOIN products p ON p.id = pl.product_id
WHERE pl.closed_at < now() - make_interval(days => :days) AND pl.id IS DISTINCT FROM p.plan_id
ORDER BY pl.closed_at LIMIT :limit
""")
_DROP_RUNS = text("DELETE FROM runs WHERE plan_id = ANY(:plans) RETURNING job_id")
_DROP_PLANS = text("DELETE FROM plans WHERE id = ANY(:plans)")
_IDLE_ASSETS = text("""
SELECT digest, media_type FROM assets a
WHERE touched_at < now() - make_interval(secs => :grace_s)
  AND NOT EXISTS (SELECT FROM asset_uses u WHERE u.digest = a.digest)
ORDER BY touched_at LIMIT :limit FOR UPDATE SKIP LOCKED
""")
# Asked again under the lock: a completion may have begun to use it meanwhile.
_DROP_ASSETS = text("""
DELETE FROM assets a WHERE digest = ANY(:digests)
  AND NOT EXISTS (SELECT FROM asset_uses u WHERE u.digest = a.digest)
RETURNING digest, media_type
""")


def poisoned(connection: Connection, graph: StageGraph, limit: int) -> tuple[list[int], set[str]]:
    """Park jobs that ended their process alone once too often."""
    rows = connection.execute(_POISON, {"deaths": _DEATHS_ALONE - 1, "limit": limit}).all()
    if not rows:
        return [], set()
    results = [
        Result(
            row.id,
            row.lease_token,
            decision=Park("poison", f"its process died {_DEATHS_ALONE} times while it held nothing else"),
        )
        for row in rows
    ]
    settled = settle(connection, graph, results)
    return sorted(settled.accepted), settled.news.queues


def reclaim(connection: Connection, limit: int) -> tuple[list[int], set[str]]:
    """Make jobs with an expired lease ready again; each of them is next claimed alone."""
    rows = connection.execute(_EXPIRED, {"limit": limit}).all()
    again = [row for row in rows if not (row.lease_size == 1 and row.deaths + 1 >= _DEATHS_ALONE)]
    if again:
        connection.execute(_RECLAIM, {"ids": [row.id for row in again]})
        drop_orphans(connection, [row.id for row in again])
    return [row.id for row in again], {row.queue for row in again}


def forget_announcements(connection: Connection, queue: str, patience_s: float) -> int:
    """The broker holds no message of ``queue`` any more: what was announced and not claimed is announced again."""
    return connection.execute(_UNHEARD, {"queue": queue, "patience_s": patience_s}).rowcount


def prune(connection: Connection, days: int, limit: int) -> int:
    """Delete plans that ended ``days`` ago and are not their product's current one, with what only they kept."""
    plans = list(connection.execute(_OLD_PLANS, {"days": days, "limit": limit}).scalars())
    if plans:
        jobs = connection.execute(_DROP_RUNS, {"plans": plans}).scalars().all()
        drop_orphans(connection, jobs)
        connection.execute(_DROP_PLANS, {"plans": plans})
    return len(plans)


def sweep_assets(
    connection: Connection, delete: Callable[[str, str], Any], grace_s: float, limit: int
) -> int:
    """Delete blobs that no outcome uses and nobody touched for ``grace_s`` seconds.

    The row stays locked while the file goes: whoever wants to store the same bytes waits, then writes anew.
    """
    idle = [row.digest for row in connection.execute(_IDLE_ASSETS, {"grace_s": grace_s, "limit": limit})]
    if not idle:
        return 0
    gone = connection.execute(_DROP_ASSETS, {"digests": idle}).all()
    for row in gone:
        delete(row.digest, row.media_type)
    return len(gone)
