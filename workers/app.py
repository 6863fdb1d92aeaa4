"""The Celery application: transport, serialisation and events, the same for every worker and for Flower."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from kombu.exceptions import ChannelError

from pipeline.errors import ConfigurationError

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", ""})

# Far above any deadline: a lease in Postgres drives recovery, a redelivery would only run in vain.
_VISIBILITY_TIMEOUT_S = 6 * 3600


def guard_broker(url: str) -> None:
    """Refuse a broker that anybody on the network could write to."""
    parts = urlsplit(url)
    if parts.scheme in ("redis", "rediss") and not parts.password and parts.hostname not in _LOOPBACK:
        raise ConfigurationError(
            f"VITRINE_BROKER_URL names {parts.hostname} without a password: "
            "set one in the broker and in the URL, redis://:password@host:6379/0"
        )


def transport_options(**more: Any) -> dict[str, Any]:
    """Options of kombu's Redis transport: notice a dead connection, look at live queues first."""
    return {
        "visibility_timeout": _VISIBILITY_TIMEOUT_S,
        "queue_order_strategy": "priority",
        "socket_connect_timeout": 5,
        "socket_timeout": 30,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "retry_on_timeout": True,
        **more,
    }


def make_app(broker_url: str) -> Celery:
    """An application without tasks; ``tasks._stage.register_tasks`` gives it the stages."""
    guard_broker(broker_url)
    app = Celery("vitrine", broker=broker_url, set_as_current=True)
    app.conf.update(
        accept_content=["json"],
        result_accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        event_serializer="json",
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        task_create_missing_queues=True,
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=transport_options(),
        broker_pool_limit=4,
        event_queue_ttl=60,
        event_queue_expires=120,
    )
    return app


def queue_depths(app: Celery, names: Iterable[str]) -> dict[str, int]:
    """How many messages wait in each queue, over one connection. Raises kombu's OperationalError."""
    depths: dict[str, int] = {}
    with app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=1, timeout=2)
        channel = connection.channel()
        for name in names:
            try:
                depths[name] = channel.queue_declare(name, passive=True).message_count
            except ChannelError:
                depths[name] = 0  # on Redis an empty queue does not exist
    return depths
