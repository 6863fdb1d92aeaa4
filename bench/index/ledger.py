"""What Postgres keeps for the index, and what it takes to compare a large index with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine, text

from bench.ground import Ground, Row, clock
from bench.index.corpus import PHOTOS_A_PRODUCT, Mixture
from bench.index.measures import in_process, peak_mb
from storage.database import open_database
from storage.ledger.statements import records
from storage.reconcile import IndexReport, compare_index
from storage.spaces import Spaces
from storage.vectors import VectorIndex
from tasks.embed_image import EmbeddedImage, Vector
from tasks.embed_text import EmbeddedText

_PRODUCTS = 1_000
_GROWTH_MB = 50.0
_ODD = 1_000
"""One point in so many is missing, and one stale."""

_JOBS = text("""
INSERT INTO jobs (fingerprint, stage, recipe, engine, queue, lane, source, turn, state, outcome, outcome_digest,
                  started_at, finished_at, seconds)
SELECT sha256(u.key::bytea), u.stage, u.stage || '@1 bench', 'bench@1', 'vision', 0, 'urn:shop:1', 1, 'done',
       u.outcome, sha256(u.key::bytea), now(), now(), 0.1
FROM json_to_recordset(CAST(:rows AS json)) AS u (key text, stage text, outcome jsonb)
""")
_SIZE = text("SELECT pg_total_relation_size('jobs')")
_PLACED = (
    text("""
INSERT INTO products (source, product_id, live, revision, facts)
SELECT 'urn:shop:1', 'p' || n, true, 1, jsonb_build_object('product_id', 'p' || n, 'revision', 1, 'images', '[]'::jsonb)
FROM generate_series(1, :count) n"""),
    text("""
INSERT INTO presentations (product_id, revision, generation) SELECT id, 1, 0 FROM products"""),
    text("""
INSERT INTO index_points (space_id, product_id, version)
SELECT s.id, p.product_id, p.version FROM presentations p CROSS JOIN spaces s"""),
)
_READ = text("SELECT product_id, version FROM index_points ORDER BY product_id")


def outcomes(ground: Ground) -> Iterator[Row]:
    """Bytes that the vectors of a product take up among the jobs."""
    engine = ground.ledger().engine
    mixture = Mixture()
    photos = iter(mixture.draw(_PRODUCTS * PHOTOS_A_PRODUCT * 2, 1))
    texts = iter(mixture.draw(_PRODUCTS, 2))
    rows: list[dict[str, Any]] = []
    for product in range(_PRODUCTS):
        for photo in range(PHOTOS_A_PRODUCT):
            outcome = EmbeddedImage(image=Vector.of(next(photos)), cutout=Vector.of(next(photos)))
            rows.append(_job(f"{product}/{photo}", "embed_image", outcome.model_dump_json()))
        rows.append(
            _job(str(product), "embed_text", EmbeddedText(text=Vector.of(next(texts))).model_dump_json())
        )
    with engine.begin() as connection:
        before = connection.execute(_SIZE).scalar_one()
        connection.execute(_JOBS, {"rows": records(rows)})
    with engine.connect() as connection:
        size = (connection.execute(_SIZE).scalar_one() - before) / _PRODUCTS
    engine.dispose()
    numbers = (2 * PHOTOS_A_PRODUCT + 1) * 512 * 2
    yield Row(
        "Postgres, embeddings of a product",
        f"{size:,.0f} bytes",
        "",
        None,
        f"{PHOTOS_A_PRODUCT} photos whole and cut out, and a text: {numbers:,} bytes of float16; in base64, in "
        f"jobs, with its indexes, of {_PRODUCTS:,} products; {size / 1e3:.1f} GB a million",
    )


def _job(key: str, stage: str, outcome: str) -> dict[str, Any]:
    return {"key": f"{stage}/{key}", "stage": stage, "outcome": json.loads(outcome)}


class _Streamed(VectorIndex):
    """An index whose points are what was written, but for a few: its memory and its speed are not ours to measure."""

    def __init__(self, database: Engine) -> None:
        super().__init__("")
        self._database = database

    def exists(self, collection: str) -> bool:
        return True

    def versions(self, collection: str, page: int = 1000) -> Iterator[tuple[int, int]]:
        with self._database.connect().execution_options(yield_per=page) as connection:
            for number, version in connection.execute(_READ):
                if number % _ODD:
                    yield number, version - (number % _ODD == 1)


def comparing(ground: Ground, sizes: tuple[int, ...]) -> Iterator[Row]:
    """Seconds and memory of comparing an index of each size; memory must not follow the size."""
    peaks = []
    for size in sizes:
        engine = ground.ledger().engine
        Spaces(engine).found("bench@1")
        with engine.begin() as connection:
            for statement in _PLACED:
                connection.execute(statement, {"count": size})
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
        url = engine.url.render_as_string(hide_password=False)
        engine.dispose()
        seconds, peak, differing = in_process(compared, url)
        peaks.append(peak)
        grown = peak - peaks[0]
        yield Row(
            f"reconcile, {size:,} points",
            f"{seconds:.1f} s",
            f"at most {_GROWTH_MB:.0f} MB over {sizes[0]:,}",
            grown <= _GROWTH_MB,
            f"peak {peak:.0f} MB of the process; {differing:,} differences; the index's ids are streamed from "
            "a stub",
        )


def compared(url: str) -> tuple[float, float, int]:
    """Seconds, peak memory in MB, and how many points differed."""
    engine = open_database(url)
    [space] = Spaces(engine).active()
    report = IndexReport(space.collection, space.engine)
    with clock() as taken:
        differing = sum(
            len(repair.products) for repair in compare_index(engine, _Streamed(engine), space, report)
        )
    engine.dispose()
    return taken[0], peak_mb(), differing
