"""What a replay is about and what it would cost, told before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, text

from pipeline.errors import RejectedInput
from pipeline.graph import Scope, StageGraph
from pipeline.routing import folded
from storage.ledger.statements import records

# What each stage is computed by today, of a product `p`: alike for all, or by the first rule that takes it, as
# pipeline/routing.py decides it.
_ALIKE = "unnest(CAST(:stages AS text[]), CAST(:recipes AS text[])) AS s (stage, recipe)"
_ROUTED = """(
    SELECT DISTINCT ON (u.stage) u.stage, u.recipe
    FROM json_to_recordset(CAST(:rules AS json)) AS u (place int, stage text, recipe text, categories text[],
        tiers text[], locales text[], below int)
    WHERE (cardinality(u.categories) = 0 OR EXISTS (SELECT FROM unnest(u.categories) AS c (beginning)
            WHERE starts_with(lower(p.facts->>'category' COLLATE "C"), c.beginning)))
      AND (cardinality(u.tiers) = 0 OR p.facts->>'tier' = ANY(u.tiers))
      AND (cardinality(u.locales) = 0 OR EXISTS (SELECT FROM unnest(u.locales) AS l (beginning)
            WHERE starts_with(lower(p.facts->>'locale' COLLATE "C"), l.beginning)))
      AND mod(get_byte(sha256(convert_to(p.product_id, 'UTF8')), 0) * 256
            + get_byte(sha256(convert_to(p.product_id, 'UTF8')), 1), 100) < u.below
    ORDER BY u.stage, u.place) AS s"""

_SELECTION = """
p.live
AND (CAST(:products AS text[]) IS NULL OR p.product_id = ANY(:products))
AND (CAST(:source AS text) IS NULL OR p.source = :source)
AND (CAST(:category AS text) IS NULL OR p.facts->>'category' ILIKE :category || '%')
AND (NOT :by_event OR EXISTS (
    SELECT FROM events e WHERE e.source = p.source AND e.product_id = p.product_id
      AND (CAST(:since AS timestamptz) IS NULL OR e.time >= :since)
      AND (CAST(:until AS timestamptz) IS NULL OR e.time < :until)
      AND (CAST(:types AS text[]) IS NULL OR e.type = ANY(:types))
      AND (CAST(:verdicts AS text[]) IS NULL OR e.verdict = ANY(:verdicts))))
AND (CAST(:engine AS text) IS NULL OR EXISTS (
    SELECT FROM runs r JOIN jobs j ON j.id = r.job_id WHERE r.plan_id = p.plan_id
      AND split_part(j.engine, '@', 1) = :engine))
AND (NOT :stale_only OR EXISTS (
    SELECT FROM {today}
    WHERE s.stage = ANY(:wanted) AND NOT EXISTS (
        SELECT FROM runs r JOIN jobs j ON j.id = r.job_id
        WHERE r.plan_id = p.plan_id AND r.stage = s.stage AND j.recipe = s.recipe AND j.state = 'done')))
"""
_COUNT = "SELECT count(*) FROM products p WHERE {selection}"
# An upper bound: an input that comes out as before saves everything behind it.
_QUOTE = """
WITH selected AS (
    SELECT p.id, p.product_id, p.plan_id, p.facts, NOT :force AND p.signature = :signature AS unchanged
    FROM products p WHERE {selection}
), stages AS (
    SELECT * FROM unnest(CAST(:stages AS text[]), CAST(:slots AS int[])) AS s (stage, slots)
), lineage AS (
    SELECT * FROM unnest(CAST(:line_stage AS text[]), CAST(:line_ancestor AS text[])) AS l (stage, ancestor)
), known AS (
    SELECT p.id, r.stage, r.target, p.unchanged,
           (j.id IS NOT NULL AND (j.state <> 'done' OR j.recipe IS DISTINCT FROM s.recipe))
           OR (:force AND (cardinality(CAST(:wanted AS text[])) = 0 OR r.stage = ANY(:wanted))) AS stale
    FROM selected p CROSS JOIN LATERAL {today} JOIN runs r ON r.plan_id = p.plan_id AND r.stage = s.stage
    LEFT JOIN jobs j ON j.id = r.job_id
), moved AS (
    SELECT DISTINCT k.id, l.stage FROM known k JOIN lineage l ON l.ancestor = k.stage
    WHERE k.stale AND NOT k.unchanged
), missing AS (
    SELECT st.stage, sum(COALESCE(st.slots, jsonb_array_length(s.facts->'images'))) AS runs
    FROM selected s CROSS JOIN stages st
    WHERE NOT s.unchanged AND NOT EXISTS (SELECT FROM runs r WHERE r.plan_id = s.plan_id AND r.stage = st.stage)
    GROUP BY 1
)
SELECT st.stage,
       COALESCE(c.compute, 0) + COALESCE(m.runs, 0) AS compute, COALESCE(c.reuse, 0) AS reuse,
       (SELECT avg(seconds) FROM (SELECT seconds FROM jobs j WHERE j.stage = st.stage AND j.state = 'done'
                                  ORDER BY j.finished_at DESC NULLS LAST LIMIT 1000) recent) AS seconds
