"""Prometheus metrics, read from Postgres by the relay: the truth, whichever process did the work."""

from __future__ import annotations

import time
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from sqlalchemy import Engine, text

_EVERY_S = 5.0
# Transactions that finished a job and are not committed yet must not be missed by the next look.
_LAG = "interval '3 seconds'"

_READY = text("""
SELECT queue, lane, count(*) AS jobs, COALESCE(EXTRACT(epoch FROM now() - min(not_before)), 0) AS age
FROM jobs WHERE state = 'ready' AND not_before <= now() GROUP BY queue, lane
""")
_PARKED = text("SELECT stage, COALESCE(reason, '') AS reason, count(*) AS jobs FROM jobs "
               "WHERE state = 'parked' GROUP BY 1, 2")  # fmt: skip
_FINISHED = text(f"""
SELECT stage, engine, state, seconds FROM jobs
WHERE finished_at > :since AND finished_at <= now() - {_LAG}
""")
_CLOSED = text(f"""
SELECT pl.verdict, pl.cause, count(DISTINCT pl.id) AS plans,
       count(r.id) FILTER (WHERE r.state = 'reused') AS reused
FROM plans pl LEFT JOIN runs r ON r.plan_id = pl.id
WHERE pl.closed_at > :since AND pl.closed_at <= now() - {_LAG} GROUP BY 1, 2
""")
_INBOX = text("""
SELECT count(*) FILTER (WHERE planned_at IS NULL) AS unplanned FROM events WHERE planned_at IS NULL
""")
_NOW = text(f"SELECT now() - {_LAG}")


class Metrics:
    """What an operator watches: depth and age of queues, durations, outcomes, reuse, parked work."""

    def __init__(self, engine: Engine, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._engine = engine
        self._since: datetime | None = None
        self._at = 0.0
        r = self.registry
        self._depth = Gauge("vitrine_queue_jobs", "Jobs that are ready", ["queue", "lane"], registry=r)
        self._age = Gauge(
            "vitrine_queue_age_seconds", "How long the oldest ready job waits", ["queue", "lane"], registry=r
        )
        self._parked = Gauge(
            "vitrine_parked_jobs", "Jobs set aside for a person", ["stage", "reason"], registry=r
        )
        self._unplanned = Gauge("vitrine_events_unplanned", "Accepted events not planned yet", registry=r)
        self._seconds = Histogram(
            "vitrine_stage_seconds",
            "Seconds of computing one item",
            ["stage", "engine"],
            buckets=(0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            registry=r,
        )
        self._jobs = Counter("vitrine_jobs", "Jobs that ended", ["stage", "engine", "state"], registry=r)
        self._plans = Counter("vitrine_plans", "Plans that ended", ["cause", "verdict"], registry=r)
        self._reused = Counter("vitrine_runs_reused", "Runs answered without computing", registry=r)

    def serve(self, host: str, port: int) -> None:
        """Serve ``/metrics``."""
        start_http_server(port, addr=host, registry=self.registry)

    def observe(self) -> None:
        """Look, if the last look is some seconds ago."""
        if time.monotonic() < self._at:
            return
        self._at = time.monotonic() + _EVERY_S
        with self._engine.connect() as connection:
            now = connection.execute(_NOW).scalar_one()
            since = self._since or now
            for gauge in (self._depth, self._age, self._parked):
                gauge.clear()
            for row in connection.execute(_READY):
                lane = "live" if row.lane == 0 else "backfill"
                self._depth.labels(row.queue, lane).set(row.jobs)
                self._age.labels(row.queue, lane).set(float(row.age))
            for row in connection.execute(_PARKED):
                self._parked.labels(row.stage, row.reason).set(row.jobs)
            self._unplanned.set(connection.execute(_INBOX).scalar_one())
            for row in connection.execute(_FINISHED, {"since": since}):
                self._jobs.labels(row.stage, row.engine, row.state).inc()
                if row.seconds is not None:
                    self._seconds.labels(row.stage, row.engine).observe(row.seconds)
            for row in connection.execute(_CLOSED, {"since": since}):
                self._plans.labels(row.cause, row.verdict).inc(row.plans)
                self._reused.inc(row.reused)
            self._since = now
