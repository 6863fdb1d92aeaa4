"""A stage worker: Celery's prefork pool, each child with its own runtime and its own models.

Children are forked before any model library is imported, so that torch is first used in the child; a child
that dies is replaced by the pool, and one that hangs past its deadline ends itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from celery import Celery, signals

from pipeline.outcomes import Lane
from tasks._stage import StageRunner, broker_queue, load_stages, register_tasks
from workers.app import make_app
from workers.bootstrap import build_runtime
from workers.settings import Settings
from workers.telemetry import configure_logging, configure_tracing


def make_worker_app(settings: Settings, concurrency: int) -> Celery:
    """The application with every stage as a task; runtimes are built in the children."""
    app = make_app(settings.broker_url)
    runners: list[StageRunner] = []

    def runner() -> StageRunner:
        if not runners:
            threads = max(1, (os.cpu_count() or 1) // concurrency)
            runners.append(StageRunner(app, build_runtime(settings, threads), settings.window))
        return runners[0]

    @signals.worker_process_init.connect(weak=False)
    def _start(**_: object) -> None:
        configure_tracing()
        runner()

    @signals.setup_logging.connect(weak=False)
    def _logging(**_: object) -> None:
        configure_logging(settings.log)

    register_tasks(app, load_stages(), runner)
    return app


def run_worker(settings: Settings, queues: Sequence[str], concurrency: int, name: str) -> None:
    """Serve both lanes of ``queues`` until a signal ends the process; live queues come first."""
    app = make_worker_app(settings, concurrency)
    names = [broker_queue(queue, lane) for lane in Lane for queue in queues]
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
