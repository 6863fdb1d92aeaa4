"""Presentations follow outcomes: each new outcome's fields, with the (revision, generation) they came from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from pipeline.graph import StageGraph
from storage.ledger.records import records

if TYPE_CHECKING:
    from storage.ledger.advance import Plan

_OUTCOMES = text("""
SELECT r.plan_id, r.stage, r.target, j.engine, encode(j.fingerprint, 'hex') AS fingerprint, j.outcome
FROM runs r JOIN jobs j ON j.id = r.job_id
WHERE r.id = ANY(:runs) AND r.stage = ANY(:stages) AND j.outcome IS NOT NULL
""")
# The guard is for defects only: the product's lock and the plan's being current already order the writes.
_SERVE = text("""
UPDATE presentations SET fields = presentations.fields || u.fields, revision = u.revision, generation = u.generation,
    updated_at = now()
FROM json_to_recordset(CAST(:rows AS json))
    AS u (product_id bigint, revision bigint, generation bigint, fields jsonb)
WHERE presentations.product_id = u.product_id
  AND (u.revision, u.generation) >= (presentations.revision, presentations.generation)
""")
_PROPOSE = text("""
UPDATE presentations SET candidate = presentations.candidate || u.fields, updated_at = now()
FROM json_to_recordset(CAST(:rows AS json))
    AS u (product_id bigint, revision bigint, generation bigint, fields jsonb)
WHERE presentations.product_id = u.product_id
""")


def present(
    connection: Connection, graph: StageGraph, plans: Mapping[int, Plan], runs: Sequence[int]
) -> None:
    """Write the fields of these runs' outcomes: to the served ones, or beside them where review is on."""
    presenting = [name for name, spec in graph.stages.items() if spec.presents is not None]
    if not runs or not presenting:
        return
    fields: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    for row in connection.execute(_OUTCOMES, {"runs": list(runs), "stages": presenting}).all():
        plan = plans.get(row.plan_id)
        if plan is None:
            continue
        spec = graph.stages[row.stage]
        assert spec.presents is not None
        for name, value in spec.presents(spec.produces.model_validate(row.outcome)).items():
            key = f"{name}/{row.target}" if row.target else name
            fields[row.plan_id][key] = {
                "value": value,
                "target": row.target,
                "stage": row.stage,
                "engine": row.engine,
                "revision": plan.revision,
                "generation": plan.generation,
                "fingerprint": row.fingerprint,
            }
    for statement, review in ((_SERVE, False), (_PROPOSE, True)):
        chosen = [plans[plan_id] for plan_id in fields if plans[plan_id].review is review]
        if chosen:
            connection.execute(
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
