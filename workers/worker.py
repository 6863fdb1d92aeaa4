"""A stage worker: Celery's prefork pool, each child with its own runtime and its own models.

Children are forked before any model library is imported, so that torch is first used in the child; a child
that dies is replaced by the pool, and one that hangs past its deadline ends itself. A worker that stays alive
but no longer takes what waits for it ends itself too: a supervisor's restart is the cure (celery #8030, #10205).
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import structlog
from celery import Celery, signals
from celery.worker import state
from kombu.exceptions import OperationalError as BrokerError

from pipeline.outcomes import Lane
from tasks._runtime import Runtime
from tasks._stage import Stage, StageRunner, broker_queue, register_tasks
from workers.app import make_app, queue_depths
from workers.telemetry import configure_logging, configure_tracing

_log = structlog.get_logger("vitrine.worker")

_EXIT_SILENT = 75  # EX_TEMPFAIL of sysexits.h


def make_worker_app(
    broker_url: str,
    stages: Mapping[str, Stage],
    runtime: Callable[[], Runtime],
    *,
    window: int,
    log: Literal["console", "json"] = "console",
) -> Celery:
    """The application with every stage as a task; ``runtime`` is called once in each child."""
    app = make_app(broker_url)
    runners: list[StageRunner] = []

    def runner() -> StageRunner:
        if not runners:
            runners.append(StageRunner(app, runtime(), window))
        return runners[0]

    def start(**_: object) -> None:
        configure_tracing()
        runner()
        # What was imported lives as long as the process: the collector need not walk over it again and again.
        gc.collect()
        gc.freeze()
        # A batch makes thousands of short-lived rows and no cycles: looking for some at every 700th is waste.
        gc.set_threshold(50_000, 20, 50)

    def set_up_logging(**_: object) -> None:
        configure_logging(log)

    signals.worker_process_init.connect(start, weak=False)
    signals.setup_logging.connect(set_up_logging, weak=False)
    register_tasks(app, stages, runner)
    return app


def run_worker(
    app: Celery,
    queues: Sequence[str],
    concurrency: int,
    name: str,
    *,
    lanes: Sequence[Lane] = tuple(Lane),
    silence_s: float = 60.0,
) -> None:
    """Serve ``lanes`` of ``queues`` until a signal ends the process; live queues come first.

    Processes that serve both lanes may all be inside a backfill batch when a live event comes; one that serves
    the live lane alone is then free for it.
    """
    names = [broker_queue(queue, lane) for lane in sorted(lanes) for queue in queues]

    def watch(**_: object) -> None:
        threading.Thread(target=_watch, args=(app, names, silence_s), name="watch", daemon=True).start()

    signals.worker_ready.connect(watch, weak=False)
    app.worker_main(
        [
            "worker",
            "--pool=prefork",
            f"--concurrency={concurrency}",
            f"--queues={','.join(names)}",
            f"--hostname={name}@%h",
            "--without-gossip",
            "--without-mingle",
            "--events",
            "--loglevel=INFO",
        ]
    )


def _watch(app: Celery, names: Sequence[str], silence_s: float) -> None:
    """End the process when messages wait, nothing runs and nothing was taken for ``silence_s`` seconds.

    A process id says nothing about a worker; progress while its queue is not empty does.
    """
    taken, since = -1, time.monotonic()
    while True:
        time.sleep(silence_s / 4)
        now, before = time.monotonic(), taken
        taken = sum(state.total_count.values())
        try:
            idle = not state.active_requests and taken == before and any(queue_depths(app, names).values())
        except (BrokerError, OSError):
            idle = False
        if not idle:
            since = now
        elif now - since > silence_s:
            _log.error("worker.silent", queues=list(names), seconds=round(now - since))
            os._exit(_EXIT_SILENT)
