"""Taking work: claim it with a lease and a fencing token, with everything it may read; keep the lease alive."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from pipeline.events import ImageRef, Product
from pipeline.graph import Scope, StageGraph, StageSpec
from pipeline.outcomes import Lane, Outcome
from storage.ledger.advance import advance
from storage.ledger.facts import plan_facts
from storage.ledger.statements import sql
from storage.ledger.withdraw import drop_orphans

_ASKED = sql("""
SELECT id, suspect, load_bytes, recipe FROM jobs
WHERE id = ANY(:ids) AND stage = :stage AND state = 'ready' AND not_before <= now()
ORDER BY turn, id FOR UPDATE SKIP LOCKED
""")
_TOP_UP = sql("""
SELECT id, suspect, load_bytes, recipe FROM jobs
WHERE stage = :stage AND lane = :lane AND recipe = :recipe AND state = 'ready' AND NOT suspect
  AND not_before <= now() AND NOT (id = ANY(:ids))
ORDER BY turn, id LIMIT :room FOR UPDATE SKIP LOCKED
""")
_CLAIM = sql("""
UPDATE jobs SET state = 'running', lease_token = nextval('lease_tokens'), worker = :worker,
    lease_until = now() + make_interval(secs => :lease_s), lease_size = cardinality(CAST(:ids AS bigint[])),
    attempts = attempts + 1, started_at = now(), dispatched_at = NULL
WHERE id = ANY(:ids)
RETURNING id, lease_token, attempts, recipe, lane, source
""")
# What was asked for and did not fit goes back to be admitted again, at once.
_PUT_BACK = sql("""
UPDATE jobs SET dispatched_at = NULL WHERE id = ANY(:ids) AND state = 'ready' AND dispatched_at IS NOT NULL
""")
_SUBSCRIBER = sql("""
SELECT DISTINCT ON (r.job_id) r.job_id, r.id AS run_id, r.plan_id, r.target, p.id AS product_row, p.product_id,
    p.source, pl.revision, pl.generation, pl.traceparent, pl.cause, e.event_id
FROM runs r JOIN products p ON p.id = r.product_id JOIN plans pl ON pl.id = r.plan_id
LEFT JOIN events e ON e.seq = pl.event_seq
WHERE r.job_id = ANY(:jobs) AND r.state = 'ready' ORDER BY r.job_id, r.plan_id
""")
_INPUTS = sql("""
SELECT r.plan_id, r.stage, r.target, j.outcome FROM runs r JOIN jobs j ON j.id = r.job_id
WHERE r.plan_id = ANY(:plans) AND r.stage = ANY(:stages) AND r.state IN ('done', 'reused') AND j.blocks IS NULL
""")
_RENEW = sql("""
UPDATE jobs SET lease_until = now() + make_interval(secs => :lease_s)
FROM unnest(CAST(:ids AS bigint[]), CAST(:tokens AS bigint[])) AS u (id, token)
WHERE jobs.id = u.id AND jobs.lease_token = u.token AND jobs.state = 'running'
RETURNING jobs.id
""")
_RELEASE = sql("""
UPDATE jobs SET state = 'ready', attempts = attempts - 1, lease_token = NULL, dispatched_at = NULL
WHERE id = ANY(:jobs) AND state = 'running'
""")
_LOCK_SUBSCRIBERS = sql("""
SELECT id FROM products WHERE id IN (SELECT product_id FROM runs WHERE job_id = ANY(:jobs) AND state = 'ready')
ORDER BY id FOR UPDATE
""")
LOCK_PRODUCTS = sql("SELECT id FROM products WHERE id = ANY(:ids) ORDER BY id FOR UPDATE")
_REWIND_RUNS = sql("""
UPDATE runs SET state = 'waiting', job_id = NULL WHERE job_id = ANY(:jobs) AND state = 'ready'
""")


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job in hand: the fencing token, and everything that the stage may read."""

    job_id: int
    token: int
    attempt: int
    recipe: str
    lane: Lane
    run_id: int
    plan_id: int
    source: str
    product_id: str
    product_row: int
    product: Product
    image: ImageRef | None
    target: str
    revision: int
    generation: int
    cause: str
    event_id: str | None
    traceparent: str | None
    inputs: Mapping[str, Sequence[tuple[str, Outcome]]]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a claim took.

    ``stale`` jobs are of another recipe and have to be planned anew, ``put_back`` says that some went back to
    be admitted again, and ``unreadable`` are (job id, token, reason) whose inputs this release cannot read.
    """

    claimed: list[Claimed]
    stale: list[int]
    put_back: bool
    unreadable: list[tuple[int, int, str]]


def claim(
    connection: Connection,
    graph: StageGraph,
    spec: StageSpec,
    ids: Sequence[int],
    *,
    lane: Lane,
    limit: int,
    worker: str,
) -> Taken:
    """Lease those of ``ids`` that may start, topped up with other ready work: all of one recipe.

    A job whose process died before is only ever claimed alone.
    """
    chosen = _choose(connection, spec, ids, graph.recipes[spec.name].key, lane, limit)
    rows: Sequence[Any] = []
    if chosen:
        values = {"ids": chosen, "lease_s": spec.lease_s, "worker": worker}
        rows = sorted(connection.exec_driver_sql(_CLAIM, values), key=lambda row: chosen.index(row.id))
    taken = {row.id for row in rows}
    missed = [job for job in ids if job not in taken]
    put_back = bool(missed) and connection.exec_driver_sql(_PUT_BACK, {"ids": missed}).rowcount > 0
    stale = [row.id for row in rows if not graph.is_current(spec.name, row.recipe)]
    fresh = [row for row in rows if graph.is_current(spec.name, row.recipe)]
    claimed, unreadable = _with_inputs(connection, graph, spec, fresh)
    held = {*stale, *(item.job_id for item in claimed), *(job for job, _, _ in unreadable)}
    _release_abandoned(connection, taken - held)
    return Taken(claimed, stale, put_back, unreadable)


def _choose(
    connection: Connection, spec: StageSpec, ids: Sequence[int], default: str, lane: Lane, limit: int
) -> list[int]:
    """Lock what was asked for and can start, then as much more as fits: of one recipe, so that one engine
    serves the batch (the ``default`` one where nothing asked for is left), and never a suspect beside others."""
    found = list(connection.exec_driver_sql(_ASKED, {"ids": list(ids), "stage": spec.name}))
    if len(ids) > 1:
        found = [row for row in found if not row.suspect]
    recipe = found[0].recipe if found else default
    found = [row for row in found if row.recipe == recipe]
    room = limit - len(found)
    if room > 0 and not any(row.suspect for row in found):
        values = {"stage": spec.name, "lane": int(lane), "recipe": recipe, "ids": list(ids), "room": room}
        found += connection.exec_driver_sql(_TOP_UP, values)
    chosen: list[int] = []
    load = 0
    for row in found[:limit]:
        load += row.load_bytes
        if chosen and load > spec.batch_bytes:
            break
        chosen.append(row.id)
    return chosen


def _release_abandoned(connection: Connection, jobs: set[int]) -> None:
    """Let go of jobs whose last subscriber left in the very moment of the claim."""
    if jobs:
        connection.exec_driver_sql(_RELEASE, {"jobs": sorted(jobs)})
        drop_orphans(connection, jobs)


def replan(connection: Connection, graph: StageGraph, jobs: Sequence[int]) -> set[str]:
    """Jobs that were planned for another engine or version: their runs get the fingerprint of today's."""
    products = lock_subscribers(connection, jobs)
    connection.exec_driver_sql(_REWIND_RUNS, {"jobs": list(jobs)})
    connection.exec_driver_sql(_RELEASE, {"jobs": sorted(jobs)})
    drop_orphans(connection, jobs)
    return advance(connection, graph, products).queues


