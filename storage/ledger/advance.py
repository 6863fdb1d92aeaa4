"""The heart of the ledger: bring plans up to date with what is known, in one transaction.

The caller has locked the product rows in id order. Everything here is set-based and level-triggered: it may
run at any time for any products, and running it twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from pipeline.graph import Attach, RunView, Skip, StageGraph
from pipeline.keys import Recipe
from pipeline.outcomes import JobState, Lane, RunState
from storage.ledger.close import close_plans
from storage.ledger.plans import Plan, load_plans
from storage.ledger.present import Told, present
from storage.ledger.statements import records, sql

_NEW_JOBS = sql("""
WITH u AS (
    SELECT *, row_number() OVER (PARTITION BY queue ORDER BY turn) AS place
    FROM json_to_recordset(CAST(:rows AS json)) AS u (fingerprint text, stage text, recipe text, engine text,
        queue text, lane smallint, source text, turn bigint, load_bytes bigint)
), room AS (
    SELECT q.queue, :window - (SELECT count(*) FROM jobs j WHERE j.queue = q.queue AND j.state = 'ready'
        AND j.dispatched_at IS NOT NULL) AS free
    FROM (SELECT DISTINCT queue FROM u) q WHERE :window > 0
)
INSERT INTO jobs (fingerprint, stage, recipe, engine, queue, lane, source, turn, load_bytes, dispatched_at)
SELECT decode(u.fingerprint, 'hex'), u.stage, u.recipe, u.engine, u.queue, u.lane, u.source, u.turn, u.load_bytes,
    CASE WHEN u.lane = 0 AND u.place <= room.free THEN now() END
FROM u LEFT JOIN room USING (queue) ORDER BY u.turn
ON CONFLICT (fingerprint) DO NOTHING
RETURNING id, fingerprint, dispatched_at IS NOT NULL AS announced
""")
# Locked until the subscription is committed, so that a completion either sees it or is seen by it.
_KNOWN_JOBS = sql("""
SELECT id, fingerprint, stage, recipe, state, lane, outcome_digest, blocks, outcome_bytes, reason, finished_at,
    state = 'parked' AND EXISTS (SELECT FROM reviews v WHERE v.job_id = jobs.id) AS reviewed
FROM jobs WHERE fingerprint = ANY(:fingerprints) ORDER BY id FOR UPDATE
""")
_AGAIN = sql("""
UPDATE jobs SET state = 'ready', attempts = 0, deaths = 0, suspect = false, not_before = now(),
    dispatched_at = NULL, reason = NULL, error = NULL, trace = NULL, lane = u.lane, lease_token = NULL,
    recipe = u.recipe, engine = u.engine
FROM json_to_recordset(CAST(:rows AS json)) AS u (id bigint, lane smallint, recipe text, engine text)
WHERE jobs.id = u.id
""")
_HASTEN = sql("""
UPDATE jobs SET lane = u.lane, dispatched_at = NULL
FROM unnest(CAST(:ids AS bigint[]), CAST(:lanes AS smallint[])) AS u (id, lane)
WHERE jobs.id = u.id AND u.lane < jobs.lane
""")
_SETTLE_RUNS = sql("""
UPDATE runs SET state = u.state, job_id = u.job_id, reason = u.reason,
    settled_at = CASE WHEN u.state = 'ready' THEN NULL ELSE now() END
FROM json_to_recordset(CAST(:rows AS json)) AS u (id bigint, state text, job_id bigint, reason text)
WHERE runs.id = u.id
""")


def _change(run_id: int, view: RunView, job_id: int | None) -> dict[str, Any]:
    return {"id": run_id, "state": view.state, "job_id": job_id, "reason": view.reason or None}


@dataclass(slots=True)
class News:
    """What has to be told after the commit: jobs to announce now, and queues with more to admit."""

    queues: set[str] = field(default_factory=set)
    announced: list[tuple[int, str, int, str, str]] = field(default_factory=list)
    """Job id, stage, lane, recipe and product id of jobs that took a free place in their queue's window."""


def advance(
    connection: Connection,
    graph: StageGraph,
    products: Iterable[int],
    settled_runs: Mapping[int, Told | None] | None = None,
    *,
    window: int = 0,
) -> News:
    """Start, reuse or skip what can be, present what is new, close what is finished.

    ``settled_runs`` are runs that the caller settled just now, with their outcomes where it has them. With a
    ``window``, new live jobs take the places that are free in it at once, so that what was begun is finished
    before anything else is admitted; a backfill's wait their turn, or they would leave live work no place.
    """
    plans = load_plans(connection, sorted(set(products)))
    fresh: dict[int, Told | None] = dict(settled_runs or {})
    news = News()
    active = list(plans.values())
    while active:
        wanted: list[tuple[Plan, Attach]] = []
        changes: list[dict[str, Any]] = []
        for plan in active:
            for decision in graph.advance(plan.product, plan.id, plan.runs):
                view = plan.runs[decision.stage, decision.target]
                if isinstance(decision, Skip):
                    view.state, view.reason = RunState.SKIPPED, decision.reason
                    changes.append(_change(plan.run_ids[decision.stage, decision.target], view, None))
                else:
                    wanted.append((plan, decision))
        fresh |= dict.fromkeys(_subscribe(connection, graph, wanted, changes, news, window))
        if changes:
            connection.exec_driver_sql(_SETTLE_RUNS, {"rows": records(changes)})
        # Only an answer that was there already can set more in motion.
        active = list({plan.id: plan for plan, attach in wanted if _settled(plan, attach)}.values())
    present(connection, graph, plans, fresh)
    close_plans(connection, graph, plans)
    return news


