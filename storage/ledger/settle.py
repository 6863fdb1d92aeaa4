"""Giving work back: outcomes and failures, fenced by the lease's token, in one transaction with what follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from pipeline.graph import StageGraph
from pipeline.keys import Recipe, digest
from pipeline.outcomes import Outcome
from pipeline.retry import Decision, Park, Snooze
from storage.ledger.advance import News, advance
from storage.ledger.claim import LOCK_PRODUCTS, lock_subscribers
from storage.ledger.present import Told
from storage.ledger.statements import records, sql
from storage.ledger.withdraw import drop_orphans

_LOCK = sql("""
SELECT jobs.id, jobs.lease_token = u.token AND jobs.state = 'running' AS ours,
       jobs.lease_token = u.token AND jobs.state IN ('done', 'parked') AS told,
       jobs.outcome IS NOT NULL OR EXISTS (SELECT FROM reviews v WHERE v.job_id = jobs.id) AS computed_before,
       encode(jobs.fingerprint, 'hex') AS fingerprint, jobs.engine,
       EXISTS (SELECT FROM runs r WHERE r.job_id = jobs.id AND r.state = 'ready'
               AND r.product_id = ANY(:products)) AS wanted
FROM jobs JOIN unnest(CAST(:ids AS bigint[]), CAST(:tokens AS bigint[])) AS u (id, token) USING (id)
ORDER BY jobs.id FOR UPDATE OF jobs
""")
_DONE = sql("""
WITH done AS (
    UPDATE jobs SET state = 'done', outcome = u.outcome, outcome_digest = decode(u.digest, 'hex'),
        outcome_bytes = u.bytes, blocks = u.blocks, seconds = u.seconds, finished_at = now(), lease_until = NULL,
        reason = NULL, error = NULL, trace = NULL, recipe = COALESCE(u.recipe, jobs.recipe),
        engine = COALESCE(u.engine, jobs.engine)
    FROM json_to_recordset(CAST(:rows AS json)) AS u (id bigint, outcome jsonb, digest text, bytes bigint,
        blocks text, seconds float, recipe text, engine text)
    WHERE jobs.id = u.id
)
INSERT INTO asset_uses (job_id, digest)
SELECT job, digest FROM json_to_recordset(CAST(:uses AS json)) AS u (job bigint, digest text)
ON CONFLICT DO NOTHING
""")
_FAILED = sql("""
UPDATE jobs SET state = CASE WHEN u.reason IS NULL THEN 'ready' ELSE 'parked' END,
    not_before = now() + make_interval(secs => u.after_s), attempts = attempts - u.refund,
    finished_at = CASE WHEN u.reason IS NULL THEN NULL ELSE now() END, lease_until = NULL,
    lease_token = CASE WHEN u.reason IS NULL THEN NULL ELSE lease_token END, dispatched_at = NULL,
    reason = u.reason, error = u.error, trace = u.trace
FROM json_to_recordset(CAST(:rows AS json))
    AS u (id bigint, after_s float, refund smallint, reason text, error text, trace text)
