"""The publisher for catalog teams: checks each event here, then hands it to the broker and waits for the yes.

It needs the base install only. The broker holds the only copy of an event until the intake has committed it,
so a catalog keeps an outbox (docs/events.md) and deletes from it after ``publish`` returned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from amqp.exceptions import MessageNacked
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError
from kombu.transport import virtual
from pydantic_core import to_json

from pipeline.errors import ConfigurationError, ContractError, Transient
from pipeline.events import Event, parse_event

ROUTING_KEY: Final = "product"
CONTENT_TYPE: Final = "application/cloudevents+json"
EXCHANGE: Final = Exchange("vitrine.catalog", type="direct", durable=True)
QUEUE: Final = Queue("vitrine.intake", exchange=EXCHANGE, routing_key=ROUTING_KEY, durable=True)

_RETRIES: Final = {"max_retries": 4, "interval_start": 0.2, "interval_step": 0.4, "interval_max": 2.0}
_TRANSPORTS: Final[dict[str, dict[str, Any]]] = {
    # Where no queue is bound any more (a flushed broker), Redis drops a message without a word; this sends
    # it to the queue itself.
    "redis": {"deadletter_queue": QUEUE.name, "socket_timeout": 10.0, "socket_connect_timeout": 5.0},
    "amqp": {"confirm_publish": True, "connect_timeout": 5.0},
}
_ANSWER_S: Final = 10.0


class Publisher:
    """Publishes events to the exchange that the intake reads. Not thread-safe: one a thread.

    ``broker_url`` is ``redis://``, ``rediss://``, ``amqp://`` or ``amqps://``.
    """

    def __init__(self, broker_url: str) -> None:
        scheme = broker_url.partition("://")[0]
        options = _TRANSPORTS.get({"rediss": "redis", "amqps": "amqp", "pyamqp": "amqp"}.get(scheme, scheme))
        if options is None:
            raise ConfigurationError(f"broker scheme {scheme[:20]!r} is not known; use redis:// or amqp://")
        self._connection = Connection(broker_url, transport_options=options | _RETRIES, connect_timeout=5.0)
        self._producer = self._connection.Producer(exchange=EXCHANGE, auto_declare=False)
        self._declared = False

    def publish(self, events: Iterable[Event | Mapping[str, Any] | bytes]) -> int:
        """Send events one by one in their order; the number sent.

        ``ContractError`` names the field of an event that breaks the contract; ``Transient`` tells that the
        broker was away or refused after a few retries. Either way the events before it *were* sent (the
        error's notes tell how many) and none after it. Sending an event again is harmless.
        """
        sent = 0
        self._declared = False
        try:
            for event in events:
                self._send(_checked(event))
                sent += 1
        except (ContractError, Transient) as error:
            error.add_note(f"{sent} events were sent before it")
            raise
        return sent

    def close(self) -> None:
        """Close the connection; a later ``publish`` opens another."""
        self._connection.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, body: bytes) -> None:
        connection = self._connection
        refusals = (
            OperationalError,
            MessageNacked,
            *connection.connection_errors,
            *connection.channel_errors,
        )
        try:
            connection.ensure(self._producer, self._put, errback=self._lost, **_RETRIES)(body)
        except refusals as error:
            # The channel may be half closed; the next event opens another.
            self._producer.revive(connection)
            raise Transient(
                f"the broker at {connection.as_uri()} did not take an event ({error}); "
                "make sure that it runs and has room, then publish again"
            ) from error

    def _lost(self, error: Exception, interval: float) -> None:
        """After a reconnect the broker may have forgotten the queue."""
        self._declared = False

    def _put(self, body: bytes) -> None:
        # A message to an exchange without a queue vanishes silently, so the queue comes first.
        if not self._declared:
            channel = self._producer.channel
            if isinstance(channel, virtual.Channel):
                # kombu binds once a connection, but a flushed broker has forgotten it.
                channel.state.clear()
            QUEUE.bind(channel).declare()
            self._declared = True
        self._producer.publish(
            body,
            routing_key=ROUTING_KEY,
            content_type=CONTENT_TYPE,
            content_encoding="utf-8",
            delivery_mode="persistent",
            timeout=_ANSWER_S,
            confirm_timeout=_ANSWER_S,
        )


def _checked(event: Event | Mapping[str, Any] | bytes) -> bytes:
    """The event's bytes, after the same check that the intake makes."""
    if isinstance(event, Event):
        body = event.to_json()
    elif isinstance(event, bytes):
        body = event
    else:
        try:
            body = to_json(event)
        except ValueError as error:
            raise ContractError("invalid-json", str(error)) from error
    parse_event(body)
    return body
