"""The inbox: many events in one statement, none twice, and what breaks the contract in quarantine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError

from pipeline.errors import ContractError
from pipeline.events import Event

_HEAD_BYTES = 4096
_COLUMNS = "source, event_id, type, product_id, revision, time, traceparent, body, digest"

# Kept by the connection and emptied at every commit: creating it anew each time would bloat the catalog.
INCOMING = """
CREATE TEMPORARY TABLE IF NOT EXISTS incoming (
    n bigint, source text, event_id text, type text, product_id text, revision bigint,
    time timestamptz, traceparent text, body jsonb, digest bytea
) ON COMMIT DELETE ROWS
"""
COPY = f"COPY incoming (n, {_COLUMNS}) FROM STDIN"
# Sorted, so that two intakes with the same events wait for each other instead of deadlocking.
INSERT = f"""
INSERT INTO events ({_COLUMNS})
SELECT {_COLUMNS} FROM incoming ORDER BY source, event_id, n
ON CONFLICT (source, event_id) DO NOTHING
"""
_CONFLICTS = text("""
SELECT i.n FROM incoming i JOIN events e USING (source, event_id)
WHERE e.digest <> i.digest AND e.body IS NOT NULL AND e.body <> i.body
""")
_QUARANTINE = text("""
INSERT INTO quarantine (digest, reason, field, message, source, event_id, product_id, head, size)
VALUES (:digest, :reason, :field, :message, :source, :event_id, :product_id, :head, :size)
ON CONFLICT (digest, reason) DO UPDATE SET times = quarantine.times + 1, last_at = now()
""")


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that cannot be accepted, with what could be read of it."""

    raw: bytes
    error: ContractError
    source: str | None = None
    event_id: str | None = None
    product_id: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch of messages, all of it committed."""

    accepted: int
    duplicates: int
    quarantined: int


def accept(
    connection: Connection, events: Sequence[tuple[Event, bytes]], refused: Sequence[Refused] = ()
) -> Receipt:
    """Record ``events`` (each with its raw bytes) and quarantine ``refused``, in the caller's transaction."""
    inserted = 0
    quarantine = list(refused)
    if events:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        try:
            with driver.cursor() as cursor:
                cursor.execute(INCOMING)
                copy_in(cursor, events)
                cursor.execute(INSERT)
                inserted = cursor.rowcount
        except psycopg.DataError as error:
            raise DataError(COPY, None, error) from error
        if inserted < len(events):
            quarantine += _conflicting(connection, events)
    for item in quarantine:
        connection.execute(_QUARANTINE, _quarantine_row(item))
    return Receipt(
        accepted=inserted,
        duplicates=len(events) - inserted - (len(quarantine) - len(refused)),
        quarantined=len(quarantine),
    )


def copy_in(cursor: Any, events: Sequence[tuple[Event, bytes]]) -> None:
    """Stream the rows of ``events`` into the temporary table."""
    sha256 = hashlib.sha256
    with cursor.copy(COPY) as copy:
        for n, (event, raw) in enumerate(events):
            digest = sha256(raw).digest()
            copy.write_row(
                (
                    n,
                    event.source,
                    event.id,
                    event.type,
                    event.product_id,
                    event.revision,
                    event.time,
                    event.traceparent or _traceparent(digest),
                    raw.decode(),
                    digest,
                )
            )


def _traceparent(digest: bytes) -> str:
    """A trace of its own for an event that came without one (W3C Trace Context, version 00, sampled)."""
    return f"00-{digest[:16].hex()}-{digest[16:24].hex()}-01"


def _conflicting(connection: Connection, events: Sequence[tuple[Event, bytes]]) -> list[Refused]:
    """Events whose identity is taken by another body: a publisher's defect that must not pass silently."""
    found = []
    for (n,) in connection.execute(_CONFLICTS):
        event, raw = events[n]
        error = ContractError(
            "id-reused",
            f"event {event.id!r} of {event.source!r} was accepted before with another body; "
            "a changed event needs a new id",
            field="id",
        )
        found.append(Refused(raw, error, event.source, event.id, event.product_id))
    return found


def _quarantine_row(item: Refused) -> dict[str, Any]:
    return {
        "digest": hashlib.sha256(item.raw).digest(),
        "reason": item.error.reason,
        "field": item.error.field,
        "message": str(item.error.args[0])[:2000].replace("\x00", "␀"),
        "source": item.source,
        "event_id": item.event_id,
        "product_id": item.product_id,
        "head": item.raw[:_HEAD_BYTES],
        "size": len(item.raw),
    }