WHERE jobs.id = u.id
""")
# What was made and waits for a person lies beside the job, never in it: nobody can take it for an answer.
_REVIEW = sql("""
WITH asked AS (
    INSERT INTO reviews (job_id, outcome, digest, load_bytes, seconds)
    SELECT u.id, u.outcome, decode(u.digest, 'hex'), u.bytes, u.seconds
    FROM json_to_recordset(CAST(:rows AS json)) AS u (id bigint, outcome jsonb, digest text, bytes bigint,
        seconds float)
    ON CONFLICT (job_id) DO UPDATE SET outcome = EXCLUDED.outcome, digest = EXCLUDED.digest,
        load_bytes = EXCLUDED.load_bytes, seconds = EXCLUDED.seconds, asked_at = now(), accepted = NULL,
        decided_by = NULL, why = NULL, decided_at = NULL
)
INSERT INTO asset_uses (job_id, digest)
SELECT job, digest FROM json_to_recordset(CAST(:uses AS json)) AS u (job bigint, digest text)
ON CONFLICT DO NOTHING
""")
_FORGET_BEFORE = sql("""
WITH reviewed AS (DELETE FROM reviews WHERE job_id = ANY(:jobs))
DELETE FROM asset_uses WHERE job_id = ANY(:jobs)
""")
_SETTLE = sql("""
WITH subscribed AS (
    SELECT r.id, r.job_id, r.product_id, r.product_id = ANY(:products) AS locked, j.state, j.reason
    FROM runs r JOIN jobs j ON j.id = r.job_id
    WHERE r.job_id = ANY(:jobs) AND r.state = 'ready' AND j.state IN ('done', 'parked')
), settled AS (
    UPDATE runs SET state = s.state, settled_at = now(),
        reason = CASE WHEN s.state = 'parked' THEN COALESCE(s.reason, 'parked') END
    FROM subscribed s WHERE runs.id = s.id AND s.locked
)
SELECT id, job_id, product_id, locked FROM subscribed
""")
_AWAITED = sql("""
SELECT DISTINCT r.job_id FROM products p JOIN runs r ON r.plan_id = p.plan_id
WHERE p.id = ANY(:ids) AND r.state = 'ready'
""")
_BEHIND = sql("""
SELECT pl.product_id FROM plans pl WHERE pl.verdict IS NULL AND (
    EXISTS (SELECT FROM runs r JOIN jobs j ON j.id = r.job_id
            WHERE r.plan_id = pl.id AND r.state = 'ready' AND j.state IN ('done', 'parked'))
    OR NOT EXISTS (SELECT FROM runs r WHERE r.plan_id = pl.id AND r.state = 'ready'))
LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Result:
    """How one claimed job ended: an outcome, or a decision about its failure.

    ``fallback`` is the recipe that answered in the place of the job's own: the job is then known as that
    recipe's, so that a replay finds it and its own engine is asked again.
    """

    job_id: int
    token: int
    outcome: Outcome | None = None
    decision: Decision | None = None
    seconds: float = 0.0
    fallback: Recipe | None = None

    @property
    def made(self) -> Outcome | None:
        """The outcome, or the one that waits for a person's judgement."""
        return self.decision.outcome if isinstance(self.decision, Park) else self.outcome


@dataclass(frozen=True, slots=True)
class Settled:
    """Which results were taken, which refused because the lease was lost, and what has to be done next."""

    accepted: frozenset[int]
    refused: frozenset[int]
    news: News
    stragglers: tuple[int, ...]


def settle(connection: Connection, graph: StageGraph, results: Sequence[Result], window: int = 0) -> Settled:
    """Take ``results`` and carry on with every product that waited for them.

    Idempotent for a token: told again, as after a lost answer, it accepts and changes nothing.
    """
    by_id = {result.job_id: result for result in results}
    products = lock_subscribers(connection, sorted(by_id))
    ours: list[int] = []
    told: set[int] = set()
    unwanted: list[int] = []
    before: list[int] = []
    names: dict[int, tuple[str, str]] = {}
    tokens = [by_id[job].token for job in sorted(by_id)]
    for row in connection.exec_driver_sql(
        _LOCK, {"ids": sorted(by_id), "tokens": tokens, "products": products}
    ).all():
        if row.ours:
            ours.append(row.id)
            fallback = by_id[row.id].fallback
            names[row.id] = (row.fingerprint, fallback.label if fallback else row.engine)
            if not row.wanted:
                unwanted.append(row.id)
            if row.computed_before and by_id[row.id].made is not None:
                before.append(row.id)
        elif row.told:
            told.add(row.id)
    done = [by_id[job] for job in ours if by_id[job].outcome is not None]
    failed = [by_id[job] for job in ours if by_id[job].outcome is None]
    if before:
        connection.exec_driver_sql(_FORGET_BEFORE, {"jobs": before})
    if done:
        _write_outcomes(connection, _DONE, done)
    if failed:
        _write_failures(connection, failed)
    if unwanted:
        # Asked again by a statement of its own: only the runs of the locked products could not change meanwhile.
        drop_orphans(connection, unwanted)
    runs: dict[int, Told | None] = {}
    stragglers: list[int] = []
    terminal = [r.job_id for r in done] + [r.job_id for r in failed if isinstance(r.decision, Park)]
    if terminal:
        for row in connection.exec_driver_sql(_SETTLE, {"jobs": terminal, "products": products}).all():
            if row.locked:
                outcome = by_id[row.job_id].outcome
                runs[row.id] = Told(outcome, *names[row.job_id]) if outcome is not None else None
            else:
                stragglers.append(row.product_id)
    news = advance(connection, graph, products, runs, window=window) if runs else News()
    return Settled(
        accepted=frozenset(ours) | frozenset(told),
        refused=frozenset(by_id) - frozenset(ours) - frozenset(told),
        news=news,
        stragglers=tuple(sorted(set(stragglers))),
    )


