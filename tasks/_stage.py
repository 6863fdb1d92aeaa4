"""The stage decorator, and the single Celery task body that every stage runs in.

A message carries ids. The body claims what it may of them (topped up with other ready work), computes in one
batch, halves a batch that raises until the culprit stands alone, settles everything in one transaction and
then announces what follows. Leases, retries, fencing and reuse live here and in the ledger, never in a stage.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import random
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from celery import Celery, Task
from celery.exceptions import InvalidTaskError
from celery.worker.strategy import default as default_strategy
from kombu.exceptions import OperationalError as BrokerError
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy.exc import InterfaceError, OperationalError

from pipeline.crash import crash_point
from pipeline.errors import ConfigurationError, EngineDown
from pipeline.graph import Scope, StageSpec
from pipeline.keys import Recipe
from pipeline.outcomes import Lane, Outcome
from storage.ledger import Batch, Claimed, Ledger, Result, Settled
from tasks._batch import Item, Lease, StageFunction, compute
from tasks._runtime import Runtime

__all__ = [
    "STAGES",
    "Item",
    "Stage",
    "StageRunner",
    "announce",
    "broker_queue",
    "double",
    "load_stages",
    "register_tasks",
    "stage",
]

_log = structlog.get_logger("vitrine.stage")
_tracer = trace.get_tracer("vitrine")
_propagator = TraceContextTextMapPropagator()

# A batch lasts about this long: live work never waits behind a long backfill, and a slow stage on a small
# machine hands its first results on instead of collecting a whole burst.
_BATCH_S = {Lane.LIVE: 2.0, Lane.BACKFILL: 1.0}
_SETTLE_PATIENCE_S = 60.0
_DOWN_S = 30.0
"""How long an engine that is down is not asked again by a process that has another to ask."""


_NOBODY = EngineDown("no engine was asked yet")


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage's specification with its function."""

    spec: StageSpec
    compute: StageFunction


STAGES: dict[str, Stage] = {}
"""Every stage imported so far; ``load_stages`` fills it."""


def stage(
    *,
    version: int,
    scope: Scope,
    produces: type[Outcome],
    needs: tuple[type[Outcome], ...] = (),
    **options: Any,
) -> Callable[[StageFunction], StageFunction]:
    """Register the function as the stage of its own name; ``options`` are fields of ``StageSpec``.

    The function takes a list of items and returns as many outcomes in the same order; in the place of an
    outcome it may return an error of ``pipeline.errors`` for that item alone.
    """

    def register(compute: StageFunction) -> StageFunction:
        name = compute.__name__
        known = STAGES.get(name)
        if known is not None and known.compute.__module__ != compute.__module__:
            raise ConfigurationError(
                f"stage {name!r} is defined in {known.compute.__module__} and {compute.__module__}"
            )
        spec = StageSpec(name=name, version=version, scope=scope, produces=produces, needs=needs, **options)
        STAGES[name] = Stage(spec, compute)
        return compute

    return register


def double(name: str, of: StageFunction, produces: type[Outcome], **changes: Any) -> None:
    """Register ``name`` as what the stage ``of`` computes, once more for a model that does not serve.

    All but ``changes`` follows from that stage, so that their fingerprints agree; what it presents bears the
    prefix ``shadow_``.
    """
    original = STAGES[of.__name__]
    presents = original.spec.presents

    def present(outcome: Outcome) -> Mapping[str, Any]:
        assert presents is not None
        return {f"shadow_{field}": value for field, value in presents(outcome).items()}

    spec = replace(
        original.spec,
        name=name,
        produces=produces,
        presents=present if presents else None,
        computes_as=original.spec.name,
        **changes,
    )
    STAGES[name] = Stage(spec, original.compute)


def load_stages() -> Mapping[str, Stage]:
    """Import every stage: a new one is one file in this folder."""
    import tasks

    for module in pkgutil.iter_modules(tasks.__path__, "tasks."):
        if not module.name.startswith("tasks._"):
            importlib.import_module(module.name)
    return STAGES


def broker_queue(queue: str, lane: Lane) -> str:
    """The name of a lane's queue on the broker."""
    return f"{queue}.{lane.name.lower()}"