def _settled(plan: Plan, attach: Attach) -> bool:
    return plan.runs[attach.stage, attach.target].settled


def _subscribe(
    connection: Connection,
    graph: StageGraph,
    wanted: Sequence[tuple[Plan, Attach]],
    changes: list[dict[str, Any]],
    news: News,
    window: int,
) -> list[int]:
    """Attach runs to their jobs, new or known; returns the ids of the runs that were answered at once."""
    if not wanted:
        return []
    fresh, known = _jobs_of(connection, graph, wanted, window)
    again: dict[int, tuple[int, Recipe]] = {}
    hasten: dict[int, int] = {}
    reused: list[int] = []
    for plan, attach in wanted:
        view = plan.runs[attach.stage, attach.target]
        run_id = plan.run_ids[attach.stage, attach.target]
        view.state = RunState.READY
        plan.recipes[attach.stage, attach.target] = attach.recipe.key
        if attach.fingerprint in fresh:
            job_id, announced = fresh[attach.fingerprint]
            if announced:
                fresh[attach.fingerprint] = (job_id, False)
                product = plan.product.product_id
                news.announced.append((job_id, attach.stage, plan.lane, attach.recipe.key, product))
            else:
                news.queues.add(graph.stages[attach.stage].queue)
        else:
            job = known[attach.fingerprint]
            job_id = job.id
            _join(plan, view, job, attach.recipe, again, hasten, root=attach.stage in graph.roots)
            if view.state is RunState.REUSED:
                reused.append(run_id)
            elif view.state is RunState.READY:
                news.queues.add(graph.stages[attach.stage].queue)
        changes.append(_change(run_id, view, job_id))
    if again:
        rows = (
            {"id": job, "lane": lane, "recipe": recipe.key, "engine": recipe.label}
            for job, (lane, recipe) in again.items()
        )
        connection.exec_driver_sql(_AGAIN, {"rows": records(rows)})
    if hasten:
        connection.exec_driver_sql(_HASTEN, {"ids": list(hasten), "lanes": list(hasten.values())})
    return reused


def _join(
    plan: Plan,
    view: RunView,
    job: Any,
    recipe: Recipe,
    again: dict[int, tuple[int, Recipe]],
    hasten: dict[int, int],
    *,
    root: bool,
) -> None:
    """Decide what an existing job means for this run."""
    if job.id in again:
        again[job.id] = (min(plan.lane, again[job.id][0]), recipe)
        return
    if job.state == JobState.DONE:
        # Of another recipe: a fallback answered, and the engine that should have may be there again.
        if job.recipe != recipe.key or plan.forces(job.stage, job.finished_at):
            again[job.id] = (plan.lane, recipe)
            return
        view.state = RunState.REUSED
        view.digest = bytes(job.outcome_digest)
        view.blocks = job.blocks
        view.load_bytes = job.outcome_bytes
    elif job.state == JobState.PARKED:
        # What a person judges, or has judged, is made again on purpose only: it would come out the same.
        if plan.forces(job.stage, job.finished_at) if job.reviewed else plan.retries(job.reason, root=root):
            again[job.id] = (plan.lane, recipe)
            return
        view.state, view.reason = RunState.PARKED, job.reason or "parked"
    elif job.lane > plan.lane:
        hasten[job.id] = min(plan.lane, hasten.get(job.id, Lane.BACKFILL))


def _jobs_of(
    connection: Connection, graph: StageGraph, wanted: Sequence[tuple[Plan, Attach]], window: int
) -> tuple[dict[bytes, tuple[int, bool]], Mapping[bytes, Any]]:
    """The jobs of these fingerprints: those made just now, and those known before, locked."""
    missing: dict[bytes, tuple[Plan, Attach]] = {}
    for plan, attach in wanted:
        missing.setdefault(attach.fingerprint, (plan, attach))
    fresh: dict[bytes, tuple[int, bool]] = {}
    known: dict[bytes, Any] = {}
    # Again only when a job was there at the first statement and deleted before the second could lock it.
    while missing:
        fresh |= _insert_jobs(connection, graph, list(missing.values()), window)
        rest = sorted(missing.keys() - fresh.keys())
        if rest:
            rows = connection.exec_driver_sql(_KNOWN_JOBS, {"fingerprints": rest})
            known |= {bytes(row.fingerprint): row for row in rows}
        missing = {key: missing[key] for key in rest if key not in known}
    return fresh, known


def _insert_jobs(
    connection: Connection, graph: StageGraph, wanted: Sequence[tuple[Plan, Attach]], window: int
) -> Mapping[bytes, tuple[int, bool]]:
    """New jobs by fingerprint: the id, and whether it took a free place in the window."""
    rows = sorted(wanted, key=lambda pair: (pair[0].id, pair[1].fingerprint))
    result = connection.exec_driver_sql(
        _NEW_JOBS,
        {
            "window": window,
            "rows": records(
                {
                    "fingerprint": attach.fingerprint.hex(),
                    "stage": attach.stage,
                    "recipe": attach.recipe.key,
                    "engine": attach.recipe.label,
                    "queue": graph.stages[attach.stage].queue,
                    "lane": plan.lane,
                    "source": plan.source,
                    "turn": plan.id,
                    "load_bytes": attach.load_bytes,
                }
                for plan, attach in rows
            ),
        },
    )
    return {bytes(row.fingerprint): (row.id, row.announced) for row in result.all()}
