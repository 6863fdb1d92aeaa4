"""A stage worker: Celery's prefork pool, each child with its own runtime and its own models.

Children are forked before any model library is imported, so that torch is first used in the child; a child
that dies is replaced by the pool, and one that hangs past its deadline ends itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from celery import Celery, signals

from pipeline.outcomes import Lane
from tasks._runtime import Runtime
from tasks._stage import Stage, StageRunner, broker_queue, register_tasks
from workers.app import make_app
from workers.telemetry import configure_logging, configure_tracing


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

    def set_up_logging(**_: object) -> None:
        configure_logging(log)

    signals.worker_process_init.connect(start, weak=False)
    signals.setup_logging.connect(set_up_logging, weak=False)
    register_tasks(app, stages, runner)
    return app


def run_worker(app: Celery, queues: Sequence[str], concurrency: int, name: str) -> None:
    """Serve both lanes of ``queues`` until a signal ends the process; live queues come first."""
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
