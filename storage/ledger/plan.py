"""From accepted events to plans: which event of each product counts, and what that sets in motion."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from pipeline.errors import ContractError
from pipeline.events import Event, Product, parse_event
from pipeline.graph import StageGraph
from pipeline.ordering import Effect, Standing, follow
from pipeline.outcomes import Lane, Verdict
from storage.ledger.advance import advance
from storage.ledger.passes import NewPlan, Purpose, make_plans
from storage.ledger.withdraw import retract, supersede

_log = logging.getLogger(__name__)

_TAKE = text("""
SELECT seq, source, event_id, product_id, traceparent, body FROM events
WHERE planned_at IS NULL ORDER BY seq LIMIT :limit FOR UPDATE SKIP LOCKED
""")
_ENSURE = text("""
INSERT INTO products (source, product_id)
SELECT * FROM unnest(CAST(:sources AS text[]), CAST(:ids AS text[])) AS u (source, product_id)
ORDER BY source, product_id ON CONFLICT DO NOTHING
""")
_LOCK_NAMED = text("""
SELECT p.* FROM products p
JOIN unnest(CAST(:sources AS text[]), CAST(:ids AS text[])) AS u (source, product_id)
  ON p.source = u.source AND p.product_id = u.product_id
ORDER BY p.id FOR UPDATE OF p
""")
_STAND = text("""
UPDATE products SET revision = u.revision, by_withdrawal = u.by_withdrawal, event_time = u.event_time,
    event_id = u.event_id, blocked_at = u.blocked_at, relisted_at = u.relisted_at
FROM unnest(CAST(:ids AS bigint[]), CAST(:revisions AS bigint[]), CAST(:by_withdrawal AS boolean[]),
            CAST(:times AS timestamptz[]), CAST(:event_ids AS text[]), CAST(:blocked AS timestamptz[]),
            CAST(:relisted AS timestamptz[]))
    AS u (id, revision, by_withdrawal, event_time, event_id, blocked_at, relisted_at)
WHERE products.id = u.id
""")
_PLANNED = text("""
UPDATE events SET planned_at = now(), plan_id = u.plan_id, verdict = u.verdict,
    verdict_at = CASE WHEN u.verdict IS NULL THEN NULL ELSE now() END,
    body = CASE WHEN u.redact THEN NULL ELSE body END
FROM unnest(CAST(:seqs AS bigint[]), CAST(:plans AS bigint[]), CAST(:verdicts AS text[]),
            CAST(:redact AS boolean[])) AS u (seq, plan_id, verdict, redact)
WHERE events.seq = u.seq
""")
# A photo that the new revision no longer has takes along what was said of it and of all photos together.
_DROP_PHOTOS = text("""
UPDATE presentations p SET fields = (
    SELECT COALESCE(jsonb_object_agg(f.key, f.value), '{}') FROM jsonb_each(p.fields) f
    WHERE f.value->>'target' <> '' AND NOT starts_with(f.value->>'target', '@')
      AND NOT u.gone ? (f.value->>'target'))
