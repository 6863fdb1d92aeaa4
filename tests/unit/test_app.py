"""The Celery application's guards."""

from __future__ import annotations

import pytest

from pipeline.errors import ConfigurationError
from workers.app import guard_broker, make_app


@pytest.mark.parametrize(
    "url", ["redis://10.0.0.5:6379/0", "rediss://broker.example/0", "redis://user@broker:6379"]
)
def test_broker_without_password_off_loopback_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="password"):
        guard_broker(url)
    with pytest.raises(ConfigurationError, match="password"):
        make_app(url)


@pytest.mark.parametrize(
    "url",
    ["redis://127.0.0.1:6379/0", "redis://localhost/0", "redis://:secret@10.0.0.5:6379/0", "amqp://a:b@mq//"],
)
def test_broker_with_password_or_on_loopback_is_taken(url: str) -> None:
    guard_broker(url)


def test_only_json_is_read_from_the_broker() -> None:
    app = make_app("redis://127.0.0.1:6379/0")
    assert app.conf.accept_content == ["json"]
    assert app.conf.result_accept_content == ["json"]
    assert app.conf.task_acks_late