def lock_subscribers(connection: Connection, jobs: Sequence[int]) -> list[int]:
    """Lock, in id order, the products whose runs wait for these jobs; returns their row ids."""
    return list(connection.exec_driver_sql(_LOCK_SUBSCRIBERS, {"jobs": list(jobs)}).scalars())


def _with_inputs(
    connection: Connection, graph: StageGraph, spec: StageSpec, rows: Sequence[Any]
) -> tuple[list[Claimed], list[tuple[int, int, str]]]:
    if not rows:
        return [], []
    subscribers = {
        row.job_id: row for row in connection.exec_driver_sql(_SUBSCRIBER, {"jobs": [row.id for row in rows]})
    }
    facts = plan_facts(connection, sorted({row.plan_id for row in subscribers.values()}))
    rows = [row for row in rows if row.id in subscribers and subscribers[row.id].plan_id in facts]
    upstream = graph.upstream(spec.name)
    strange: dict[tuple[int, str], str] = {}
    outcomes: defaultdict[tuple[int, str], list[tuple[str, Outcome]]] = defaultdict(list)
    if upstream:
        plans = sorted({row.plan_id for row in subscribers.values()})
        for row in connection.exec_driver_sql(_INPUTS, {"plans": plans, "stages": list(upstream)}).all():
            try:
                outcome = graph.stages[row.stage].produces.model_validate(row.outcome)
            except ValidationError as error:
                strange[row.plan_id, row.target] = (
                    f"the outcome of {row.stage} is of another release: {error}"
                )
                continue
            outcomes[row.plan_id, row.stage].append((row.target, outcome))
    claimed = []
    unreadable = []
    for row in rows:
        sub = subscribers[row.id]
        broken = [
            why
            for (plan, target), why in strange.items()
            if plan == sub.plan_id and (not sub.target or target in (sub.target, ""))
        ]
        if broken:
            unreadable.append((row.id, row.lease_token, broken[0]))
            continue
        product = facts[sub.plan_id]
        order = {image.id: (image.position, image.id) for image in product.images}
        inputs = {}
        for stage in upstream:
            found = outcomes[sub.plan_id, stage]
            if spec.scope is Scope.IMAGE and graph.stages[stage].scope is Scope.IMAGE:
                inputs[stage] = [pair for pair in found if pair[0] == sub.target]
            else:
                inputs[stage] = sorted(found, key=lambda pair: order.get(pair[0], (0, pair[0])))
        claimed.append(
            Claimed(
                job_id=row.id,
                token=row.lease_token,
                attempt=row.attempts,
                recipe=row.recipe,
                lane=Lane(row.lane),
                run_id=sub.run_id,
                plan_id=sub.plan_id,
                source=sub.source,
                product_id=sub.product_id,
                product_row=sub.product_row,
                product=product,
                image=next((image for image in product.images if image.id == sub.target), None),
                target=sub.target,
                revision=sub.revision,
                generation=sub.generation,
                cause=sub.cause,
                event_id=sub.event_id,
                traceparent=sub.traceparent,
                inputs=inputs,
            )
        )
    return claimed, unreadable


def renew(connection: Connection, held: Mapping[int, int], lease_s: float) -> set[int]:
    """Extend the leases of ``held`` (job id → token); returns the ids still ours."""
    rows = connection.exec_driver_sql(
        _RENEW, {"ids": list(held), "tokens": list(held.values()), "lease_s": lease_s}
    )
    return set(rows.scalars())
