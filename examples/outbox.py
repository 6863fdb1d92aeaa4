"""A transactional outbox for a catalog on Postgres: a product and its event are saved together or not at all.

    python examples/outbox.py postgresql://user@host/catalog redis://:password@host:6379/0

``save_product`` writes the catalog's row and the event in one transaction. ``drain`` publishes what is in the
outbox and deletes it once the broker has taken it. A process that dies between the two leaves the rows, so
they are published again: an event may arrive twice, which Vitrine ignores, but none is ever lost.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import uuid
from datetime import UTC, datetime
from typing import Any

import psycopg
from pydantic_core import to_json

from pipeline.errors import Transient
from pipeline.events import UPDATED, UPLOADED, WITHDRAWN, parse_event
from workers.publisher import Publisher

SOURCE = "https://catalog.example.com/shops/1"

# `product` stands for the tables that the catalog has anyway; `outbox` is what this recipe adds.
SCHEMA = """
CREATE TABLE IF NOT EXISTS product (
    product_id text PRIMARY KEY,
    revision   bigint NOT NULL,
    title      text NOT NULL
);
CREATE TABLE IF NOT EXISTS outbox (
    position   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    body       bytea NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now()
);
"""

log = logging.getLogger("outbox")


def save_product(database: psycopg.Connection[Any], product_id: str, title: str, image_url: str) -> int:
    """Save a product and the event that tells of it in one transaction; the new revision."""
    with database.transaction():
        row = database.execute(
            """
            INSERT INTO product VALUES (%s, 1, %s)
            ON CONFLICT (product_id) DO UPDATE SET revision = product.revision + 1, title = excluded.title
            RETURNING revision
            """,
            (product_id, title),
        ).fetchone()
        assert row is not None
        revision: int = row[0]
        images = [{"id": "front", "url": image_url}]
        data = {"product_id": product_id, "revision": revision, "title": title, "images": images}
        _write_event(database, UPLOADED if revision == 1 else UPDATED, data)
        return revision


def withdraw_product(database: psycopg.Connection[Any], product_id: str) -> None:
    """Withdraw a product at the revision after its last one, so that it beats everything before."""
    with database.transaction():
        row = database.execute(
            "UPDATE product SET revision = revision + 1 WHERE product_id = %s RETURNING revision",
            (product_id,),
        ).fetchone()
        if row is not None:
            _write_event(database, WITHDRAWN, {"product_id": product_id, "revision": row[0]})


def _write_event(database: psycopg.Connection[Any], kind: str, data: dict[str, Any]) -> None:
    body = to_json(
        {
            "specversion": "1.0",
            "source": SOURCE,
            "id": str(uuid.uuid4()),
            "type": kind,
            "time": datetime.now(UTC).isoformat(),
            "data": data,
        }
    )
    # Checked before it is written: a broken event fails the merchant's save, not the outbox hours later.
    parse_event(body)
    database.execute("INSERT INTO outbox (body) VALUES (%s)", (body,))


def drain(database: psycopg.Connection[Any], publisher: Publisher, *, batch: int = 100) -> int:
    """Publish up to ``batch`` events in the order they were written, then delete them; how many.

    Several processes may drain at once: each takes rows that no other holds. Two revisions of a product may
    then arrive in the wrong order, which their revision numbers put right.
    """
    with database.transaction():
        rows = database.execute(
            "SELECT position, body FROM outbox ORDER BY position LIMIT %s FOR UPDATE SKIP LOCKED", (batch,)
        ).fetchall()
        publisher.publish(body for _, body in rows)
        database.execute("DELETE FROM outbox WHERE position = ANY(%s)", ([position for position, _ in rows],))
    return len(rows)


def main(database_url: str, broker_url: str) -> None:
    """Drain the outbox until SIGTERM or Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with psycopg.connect(database_url, autocommit=True) as database, Publisher(broker_url) as publisher:
        database.execute(SCHEMA)
        while not stop.is_set():
            try:
                sent = drain(database, publisher)
            except Transient as error:
                log.warning("%s", error)
                sent = 0
            if not sent:
                stop.wait(0.5)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main(*sys.argv[1:3])
