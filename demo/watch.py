"""How far the demo is, read from Postgres: what the events came to, and what each stage did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Engine, text

from pipeline.events import ProductEvent
from pipeline.graph import StageGraph

_KNOWN = text("""
SELECT count(*) FROM events e
JOIN unnest(CAST(:sources AS text[]), CAST(:ids AS text[])) AS u (source, id)
  ON e.source = u.source AND e.event_id = u.id
""")
_VERDICTS = text("""
SELECT e.source, e.product_id, e.verdict, e.verdict_at FROM events e
JOIN unnest(CAST(:sources AS text[]), CAST(:ids AS text[])) AS u (source, id)
  ON e.source = u.source AND e.event_id = u.id
ORDER BY e.verdict_at, e.seq
""")
# Two runs may share a job: the same photo under another product is computed once.
_STAGES = text("""
SELECT r.stage, max(j.engine) AS engine,
       count(*) FILTER (WHERE r.state NOT IN ('waiting', 'ready')) AS settled,
       count(*) FILTER (WHERE r.state = 'parked') AS parked,
       count(*) FILTER (WHERE r.state = 'skipped') AS skipped,
       count(*) FILTER (WHERE r.state IN ('done', 'reused') AND r.settled_at < :since) AS there_before,
       count(DISTINCT j.id) FILTER (WHERE j.state = 'done' AND j.finished_at >= :since) AS computed,
       count(*) FILTER (WHERE r.state IN ('done', 'reused') AND r.settled_at >= :since) AS served,
       count(*) FILTER (WHERE j.state = 'running') AS running,
       avg(j.seconds) FILTER (WHERE j.state = 'done') AS seconds
FROM products p
JOIN unnest(CAST(:sources AS text[]), CAST(:products AS text[])) AS u (source, id)
  ON p.source = u.source AND p.product_id = u.id
JOIN runs r ON r.plan_id = p.plan_id LEFT JOIN jobs j ON j.id = r.job_id
GROUP BY 1
""")


@dataclass(frozen=True, slots=True)
class StageCount:
    """What one stage did with the demo's products, in runs.

    ``computed`` counts what was worked out since the demo began, ``reused`` what was served since then from
    a result that existed already, ``there_before`` what earlier runs of the demo left. ``seconds`` is the
    mean an item, None before the first.
    """

    name: str
    engine: str
    total: int
    settled: int = 0
    computed: int = 0
    reused: int = 0
    there_before: int = 0
    parked: int = 0
    skipped: int = 0
    running: int = 0
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A product whose event has its verdict."""

    source: str
    product_id: str
    verdict: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """How everything stands at one moment; ``since`` is when the demo began."""

    since: datetime
    events: int
    accepted: int
    finished: tuple[Finished, ...]
    stages: tuple[StageCount, ...]

    @property
    def complete(self) -> bool:
        """Whether every event has its verdict."""
        return len(self.finished) == self.events

    @property
    def computed(self) -> int:
        """Over all stages, in results."""
        return sum(stage.computed for stage in self.stages)

    @property
    def there_before(self) -> int:
        """Over all stages, in runs."""
        return sum(stage.there_before for stage in self.stages)


class Watch:
    """Looks at the demo's events; ``since`` is the database's time at which it began to."""

    def __init__(self, engine: Engine, graph: StageGraph, events: Sequence[ProductEvent]) -> None:
        self._engine = engine
        self._events = events
        self._ids = {"sources": [e.source for e in events], "ids": [e.id for e in events]}
        self._products = {"sources": [e.source for e in events], "products": [e.product_id for e in events]}
        self._empty: Final[Mapping[str, StageCount]] = {
            name: StageCount(
                name,
                graph.recipes[name].label,
                sum(len(spec.targets(i.id for i in e.data.images)) for e in events),
            )
            for name, spec in graph.stages.items()
        }
        with engine.connect() as connection:
            self.since: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
            self.known: int = connection.execute(_KNOWN, self._ids).scalar_one()

    def look(self) -> Standing:
        """How everything stands now."""
        with self._engine.connect() as connection:
            rows = connection.execute(_VERDICTS, self._ids).all()
            counted = connection.execute(_STAGES, {"since": self.since, **self._products})
            stages = dict(self._empty)
            for row in counted:
                if (stage := stages.get(row.stage)) is None:
                    continue
                stages[row.stage] = StageCount(
                    name=row.stage,
                    engine=row.engine or stage.engine,
                    total=stage.total,
                    settled=row.settled,
                    computed=row.computed,
                    reused=row.served - min(row.computed, row.served),
                    there_before=row.there_before,
                    parked=row.parked,
                    skipped=row.skipped,
                    running=row.running,
                    seconds=row.seconds,
                )
        finished = (Finished(r.source, r.product_id, r.verdict, r.verdict_at) for r in rows if r.verdict)
        return Standing(self.since, len(self._events), len(rows), tuple(finished), tuple(stages.values()))
