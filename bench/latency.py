"""How long a live product takes while a backfill runs, against how long it takes alone."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from sqlalchemy import text

from bench.ground import Ground, Row, events, store_blobs
from bench.stages import fill
from storage.assets import Assets
from storage.ledger import Ledger
from storage.quotes import Request
from storage.replays import Replays
from tasks._stage import announce
from workers.app import make_app
from workers.embedded import ValkeyServer
from workers.relay import Relay
from workers.supervisor import Program, Supervisor

_WINDOW = 64
_LIVE = 60
_BACKFILL = 3_000
# An item's computing, slept: the time that a model on another device would take.
_ITEM_S = 0.02


def latency(ground: Ground) -> None:
    """Live latency beside a real replay, with processes that serve live work only."""
    ledger = ground.ledger()
    with ValkeyServer(ground.folder / "valkey-latency") as valkey:
        env = {
            "BENCH_DATABASE": ledger.engine.url.render_as_string(hide_password=False),
            "BENCH_BROKER": valkey.url,
            "BENCH_ITEM_S": str(_ITEM_S),
            "BENCH_WINDOW": str(_WINDOW),
            "PYTHONPATH": str(Path.cwd()),
        }
        relay = Relay(
            ledger, Assets("memory://"), valkey.url, window=_WINDOW, retention_days=30, asset_grace_s=3600
        )
        ticking = threading.Thread(target=relay.run, daemon=True)
        command = [sys.executable, "-m", "bench.stages"]
        programs = [Program("both", command, env), Program("live", command, env | {"BENCH_LANES": "live"})]
        with Supervisor(programs, ground.folder / "logs"):
            ticking.start()
            _live(ledger, valkey.url, "warm", 20)
            idle = _live(ledger, valkey.url, "idle", _LIVE)
            _backfill(ledger)
            busy = _live(ledger, valkey.url, "busy", _LIVE)
            left = _open(ledger)
            relay.stop.set()
            ticking.join()
    if not left:
        raise RuntimeError("the backfill ended before the live products: raise _BACKFILL")
    p90, p99 = (_quantile(busy, q) / _quantile(idle, q) for q in (0.9, 0.99))
    ground.rows.append(
        Row(
            "live during a backfill / idle, p90 and p99",
            f"{p90:.1f}, {p99:.1f}",
            "p99 ≤ 2 is the aim",
            None,
            f"p99 {_quantile(idle, 0.99) * 1e3:.0f} ms → {_quantile(busy, 0.99) * 1e3:.0f} ms, all stages of "
            f"{_ITEM_S * 1e3:.0f} ms; 3 processes for both lanes, 3 for live",
        )
    )


def _live(ledger: Ledger, broker: str, prefix: str, count: int) -> list[float]:
    """Seconds from the accepted event to its verdict, one product after the other."""
    app = make_app(broker)
    store_blobs(ledger.engine, count, prefix)
    taken = []
    for event in events(count, prefix=prefix):
        started = time.perf_counter()
        ledger.accept([event])
        _, queues = ledger.plan()
        for queue in queues:
            announce(app, ledger.admit(queue, _WINDOW))
        while not _ended(ledger, event[0].id):
            time.sleep(0.002)
        taken.append(time.perf_counter() - started)
    return taken


def _backfill(ledger: Ledger) -> None:
    """A real replay: everything of many products, computed again."""
    fill(ledger, _BACKFILL)
    store_blobs(ledger.engine, _BACKFILL + 1, "fill")
    Replays(ledger.engine, ledger.graph).create(Request(force=True, window=_BACKFILL))


def _ended(ledger: Ledger, event: str) -> bool:
    with ledger.engine.connect() as connection:
        found = connection.execute(text("SELECT verdict FROM events WHERE event_id = :id"), {"id": event})
        return found.scalar_one() is not None


def _open(ledger: Ledger) -> int:
    with ledger.engine.connect() as connection:
        found: int = connection.execute(
            text("SELECT count(*) FROM replay_items WHERE verdict IN ('pending', 'planned')")
        ).scalar_one()
    return found


def _quantile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * share))]