FROM stages st
LEFT JOIN missing m ON m.stage = st.stage
LEFT JOIN (
    SELECT k.stage, count(*) FILTER (WHERE mv.id IS NOT NULL) AS compute,
           count(*) FILTER (WHERE mv.id IS NULL) AS reuse
    FROM known k LEFT JOIN moved mv ON mv.id = k.id AND mv.stage = k.stage GROUP BY 1
) c ON c.stage = st.stage
"""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which live products a replay is about; what is left out does not narrow."""

    products: tuple[str, ...] = ()
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    types: tuple[str, ...] = ()
    category: str | None = None
    engine: str | None = None
    verdicts: tuple[str, ...] = ()

    def values(self) -> dict[str, Any]:
        return {
            "products": list(self.products) or None,
            "source": self.source,
            "since": self.since,
            "until": self.until,
            "types": list(self.types) or None,
            "category": self.category,
            "engine": self.engine,
            "verdicts": list(self.verdicts) or None,
            "by_event": bool(self.since or self.until or self.types or self.verdicts),
        }


@dataclass(frozen=True, slots=True)
class StageQuote:
    """What a replay would do in one stage; ``compute`` is an upper bound, ``seconds`` its estimate."""

    stage: str
    queue: str
    compute: int
    reuse: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Quote:
    """What a replay would cost."""

    products: int
    stages: tuple[StageQuote, ...]

    def seconds_by_queue(self) -> dict[str, float]:
        """Estimated seconds of computing by queue, from measured history; without history a stage counts 0."""
        totals: dict[str, float] = {}
        for stage in self.stages:
            totals[stage.queue] = totals.get(stage.queue, 0.0) + (stage.seconds or 0.0)
        return totals


@dataclass(frozen=True, slots=True)
class Request:
    """A replay to be made. With ``stages`` and without ``force``: only products where one is missing or stale."""

    selection: Selection = field(default_factory=Selection)
    stages: tuple[str, ...] = ()
    force: bool = False
    review: bool = False
    rate: float | None = None
    window: int = 100


def quote(engine: Engine, graph: StageGraph, request: Request) -> Quote:
    """What ``request`` would compute and reuse. Changes nothing."""
    stages = graph.stages
    lineage = [(s, a) for a in stages for s in (a, *graph.descendants(a))]
    values = values_of(graph, request) | {
        "force": request.force,
        "signature": graph.signature,
        "slots": [None if spec.scope is Scope.IMAGE else len(spec.targets(())) for spec in stages.values()],
        "line_stage": [stage for stage, _ in lineage],
        "line_ancestor": [ancestor for _, ancestor in lineage],
    }
    with engine.connect() as connection:
        count = text(_COUNT.format(selection=selection(graph)))
        products = connection.execute(count, values_of(graph, request)).scalar_one()
        asked = text(_QUOTE.format(selection=selection(graph), today=_today(graph)))
        rows = {row.stage: row for row in connection.execute(asked, values)}
    return Quote(
        products,
        tuple(
            StageQuote(
                name,
                spec.queue,
                int(rows[name].compute),
                int(rows[name].reuse),
                None if rows[name].seconds is None else rows[name].seconds * int(rows[name].compute),
            )
            for name, spec in stages.items()
        ),
    )


def selection(graph: StageGraph) -> str:
    """The SQL condition on a product ``p`` to be part of a request; ``values_of`` are its parameters."""
    return _SELECTION.format(today=_today(graph))


def _today(graph: StageGraph) -> str:
    return _ROUTED if graph.routed else _ALIKE


def values_of(graph: StageGraph, request: Request) -> dict[str, Any]:
    """The parameters of ``selection``. Raises RejectedInput for a stage that does not exist."""
    unknown = sorted(set(request.stages) - set(graph.stages))
    if unknown:
        known = ", ".join(graph.stages)
        raise RejectedInput("unknown-stage", f"there is no stage {unknown[0]!r}; known stages: {known}")
    today = (
        {"rules": records(_rules(graph))}
        if graph.routed
        else {"recipes": [recipe.key for recipe in graph.recipes.values()]}
    )
    return request.selection.values() | {
        "stages": list(graph.stages),
        **today,
        "wanted": list(request.stages),
        "stale_only": bool(request.stages) and not request.force,
    }


def _rules(graph: StageGraph) -> Iterator[dict[str, Any]]:
    for stage, rules in graph.rules.items():
        for place, rule in enumerate(rules):
            yield {
                "place": place,
                "stage": stage,
                "recipe": rule.recipe.key,
                "categories": [folded(one) for one in rule.categories],
                "tiers": list(rule.tiers),
                "locales": [folded(one) for one in rule.locales],
                "below": rule.below,
            }