FROM unnest(CAST(:products AS bigint[]), CAST(:gone AS jsonb[])) AS u (product_id, gone)
WHERE p.product_id = u.product_id
""")


def plan_events(connection: Connection, graph: StageGraph, limit: int) -> tuple[int, set[str]]:
    """Plan up to ``limit`` accepted events; returns how many, and the queues that got work."""
    rows = connection.execute(_TAKE, {"limit": limit}).all()
    if not rows:
        return 0, set()
    names = sorted({(row.source, row.product_id) for row in rows})
    named = {"sources": [source for source, _ in names], "ids": [product for _, product in names]}
    connection.execute(_ENSURE, named)
    products = {(p.source, p.product_id): p for p in connection.execute(_LOCK_NAMED, named)}
    events: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in rows:
        events[row.source, row.product_id].append(row)
    folds = {name: _fold(product, events[name]) for name, product in products.items()}
    _write_standings(connection, [(products[name].id, fold.standing) for name, fold in folds.items()])

    leaving = [(products[name], fold) for name, fold in folds.items() if fold.withdrawn]
    arriving = [(products[name], fold) for name, fold in folds.items() if fold.current is not None]
    supersede(connection, [product.id for product, _ in arriving], Verdict.SUPERSEDED)
    plans: dict[int, int] = {}
    queues: set[str] = set()
    if leaving:
        queues |= retract(connection, graph, [(p.id, p.source, p.product_id) for p, _ in leaving])
        leaving_plans = [
            NewPlan(p.id, f.standing.revision, p.generation + 1, None, *f.leaves)
            for p, f in leaving
            if f.leaves
        ]
        made = make_plans(connection, graph, leaving_plans, Purpose("withdrawal", Lane.LIVE))
        plans |= {plan.event_seq: made[plan.product_row] for plan in leaving_plans if plan.event_seq}
    new_plans = [
        NewPlan(p.id, f.current[1].revision or 0, p.generation, f.current[1].data, f.current[0],
                f.current[1].traceparent, new_facts=True)
        for p, f in arriving
        if f.current is not None and isinstance(f.current[1].data, Product)
    ]  # fmt: skip
    _drop_photos(connection, [(p, f.current[1].data) for p, f in arriving if f.current])
    made = make_plans(connection, graph, new_plans, Purpose("event", Lane.LIVE))
    plans |= {plan.event_seq: made[plan.product_row] for plan in new_plans if plan.event_seq}
    verdicts: dict[int, Verdict | None] = {}
    redact: dict[int, bool] = {}
    for fold in folds.values():
        verdicts |= {seq: v for seq, v in fold.verdicts.items() if seq not in plans}
        # Of a product of which nothing was ever read, a body is kept for the release that can.
        redact |= dict.fromkeys(fold.seqs, not fold.live and fold.standing != Standing())
        if fold.withdrawn and fold.current is not None:
            # Gone and back in one batch: what came before the return is gone all the same.
            redact |= {seq: seq != fold.current[0] for seq in fold.seqs}
    connection.execute(
        _PLANNED,
        {
            "seqs": [row.seq for row in rows],
            "plans": [plans.get(row.seq) for row in rows],
            "verdicts": [verdicts.get(row.seq) for row in rows],
            "redact": [redact[row.seq] for row in rows],
        },
    )
    touched = [product.id for product, _ in (*leaving, *arriving)]
    return len(rows), queues | advance(connection, graph, touched).queues


@dataclass(slots=True)
class _Fold:
    """A product's new events, folded: where it stands, which event is current, how the others ended."""

    standing: Standing
    live: bool
    current: tuple[int, Event] | None
    leaves: tuple[int, str | None] | None
    withdrawn: bool
    verdicts: dict[int, Verdict | None]

    @property
    def seqs(self) -> Iterable[int]:
        return self.verdicts.keys()


def _fold(product: Any, rows: Sequence[Any]) -> _Fold:
    standing = Standing(
        product.revision,
        product.by_withdrawal,
        product.event_time,
        product.event_id,
        product.blocked_at,
        product.relisted_at,
    )
    fold = _Fold(standing, product.live, None, None, False, {})
    for row in rows:
        event = _event(row)
        if event is None:
            fold.verdicts[row.seq] = Verdict.REJECTED
            continue
        fold.standing, effect = follow(fold.standing, event)
        if effect is Effect.CURRENT:
            if fold.current is not None:
                fold.verdicts[fold.current[0]] = Verdict.SUPERSEDED
            fold.current, fold.leaves = (row.seq, event), None
            fold.verdicts[row.seq] = None
        elif effect is Effect.WITHDRAWS:
            if fold.current is not None:
                fold.verdicts[fold.current[0]] = Verdict.WITHDRAWN
            if fold.leaves is not None:
                fold.verdicts[fold.leaves[0]] = Verdict.SUPERSEDED
            fold.current, fold.leaves, fold.withdrawn = None, (row.seq, row.traceparent), True
            fold.verdicts[row.seq] = Verdict.DONE
        elif effect is Effect.REFUSED:
            fold.verdicts[row.seq] = Verdict.WITHDRAWN
        else:
            fold.verdicts[row.seq] = Verdict.SUPERSEDED
    fold.live = fold.standing.live and (fold.current is not None or product.live)
    return fold


def _event(row: Any) -> Event | None:
    try:
        return parse_event(json.dumps(row.body, ensure_ascii=False).encode())
    except ContractError as error:
        # Accepted by a newer release than this one; its verdict says so and the inbox keeps the body.
        _log.error("event %s of %s: this release cannot read it: %s", row.event_id, row.source, error)
        return None


def _write_standings(connection: Connection, standings: Sequence[tuple[int, Standing]]) -> None:
    connection.execute(
        _STAND,
        {
            "ids": [row_id for row_id, _ in standings],
            "revisions": [s.revision for _, s in standings],
            "by_withdrawal": [s.by_withdrawal for _, s in standings],
            "times": [s.event_time for _, s in standings],
            "event_ids": [s.event_id for _, s in standings],
            "blocked": [s.blocked_at for _, s in standings],
            "relisted": [s.relisted_at for _, s in standings],
        },
    )


def _drop_photos(connection: Connection, arriving: Sequence[tuple[Any, Any]]) -> None:
    gone: dict[int, list[str]] = {}
    for row, product in arriving:
        before = {image["id"] for image in (row.facts or {}).get("images", ())}
        lost = before - {image.id for image in product.images}
        if lost:
            gone[row.id] = sorted(lost)
    if gone:
        connection.execute(
            _DROP_PHOTOS,
            {"products": list(gone), "gone": [json.dumps(ids) for ids in gone.values()]},
        )
