"""Presentations follow outcomes: each new outcome's fields, with the (revision, generation) they came from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from pipeline.graph import StageGraph, slot_of
from pipeline.outcomes import Outcome, RunState
from storage.ledger.plans import Plan
from storage.ledger.statements import records, sql

_OUTCOMES = sql("""
SELECT r.plan_id, r.stage, r.target, j.engine, encode(j.fingerprint, 'hex') AS fingerprint, j.outcome
FROM runs r JOIN jobs j ON j.id = r.job_id
WHERE r.id = ANY(:runs) AND r.state IN ('done', 'reused')
""")
# The guard is for defects only: the product's lock and the plan's being current already order the writes.
_SERVE = sql("""
UPDATE presentations SET fields = presentations.fields || u.fields, revision = u.revision, generation = u.generation,
    updated_at = now()
FROM json_to_recordset(CAST(:rows AS json))
    AS u (product_id bigint, revision bigint, generation bigint, fields jsonb)
WHERE presentations.product_id = u.product_id
  AND (u.revision, u.generation) >= (presentations.revision, presentations.generation)
""")
_PROPOSE = sql("""
UPDATE presentations SET candidate = presentations.candidate || u.fields, updated_at = now()
FROM json_to_recordset(CAST(:rows AS json))
    AS u (product_id bigint, revision bigint, generation bigint, fields jsonb)
WHERE presentations.product_id = u.product_id
""")


_REMOVE = sql("""
UPDATE presentations p SET updated_at = now(),
    fields = (SELECT COALESCE(jsonb_object_agg(f.key, f.value), '{}') FROM jsonb_each(p.fields) f
              WHERE NOT (u.targets ? (f.value->>'target') OR u.stages ? (f.value->>'stage'))),
    candidate = (SELECT COALESCE(jsonb_object_agg(f.key, f.value), '{}') FROM jsonb_each(p.candidate) f
              WHERE NOT (u.targets ? (f.value->>'target') OR u.stages ? (f.value->>'stage')))
FROM json_to_recordset(CAST(:rows AS json)) AS u (product_id bigint, targets jsonb, stages jsonb)
WHERE p.product_id = u.product_id
""")


@dataclass(frozen=True, slots=True)
class Told:
    """An outcome with the fingerprint, in hex, of the job that made it, and the engine that answered."""

    outcome: Outcome
    fingerprint: str
    engine: str


def present(
    connection: Connection, graph: StageGraph, plans: Mapping[int, Plan], runs: Mapping[int, Told | None]
) -> None:
    """Write the fields of these runs' outcomes: to the served ones, or beside them where review is on.

    Outcomes that the caller does not have at hand are read.
    """
    fields: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    unread: list[int] = []
    for plan in plans.values():
        for (stage, target), run in plan.run_ids.items():
            spec = graph.stages.get(stage)
            if run not in runs or spec is None or spec.presents is None:
                continue
            told = runs[run]
            if told is None:
                unread.append(run)
            else:
                fields[plan.id] |= _fields(graph, plan, stage, target, told)
    _remove_blocked(connection, graph, plans, runs)
    if unread:
        for row in connection.exec_driver_sql(_OUTCOMES, {"runs": unread}).all():
            outcome = graph.stages[row.stage].produces.model_validate(row.outcome)
            plan = plans[row.plan_id]
            told = Told(outcome, row.fingerprint, row.engine)
            fields[plan.id] |= _fields(graph, plan, row.stage, row.target, told)
    for statement, review in ((_SERVE, False), (_PROPOSE, True)):
        chosen = [plans[plan_id] for plan_id in fields if plans[plan_id].review is review]
        if chosen:
            connection.exec_driver_sql(
                statement,
                {
                    "rows": records(
                        {
                            "product_id": plan.product_row,
                            "revision": plan.revision,
                            "generation": plan.generation,
                            "fields": fields[plan.id],
                        }
                        for plan in chosen
                    )
                },
            )


def _remove_blocked(
    connection: Connection, graph: StageGraph, plans: Mapping[int, Plan], runs: Mapping[int, Told | None]
) -> None:
    """A photo found unfit takes along all that was said of it, and of its product from such photos alone.

    At once, also in a replay and under review: what must not be shown waits for nobody.
    """
    rows = []
    for plan in plans.values():
        blocked = {key[1] for key, run in plan.runs.items() if run.blocks is not None}
        if not blocked or not any(run in runs for run in plan.run_ids.values()):
            continue
        unfed = [
            stage
            for (stage, target), run in plan.runs.items()
            if (not target or slot_of(target)) and run.state is RunState.SKIPPED and stage in graph.stages
        ]
        rows.append({"product_id": plan.product_row, "targets": sorted(blocked), "stages": unfed})
    if rows:
        connection.exec_driver_sql(_REMOVE, {"rows": records(rows)})


def _fields(graph: StageGraph, plan: Plan, stage: str, target: str, told: Told) -> dict[str, dict[str, Any]]:
    """What a stage says of an outcome, each field under its name and, for a photo's, the photo's id."""
    presents = graph.stages[stage].presents
    assert presents is not None
    return {
        f"{name}/{target}" if target else name: {
            "value": value,
            "target": target,
            "stage": stage,
            "engine": told.engine,
            "revision": plan.revision,
            "generation": plan.generation,
            "fingerprint": told.fingerprint,
        }
        for name, value in presents(told.outcome).items()
    }
