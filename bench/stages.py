"""What a product costs besides its models: real Celery workers, broker and Postgres, answers from memory."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from sqlalchemy import text

from bench.ground import Ground, Row, canned, events, graph, store_blobs, stub_stages
from engines.devices import Device
from engines.kit import Kit
from engines.registry import Engines
from pipeline.outcomes import Lane
from storage.assets import Assets
from storage.database import open_database
from storage.downloads import Downloads
from storage.fetch import Fetcher, FetchPolicy
from storage.ledger import Ledger
from storage.provenance import Signer
from storage.vectors import VectorIndex
from tasks._runtime import Runtime
from workers.embedded import ValkeyServer
from workers.relay import Relay
from workers.supervisor import Program, Supervisor
from workers.worker import make_worker_app, run_worker

_STAGE_MS = 0.4
"""The aim was 2 ms a product when it had five stages; a stage must not cost more because there are others."""
_PRODUCTS = 8_000
_WINDOW = 512
# One more than there are cores: while one waits for its commit, the others compute.
_PROCESSES = 3


def stages(ground: Ground) -> float:
    """2 ms a product, and more products make none dearer; returns milliseconds a product."""
    ledger = ground.ledger()
    small = _measure(ground, ledger, "small", 1_000)
    fill(ledger, 100_000)
    large = _measure(ground, ledger, "large", 1_000)
    cost = _measure(ground, ledger, "cost", _PRODUCTS)
    stages_ = len(ledger.graph.stages)
    a_stage = min(cost, large) / stages_
    ground.rows.append(
        Row(
            "a product with stub engines, a stage of it",
            f"{a_stage:.2f} ms",
            f"≤ {_STAGE_MS} ms",
            a_stage <= _STAGE_MS,
            f"{min(cost, large):.2f} ms over {stages_} stages; {os.cpu_count()} cores, {_PROCESSES} worker "
            "processes, batches of 32; no engines, pixels, asset writes",
        )
    )
    ground.rows.append(
        Row(
            "cost a product, 100k products / 1k products",
            f"{large / small:.2f}",
            "flat: about 1",
            large / small < 1.25,
            f"{small:.2f} ms → {large:.2f} ms",
        )
    )
    return min(cost, large)


def _measure(ground: Ground, ledger: Ledger, prefix: str, count: int) -> float:
    """Milliseconds a product from the first claim to the last verdict, everything accepted and planned before."""
    store_blobs(ledger.engine, count, prefix)
    batch = events(count, prefix=prefix)
    for start in range(0, count, 500):
        ledger.accept(batch[start : start + 500])
    while ledger.plan()[0]:
        pass
    with ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    with ValkeyServer(ground.folder / f"valkey-{prefix}") as valkey:
        url = ledger.engine.url.render_as_string(hide_password=False)
        env = {"BENCH_DATABASE": url, "BENCH_BROKER": valkey.url, "PYTHONPATH": str(Path.cwd())}
        program = Program("worker", [sys.executable, "-m", "bench.stages"], env)
        relay = Relay(
            ledger, Assets("memory://"), valkey.url, window=_WINDOW, retention_days=30, asset_grace_s=3600
        )
        with Supervisor([program], ground.folder / "logs"):
            deadline = time.monotonic() + 300
            while not _done(ledger):
                relay.tick()
                if time.monotonic() > deadline:
                    log = (ground.folder / "logs" / "worker.log").read_text()[-3000:]
                    raise TimeoutError(f"the workers do not finish:\n{log}")
                time.sleep(0.2)
    with ledger.engine.connect() as connection:
        seconds = connection.execute(
            text(
                "SELECT EXTRACT(epoch FROM max(e.verdict_at) - min(j.started_at)) FROM events e "
                "JOIN runs r ON r.plan_id = e.plan_id JOIN jobs j ON j.id = r.job_id WHERE e.product_id LIKE :p"
            ),
            {"p": f"{prefix}%"},
        ).scalar_one()
    return float(seconds) / count * 1000


def _done(ledger: Ledger) -> bool:
    with ledger.engine.connect() as connection:
        return not connection.execute(
            text("SELECT EXISTS (SELECT FROM plans WHERE verdict IS NULL)")
        ).scalar()


def fill(ledger: Ledger, count: int) -> None:
    """Finished products by SQL, as many rows as processing them leaves behind."""
    outcomes = {name: canned(name, "x", "front").model_dump_json() for name in ledger.graph.stages}
    with ledger.engine.begin() as connection:
        for statement in _FILL:
            connection.execute(
                text(statement),
                {
                    "count": count,
                    "signature": ledger.graph.signature,
                    "stages": list(outcomes),
                    "outcomes": json.dumps(outcomes),
                    "recipes": [ledger.graph.recipes[name].key for name in outcomes],
                },
            )


_FILL = (
    """INSERT INTO products (source, product_id, live, revision, facts, signature)
       SELECT 'urn:shop:' || n % 7, 'fill' || n, true, 1,
              jsonb_build_object('product_id', 'fill' || n, 'revision', 1, 'category', 'footwear', 'images',
                                 jsonb_build_array(jsonb_build_object('id', 'front', 'url', 'https://x/' || n))),
              :signature
       FROM generate_series(1, :count) n""",
    """INSERT INTO events (source, event_id, type, product_id, revision, time, body, digest, planned_at, verdict,
                           verdict_at)
       SELECT source, product_id || '-1', 'product.uploaded.v1', product_id, 1, now(), facts, sha256(product_id::bytea),
              now(), 'done', now() FROM products WHERE product_id LIKE 'fill%'""",
    """INSERT INTO plans (product_id, cause, event_seq, revision, generation, lane, closed_at, verdict)
       SELECT p.id, 'event', e.seq, 1, 0, 0, now(), 'done'
       FROM products p JOIN events e USING (source, product_id) WHERE p.product_id LIKE 'fill%'""",
    """UPDATE products p SET plan_id = pl.id FROM plans pl WHERE pl.product_id = p.id AND p.plan_id IS NULL""",
    """INSERT INTO jobs (fingerprint, stage, recipe, queue, lane, source, turn, state, outcome, outcome_digest,
                         started_at, finished_at, seconds)
       SELECT sha256((s.stage || p.id)::bytea), s.stage, s.recipe, 'vision', 0, p.source, p.plan_id, 'done',
              CAST(:outcomes AS jsonb)->s.stage, sha256(p.id::text::bytea), now(), now(), 0.001
       FROM products p CROSS JOIN unnest(CAST(:stages AS text[]), CAST(:recipes AS text[])) AS s (stage, recipe)
       WHERE p.product_id LIKE 'fill%'""",
    """INSERT INTO runs (plan_id, product_id, stage, target, state, job_id, settled_at)
       SELECT p.plan_id, p.id, s.stage, 'front', 'done', j.id, now()
       FROM products p CROSS JOIN unnest(CAST(:stages AS text[])) AS s (stage)
       JOIN jobs j ON j.fingerprint = sha256((s.stage || p.id)::bytea) WHERE p.product_id LIKE 'fill%'""",
    """INSERT INTO presentations (product_id, revision, generation, fields)
       SELECT id, 1, 0, CAST(:outcomes AS jsonb) FROM products WHERE product_id LIKE 'fill%'""",
)


def main() -> None:
    """The worker under measurement."""

    def runtime() -> Runtime:
        ledger = Ledger(open_database(os.environ["BENCH_DATABASE"]), graph())
        return Runtime(
            ledger=ledger,
            assets=Assets("memory://"),
            fetcher=Fetcher(FetchPolicy()),
            downloads=Downloads(ledger.engine),
            engines=Engines(Kit(), Device("cpu", "float32", 1), registered={}),
            index=VectorIndex(""),
            signing=lambda: Signer(b"", b""),
        )

    app = make_worker_app(
        os.environ["BENCH_BROKER"],
        stub_stages(float(os.environ.get("BENCH_ITEM_S", "0"))),
        runtime,
        window=_WINDOW,
        log="json",
    )
    live_only = os.environ.get("BENCH_LANES") == "live"
    lanes = (Lane.LIVE,) if live_only else tuple(Lane)
    run_worker(app, graph().queues, _PROCESSES, "live" if live_only else "bench", lanes=lanes)


if __name__ == "__main__":
    main()
