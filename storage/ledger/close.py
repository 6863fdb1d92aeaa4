"""A plan whose runs are all settled gets its verdict, and with it the event or the replay's item."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from pipeline.graph import RunKey, RunView, StageGraph
from pipeline.outcomes import RunState, Verdict
from storage.ledger.plans import Plan
from storage.ledger.statements import sql

_CLOSE = sql("""
WITH u AS (
    SELECT * FROM unnest(CAST(:plans AS bigint[]), CAST(:verdicts AS text[])) AS u (plan_id, verdict)
), closed AS (
    UPDATE plans SET verdict = u.verdict, closed_at = now() FROM u WHERE plans.id = u.plan_id
    RETURNING plans.id, plans.event_seq, plans.replay_id, plans.product_id, plans.verdict
), events AS (
    UPDATE events SET verdict = c.verdict, verdict_at = now() FROM closed c
    WHERE events.seq = c.event_seq AND events.verdict IS NULL
)
UPDATE replay_items i SET verdict = c.verdict FROM closed c
WHERE i.replay_id = c.replay_id AND i.product_id = c.product_id
""")
# Unchanged products are recognised by this when a replay comes by.
_SIGN = sql("UPDATE products SET signature = :signature WHERE id = ANY(:products)")
# What an older revision said and the new one could not say again describes a product that is no more.
_CLEAR = sql("""
UPDATE presentations p SET updated_at = now(), fields = (
    SELECT COALESCE(jsonb_object_agg(f.key, f.value), '{}') FROM jsonb_each(p.fields) f
    WHERE CAST(f.value->>'revision' AS bigint) >= u.revision)
FROM unnest(CAST(:products AS bigint[]), CAST(:revisions AS bigint[])) AS u (product_id, revision)
WHERE p.product_id = u.product_id AND EXISTS (
    SELECT FROM jsonb_each(p.fields) f WHERE CAST(f.value->>'revision' AS bigint) < u.revision)
""")


def verdict_of(graph: StageGraph, runs: Mapping[RunKey, RunView]) -> Verdict | None:
    """The verdict of a plan, or None while something is still to be done.

    An effect adds nothing to what is known of a product. What is done again for a model that does not serve yet
    is waited for, and no reason to call an event degraded.
    """
    if any(run.state in (RunState.WAITING, RunState.READY) for run in runs.values()):
        return None
    own = [(stage, run.state) for (stage, _), run in runs.items() if not graph.doubles(stage)]
    derived = [state for stage, state in own if not graph.is_effect(stage)]
    if derived and not any(state in (RunState.DONE, RunState.REUSED) for state in derived):
        return Verdict.REJECTED
    if any(state in (RunState.PARKED, RunState.SKIPPED) for _, state in own):
        return Verdict.DEGRADED
    return Verdict.DONE


def _is_current(graph: StageGraph, plan: Plan) -> bool:
    """Whether every stage of this release took part, each as it computes today."""
    if set(graph.runs_of(plan.product)) != plan.runs.keys():
        return False
    return all(plan.recipes.get(key) == graph.rule(key[0], plan.product).recipe.key for key in plan.runs)


def close_plans(connection: Connection, graph: StageGraph, plans: Mapping[int, Plan]) -> None:
    """Close those of ``plans`` that are finished."""
    verdicts: dict[int, Verdict] = {}
    for plan in plans.values():
        verdict = verdict_of(graph, plan.runs)
        if verdict is not None:
            verdicts[plan.id] = verdict
    if not verdicts:
        return
    connection.exec_driver_sql(_CLOSE, {"plans": list(verdicts), "verdicts": list(verdicts.values())})
    closed = [plans[plan_id] for plan_id in verdicts]
    done = [
        plan.product_row
        for plan in closed
        if verdicts[plan.id] is Verdict.DONE and not plan.review and _is_current(graph, plan)
    ]
    if done:
        connection.exec_driver_sql(_SIGN, {"signature": graph.signature, "products": done})
    renewed = [plan for plan in closed if plan.cause == "event"]
    if renewed:
        connection.exec_driver_sql(
            _CLEAR,
            {
                "products": [plan.product_row for plan in renewed],
                "revisions": [plan.revision for plan in renewed],
            },
        )
