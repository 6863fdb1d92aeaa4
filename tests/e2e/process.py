"""Entry point of the processes under test: the real intake, relay and worker, over quick stub stages.

``python -m tests.e2e.process intake|relay|worker``; addresses come from the environment.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from engines.devices import Device
from engines.kit import Kit
from engines.registry import Engines
from pipeline.errors import RejectedInput, VitrineError
from pipeline.graph import StageGraph
from pipeline.outcomes import Outcome
from pipeline.retry import RetryPolicy
from storage.assets import Assets
from storage.database import open_database
from storage.downloads import Downloads
from storage.fetch import Fetcher, FetchPolicy
from storage.ledger import Ledger
from storage.provenance import Signer
from storage.vectors import VectorIndex
from tasks._runtime import Runtime
from tasks._stage import Item, Stage
from tests.factories import compute, specs
from workers.intake import Intake
from workers.relay import Relay
from workers.telemetry import configure_logging
from workers.worker import make_worker_app, run_worker

LEASE_S = 2.0
WINDOW = 64


def graph() -> StageGraph:
    """The stub stages with short leases and an effect that leaves a trace outside."""
    return StageGraph(specs(effect=True, lease_s=LEASE_S, retry=RetryPolicy(first_s=0.2)), {})


def main(role: str) -> None:
    configure_logging("console")
    broker, database = os.environ["TEST_BROKER"], os.environ["TEST_DATABASE"]
    if role == "worker":
        stages = {name: Stage(spec, _function(name)) for name, spec in graph().stages.items()}
        app = make_worker_app(broker, stages, lambda: _runtime(database), window=WINDOW)
        run_worker(
            app,
            ["fetch", "vision", "effects"],
            int(os.environ.get("TEST_CONCURRENCY", "2")),
            "test",
            silence_s=2,
        )
        return
    ledger = Ledger(open_database(database), graph())
    process = (
        Intake(ledger, broker, WINDOW)
        if role == "intake"
        else Relay(
            ledger,
            Assets("memory://"),
            broker,
            window=WINDOW,
            retention_days=1,
            asset_grace_s=3600,
        )
    )

    def end(_signal: int, _frame: FrameType | None) -> None:
        process.stop.set()

    signal.signal(signal.SIGTERM, end)
    process.run()


def _runtime(database: str) -> Runtime:
    ledger = Ledger(open_database(database), graph())
    return Runtime(
        ledger=ledger,
        assets=Assets("memory://"),
        fetcher=Fetcher(FetchPolicy()),
        downloads=Downloads(ledger.engine),
        engines=Engines(Kit(), Device("cpu", "float32", 1), registered={}),
        index=VectorIndex(""),
        signing=lambda: Signer(b"", b""),
    )


def _function(name: str) -> Callable[[Sequence[Item], Runtime], list[Outcome | VitrineError]]:
    def function(items: Sequence[Item], _: Runtime) -> list[Outcome | VitrineError]:
        return [_one(name, item) for item in items]

    return function


def _one(name: str, item: Item) -> Outcome | VitrineError:
    url = item.claimed.image.url if item.claimed.image else ""
    if name == "fetch":
        if "poison" in url:
            os.kill(os.getpid(), signal.SIGKILL)
        if "broken" in url:
            return RejectedInput("photo-not-found", "no such photo")
        if "gate" in url:
            # Announces that it has begun, then waits for the test to open the gate.
            folder = Path(os.environ["TEST_FOLDER"])
            (folder / f"begun-{os.getpid()}").touch()
            while not (folder / "open").exists():
                time.sleep(0.02)
    if name == "announce":
        with Path(os.environ["TEST_EFFECTS"]).open("a") as log:
            live = "live" if item.claimed.cause != "withdrawal" else "gone"
            log.write(f"{item.claimed.product_id} {item.claimed.revision} {item.claimed.generation} {live}\n")
    return compute(item.claimed, name)


if __name__ == "__main__":
    main(sys.argv[1])