def catch_up(connection: Connection, graph: StageGraph, products: Sequence[int]) -> set[str]:
    """Settle runs whose job ended without them: subscriptions that raced the completion, or a crash."""
    if not products:
        return set()
    rows = sorted(products)
    connection.exec_driver_sql(LOCK_PRODUCTS, {"ids": rows})
    jobs = connection.exec_driver_sql(_AWAITED, {"ids": rows}).scalars()
    settled = connection.exec_driver_sql(_SETTLE, {"jobs": list(jobs), "products": rows})
    return advance(connection, graph, rows, {row.id: None for row in settled if row.locked}).queues


def behind(connection: Connection, limit: int) -> list[int]:
    """Products with a run that waits for a job that has ended, or with an open plan in which nothing moves.

    The first comes of a crash between two commits, the second of an older release that met a newer stage.
    """
    return list(connection.exec_driver_sql(_BEHIND, {"limit": limit}).scalars())


def _write_outcomes(connection: Connection, statement: str, results: Sequence[Result]) -> None:
    values = [(result, result.made) for result in results if result.made is not None]
    dumps: list[dict[str, Any]] = [outcome.model_dump(mode="json") for _, outcome in values]
    uses = sorted({(result.job_id, blob.digest) for result, outcome in values for blob in outcome.blobs()})
    connection.exec_driver_sql(
        statement,
        {
            "uses": records({"job": job, "digest": blob} for job, blob in uses),
            "rows": records(
                {
                    "id": result.job_id,
                    "outcome": dump,
                    "digest": digest(dump).hex(),
                    "bytes": outcome.load_bytes(),
                    "blocks": outcome.blocks(),
                    "seconds": result.seconds,
                    "recipe": result.fallback.key if result.fallback else None,
                    "engine": result.fallback.label if result.fallback else None,
                }
                for (result, outcome), dump in zip(values, dumps, strict=True)
            ),
        },
    )


def _write_failures(connection: Connection, failed: Sequence[Result]) -> None:
    rows = [
        {
            "id": result.job_id,
            "after_s": 0.0 if isinstance(result.decision, Park) else result.decision.after_s,
            "refund": int(isinstance(result.decision, Snooze)),
            "reason": result.decision.reason if isinstance(result.decision, Park) else None,
            "error": _plain(result.decision.error),
            "trace": _plain(result.decision.trace) if isinstance(result.decision, Park) else None,
        }
        for result in failed
        if result.decision is not None
    ]
    connection.exec_driver_sql(_FAILED, {"rows": records(rows)})
    made = [result for result in failed if result.made is not None]
    if made:
        _write_outcomes(connection, _REVIEW, made)


def _plain(message: str) -> str:
    """Postgres stores no NUL; an error may quote any bytes."""
    return message[:8000].replace("\x00", "␀")