def announce(app: Celery, batches: Iterable[Batch]) -> None:
    """Ring the doorbell for each batch. A broker that is away costs latency only: the relay rings again."""
    for batch in batches:
        shown = ", ".join(batch.products[:8]) + (" …" if len(batch.products) > 8 else "")
        try:
            app.send_task(
                f"stage.{batch.stage}",
                args=[list(batch.jobs), int(batch.lane)],
                queue=broker_queue(batch.queue, batch.lane),
                argsrepr=f"({len(batch.jobs)} jobs, {batch.lane.name.lower()})",
                kwargsrepr=f"products: {shown}",
                retry=False,
                ignore_result=True,
            )
        except (BrokerError, OSError) as error:
            _log.warning("broker.away", stage=batch.stage, jobs=len(batch.jobs), error=str(error))
            return


def register_tasks(app: Celery, stages: Mapping[str, Stage], runner: Callable[[], StageRunner]) -> None:
    """Give ``app`` one task a stage, named ``stage.<name>`` for ever."""
    for item in stages.values():

        def body(self: Task, jobs: list[int], lane: int, _stage: Stage = item) -> dict[str, int]:
            return runner().run(_stage, jobs, Lane(lane))

        app.task(
            name=f"stage.{item.spec.name}",
            bind=True,
            ignore_result=True,
            Strategy="tasks._stage:strict_strategy",
        )(body)


def strict_strategy(task: Task, app: Celery, consumer: Any, **options: Any) -> Callable[..., Any]:
    """Celery's own strategy, but a malformed message is rejected.

    Without this its error ends the worker, the broker delivers the message again, and no worker stays alive.
    """
    handle = default_strategy(task, app, consumer, **options)

    def handler(*args: Any, **kwargs: Any) -> Any:
        try:
            return handle(*args, **kwargs)
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise InvalidTaskError(f"malformed message: {error}") from error

    return handler


