"""The intake: takes events off the broker in batches, commits them, acknowledges, plans.

Accepted means committed. Until then the broker holds the only copy, so a message is acknowledged after the
commit and never before; what does not parse goes to quarantine in the same transaction.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import structlog
from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy.exc import InterfaceError, OperationalError

from pipeline.crash import crash_point
from pipeline.errors import ContractError
from pipeline.events import MAX_EVENT_BYTES, Event, legible_identity, parse_event
from storage.ledger import Ledger, Receipt, Refused
from tasks._stage import announce
from workers.app import guard_broker, make_app, transport_options
from workers.publisher import QUEUE

_log = structlog.get_logger("vitrine.intake")

_BATCH = 500
_BATCH_BYTES = 16 << 20
# How long a half-full batch waits for more: short against any stage, long against a commit.
_LINGER_S = 0.05
_DECLARE_S = 5.0
# Its own keys: an intake with a short timeout would otherwise restore the stage workers' messages.
_TRANSPORT: dict[str, Any] = {
    "visibility_timeout": 60,
    "unacked_key": "vitrine.intake.unacked",
    "unacked_index_key": "vitrine.intake.unacked_index",
    "unacked_mutex_key": "vitrine.intake.unacked_mutex",
}


def sort_messages(raws: list[bytes]) -> tuple[list[tuple[Event, bytes]], list[Refused]]:
    """Parse raw messages into events and refusals."""
    events: list[tuple[Event, bytes]] = []
    refused: list[Refused] = []
    for raw in raws:
        try:
            events.append((parse_event(raw, max_bytes=MAX_EVENT_BYTES), raw))
        except ContractError as error:
            refused.append(Refused(raw, error, *legible_identity(raw)))
    return events, refused


class Intake:
    """Consumes the catalog's queue until ``stop`` is set."""

    def __init__(self, ledger: Ledger, broker_url: str, window: int) -> None:
        guard_broker(broker_url)
        self._ledger = ledger
        self._url = broker_url
        self._window = window
        self._app: Celery = make_app(broker_url)
        self._pending: list[Any] = []
        self._bytes = 0
        self.stop = threading.Event()

    def run(self) -> None:
        """Consume, through lost connections, until told to stop."""
        while not self.stop.is_set():
            try:
                self._consume()
            except (BrokerError, OSError, ConnectionError) as error:
                _log.warning("broker.away", error=str(error))
                # What is in memory may be the only copy: the broker may have come back empty.
                self._flush(acknowledge=False)
                self.stop.wait(1.0)

    def _consume(self) -> None:
        options = transport_options(**_TRANSPORT)
        with Connection(self._url, transport_options=options) as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
            errors = connection.connection_errors + connection.channel_errors
            channel = connection.channel()
            queue = QUEUE(channel)
            declared = 0.0
            try:
                with connection.Consumer([QUEUE], on_message=self._on_message, channel=channel) as consumer:
                    consumer.qos(prefetch_count=_BATCH)
                    _log.info("intake.consuming", queue=QUEUE.name)
                    while not self.stop.is_set():
                        if time.monotonic() > declared + _DECLARE_S:
                            # A flushed broker forgets the binding, and then drops events without a word.
                            queue.declare()
                            declared = time.monotonic()
                        try:
                            connection.drain_events(timeout=_LINGER_S if self._pending else 0.5)
                        except (TimeoutError, socket.timeout):  # noqa: UP041 -- kombu raises either
                            self._flush()
                            self._plan()
            except errors as error:
                raise BrokerError(str(error)) from error
            finally:
                if self.stop.is_set():
                    self._flush()

    def _on_message(self, message: Any) -> None:
        self._pending.append(message)
        self._bytes += len(message.body)
        if len(self._pending) >= _BATCH or self._bytes >= _BATCH_BYTES:
            self._flush()
            self._plan(limit=1)

    def _flush(self, *, acknowledge: bool = True) -> None:
        """Commit what is pending, patiently, then acknowledge it."""
        if not self._pending:
            return
        raws = [_raw(message.body) for message in self._pending]
        receipt = self._accept(raws)
        crash_point("intake.committed")
        pending, self._pending, self._bytes = self._pending, [], 0
        if acknowledge:
            for message in pending:
                message.ack()
        crash_point("intake.acknowledged")
        _log.info(
            "intake.accepted",
            accepted=receipt.accepted,
            duplicates=receipt.duplicates,
            quarantined=receipt.quarantined,
        )

    def _accept(self, raws: list[bytes]) -> Receipt:
        events, refused = sort_messages(raws)
        for item in refused:
            _log.warning(
                "intake.quarantined", event_id=item.event_id, product=item.product_id, error=str(item.error)
            )
        while True:
            try:
                return self._ledger.accept(events, refused)
            except (OperationalError, InterfaceError) as error:
                _log.warning("database.away", error=str(error).splitlines()[0])
                # Deaf to stop on purpose: these events exist nowhere else until they are committed.
                time.sleep(0.5)

    def _plan(self, limit: int = 20) -> None:
        """Plan what was accepted, some batches at a time; the relay finds what is left."""
        try:
            self._ledger.refresh()
            for _ in range(limit):
                planned, queues = self._ledger.plan(_BATCH)
                for queue in sorted(queues):
                    announce(self._app, self._ledger.admit(queue, self._window))
                if planned < _BATCH:
                    return
        except (OperationalError, InterfaceError) as error:
            _log.warning("database.away", error=str(error).splitlines()[0])


def _raw(body: Any) -> bytes:
    return body if isinstance(body, bytes) else str(body).encode("utf-8", "replace")
