"""Which ready work is announced next: one bounded window a queue, live before backfill, sources in turn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

from pipeline.graph import StageGraph
from pipeline.outcomes import Lane
from storage.ledger.statements import sql

# Live work gets all but an eighth of the window when both lanes wait. However much backfill waits, it leaves a
# quarter free: a live event is announced the moment it is planned, not when a place happens to come free.
_BACKFILL_SHARE = 8
_LIVE_SHARE = 4

_OUTSTANDING = sql("""
SELECT count(*) AS jobs, count(*) FILTER (WHERE lane = :backfill) AS backfill FROM jobs
WHERE queue = :queue AND state = 'ready' AND dispatched_at IS NOT NULL
""")
# Sources are found by skipping along the index, then served in turn: nobody waits behind a flood.
_ADMIT = sql("""
WITH RECURSIVE sources (source) AS (
    (SELECT source FROM jobs WHERE queue = :queue AND lane = :lane AND state = 'ready'
        AND dispatched_at IS NULL ORDER BY source LIMIT 1)
    UNION ALL
    SELECT (SELECT j.source FROM jobs j WHERE j.queue = :queue AND j.lane = :lane AND j.state = 'ready'
        AND j.dispatched_at IS NULL AND j.source > s.source ORDER BY j.source LIMIT 1)
    FROM sources s WHERE s.source IS NOT NULL
), candidates AS (
    SELECT c.id, c.place, s.source FROM sources s CROSS JOIN LATERAL (
        SELECT id, row_number() OVER () AS place FROM (
            SELECT id FROM jobs WHERE queue = :queue AND lane = :lane AND state = 'ready'
              AND dispatched_at IS NULL AND source = s.source AND not_before <= now()
            ORDER BY turn, id LIMIT :limit) first) c
    WHERE s.source IS NOT NULL ORDER BY c.place, s.source LIMIT :limit
), locked AS (
    SELECT j.id, c.place, c.source FROM jobs j JOIN candidates c USING (id)
    WHERE j.state = 'ready' AND j.dispatched_at IS NULL FOR UPDATE OF j SKIP LOCKED
), admitted AS (
    UPDATE jobs SET dispatched_at = now() FROM locked WHERE jobs.id = locked.id
    RETURNING jobs.id, jobs.stage, jobs.recipe, jobs.suspect, locked.place, locked.source
)
SELECT a.id, a.stage, a.recipe, a.suspect, (
    SELECT p.product_id FROM runs r JOIN products p ON p.id = r.product_id WHERE r.job_id = a.id LIMIT 1
) AS product FROM admitted a ORDER BY a.place, a.source
""")


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs of one stage and lane that travel in one message, with the product ids an operator sees."""

    stage: str
    queue: str
    lane: Lane
    jobs: tuple[int, ...]
    products: tuple[str, ...]


def admit(connection: Connection, graph: StageGraph, queue: str, window: int) -> list[Batch]:
    """Choose what to announce next on ``queue``: at most ``window`` jobs are out at any time, both lanes."""
    out = connection.exec_driver_sql(_OUTSTANDING, {"queue": queue, "backfill": int(Lane.BACKFILL)}).one()
    free = window - out.jobs
    if free <= 0:
        return []
    reserve = min(free, window // _BACKFILL_SHARE - out.backfill)
    batches: list[Batch] = []
    backfill = _admit_lane(connection, graph, queue, Lane.BACKFILL, reserve)
    live = _admit_lane(connection, graph, queue, Lane.LIVE, free - sum(len(b.jobs) for b in backfill))
    batches += live
    batches += backfill
    left = free - sum(len(b.jobs) for b in batches)
    room = window - window // _LIVE_SHARE - out.backfill - sum(len(b.jobs) for b in backfill)
    return batches + _admit_lane(connection, graph, queue, Lane.BACKFILL, min(left, room))


def _admit_lane(connection: Connection, graph: StageGraph, queue: str, lane: Lane, limit: int) -> list[Batch]:
    if limit <= 0:
        return []
    rows = connection.exec_driver_sql(_ADMIT, {"queue": queue, "lane": int(lane), "limit": limit}).all()
    alone = [
        Batch(row.stage, queue, lane, (row.id,), (row.product or "?",))
        for row in rows
        if row.suspect and row.stage in graph.stages
    ]
    known = [row for row in rows if not row.suspect and row.stage in graph.stages]
    # Of a newer release: announced one by one, for whoever knows the stage.
    alone += [
        Batch(row.stage, queue, lane, (row.id,), (row.product or "?",))
        for row in rows
        if row.stage not in graph.stages
    ]
    return alone + batches_of(
        graph, [(row.id, row.stage, int(lane), row.recipe, row.product or "?") for row in known]
    )


def batches_of(graph: StageGraph, jobs: Iterable[tuple[int, str, int, str, str]]) -> list[Batch]:
    """Messages of jobs (id, stage, lane, recipe, product id): one stage, lane and recipe each, no longer than
    the stage's batch."""
    groups: defaultdict[tuple[str, int, str], list[tuple[int, str]]] = defaultdict(list)
    for job, stage, lane, recipe, product in jobs:
        groups[stage, lane, recipe].append((job, product))
    batches = []
    for (stage, lane, _), members in groups.items():
        spec = graph.stages[stage]
        for start in range(0, len(members), spec.batch):
            part = members[start : start + spec.batch]
            products = tuple(dict.fromkeys(product for _, product in part))
            batches.append(Batch(stage, spec.queue, Lane(lane), tuple(job for job, _ in part), products))
    return batches