class StageRunner:
    """Runs batches of one process: claim, compute, settle, announce."""

    def __init__(self, app: Celery, runtime: Runtime, window: int) -> None:
        self._app = app
        self._runtime = runtime
        self._ledger: Ledger = runtime.ledger
        self._window = window
        self._seconds: dict[str, float] = {}
        self._down: dict[str, float] = {}
        self._worker = f"{socket.gethostname()}:{os.getpid()}"

    def run(self, stage: Stage, jobs: Sequence[int], lane: Lane) -> dict[str, int]:
        """Serve one message; returns counts for the operator."""
        counts = {"claimed": 0, "done": 0, "failed": 0, "refused": 0}
        self._ledger.refresh()
        spec = self._ledger.graph.stages.get(stage.spec.name)
        if spec is None:
            # Of a model that has been given up since the message was sent.
            return counts
        claimed, queues = self._ledger.claim(
            spec, jobs, lane=lane, limit=self._limit(spec, lane), worker=self._worker
        )
        counts["claimed"] = len(claimed)
        if claimed:
            crash_point(f"{spec.name}.claimed")
            with Lease(self._ledger, spec, claimed):
                started = time.time()
                results = self._compute(stage, spec, claimed)
                crash_point(f"{spec.name}.computed")
                settled = self._settle(results)
            crash_point(f"{spec.name}.settled")
            announce(self._app, self._ledger.batches(settled))
            queues |= settled.news.queues
            done = [r for r in results if r.outcome is not None and r.job_id in settled.accepted]
            counts |= {
                "done": len(done),
                "failed": len(results) - len(done) - len(settled.refused),
                "refused": len(settled.refused),
            }
            self._report(spec, claimed, results, counts, started)
        for queue in sorted(queues):
            announce(self._app, self._ledger.admit(queue, self._window))
        return counts

    def _limit(self, spec: StageSpec, lane: Lane) -> int:
        seconds = self._seconds.get(spec.name)
        if seconds is None:
            return 1
        return max(1, min(spec.batch, int(_BATCH_S[lane] / max(seconds, 1e-4))))

    def _compute(self, stage: Stage, spec: StageSpec, claimed: Sequence[Claimed]) -> list[Result]:
        started = time.perf_counter()
        producers = {spec.produces: name for name, spec in self._ledger.graph.stages.items()}
        items = [Item(item, producers) for item in claimed]
        outcomes, fallbacks = self._answers(stage, spec, items)
        seconds = (time.perf_counter() - started) / len(items)
        previous = self._seconds.get(spec.name, seconds)
        self._seconds[spec.name] = 0.7 * previous + 0.3 * seconds
        results = []
        for item, outcome, fallback in zip(claimed, outcomes, fallbacks, strict=True):
            if isinstance(outcome, BaseException):
                decision = spec.retry.decide(outcome, item.attempt, random.random())  # noqa: S311 -- jitter
                results.append(Result(item.job_id, item.token, decision=decision, seconds=seconds))
            else:
                results.append(Result(item.job_id, item.token, outcome, seconds=seconds, fallback=fallback))
        return results

    def _answers(
        self, stage: Stage, spec: StageSpec, items: Sequence[Item]
    ) -> tuple[list[Outcome | BaseException], list[Recipe | None]]:
        """The outcomes, or errors in their places, and by which fallback where one answered.

        An engine that is down costs a batch one timeout, and those after it none: for a while it is passed over.
        """
        graph = self._ledger.graph
        chains = [graph.rule_of(spec.name, item.claimed.recipe, item.product) for item in items]
        outcomes: list[Outcome | BaseException] = [_NOBODY] * len(items)
        answered: list[Recipe | None] = [None] * len(items)
        for place in range(1 + max(len(rule.fallbacks) for rule in chains)):
            groups: defaultdict[str, list[int]] = defaultdict(list)
            for n, rule in enumerate(chains):
                if isinstance(outcomes[n], EngineDown) and place <= len(rule.fallbacks):
                    groups[rule.chain[place].key].append(n)
            for members in groups.values():
                rule = chains[members[0]]
                recipe = rule.chain[place]
                last = all(place == len(chains[n].fallbacks) for n in members)
                if not last and time.monotonic() < self._down.get(recipe.engine, 0.0):
                    continue
                told = compute(stage.compute, [items[n] for n in members], self._runtime.serving(recipe))
                for n, outcome in zip(members, told, strict=True):
                    outcomes[n] = outcome
                    answered[n] = recipe if place else None
                if any(isinstance(outcome, EngineDown) for outcome in told):
                    self._down[recipe.engine] = time.monotonic() + _DOWN_S
        return outcomes, answered

    def _settle(self, results: Sequence[Result]) -> Settled:
        """Settle, patiently: a database that restarts must not cost finished work."""
        deadline = time.monotonic() + _SETTLE_PATIENCE_S
        while True:
            try:
                return self._ledger.settle(results, self._window)
            except (OperationalError, InterfaceError) as error:
                if time.monotonic() > deadline:
                    raise
                _log.warning("database.away", error=str(error).splitlines()[0])
                time.sleep(0.5)

    def _report(
        self,
        spec: StageSpec,
        claimed: Sequence[Claimed],
        results: Sequence[Result],
        counts: Mapping[str, int],
        started: float,
    ) -> None:
        ended = time.time()
        traces = [_span(spec, item, started, ended) for item in claimed]
        _log.info(
            f"stage.{spec.name}",
            **counts,
            seconds=round(ended - started, 3),
            runs=[item.run_id for item in claimed],
            products=[item.product_id for item in claimed],
            events=[item.event_id for item in claimed],
            traces=traces,
        )
        for item, result in zip(claimed, results, strict=True):
            if result.decision is not None:
                _log.warning(
                    f"stage.{spec.name}.{type(result.decision).__name__.lower()}",
                    run=item.run_id,
                    product=item.product_id,
                    event_id=item.event_id,
                    target=item.target,
                    attempt=item.attempt,
                    error=result.decision.error[:300],
                )


def _span(spec: StageSpec, item: Claimed, started: float, ended: float) -> str:
    """Record the stage's part in the event's trace, where traces are exported; returns the trace id."""
    parent = _propagator.extract({"traceparent": item.traceparent or ""})
    span = _tracer.start_span(f"stage.{spec.name}", context=parent, start_time=int(started * 1e9))
    if span.is_recording():
        span.set_attributes({"vitrine.product": item.product_id, "vitrine.run": item.run_id})
        span.end(end_time=int(ended * 1e9))
    return trace.format_trace_id(span.get_span_context().trace_id)
