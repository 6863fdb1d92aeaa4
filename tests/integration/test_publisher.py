"""The publisher against a real Valkey: what arrives, and that a loss is never silent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection, Consumer, Message

from pipeline.errors import ConfigurationError, ContractError, Transient
from pipeline.events import Withdrawal, WithdrawalEvent, parse_event
from workers.embedded import ValkeyServer
from workers.publisher import QUEUE, Publisher


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def broker(server: ValkeyServer) -> str:
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 0)
        client.flushall()
    return server.url


def event(number: int) -> WithdrawalEvent:
    return WithdrawalEvent(
        source="/shops/1",
        id=str(number),
        time=datetime(2026, 1, 1, tzinfo=UTC),
        data=Withdrawal(product_id="p"),
    )


def arrived(url: str) -> list[Message]:
    """Everything in the intake's queue, taken out."""
    with Connection(url) as connection, closing(connection.channel()) as channel:
        queue = QUEUE.bind(channel)
        return list(iter(lambda: queue.get(no_ack=True), None))


def test_events_dictionaries_and_bytes_arrive_as_cloudevents_in_order(broker: str) -> None:
    as_dictionary: dict[str, Any] = json.loads(event(2).to_json()) | {
        "time": datetime(2026, 1, 1, tzinfo=UTC)
    }
    as_bytes = b' {"extension": 1,' + event(3).to_json()[1:]
    with Publisher(broker) as publisher:
        assert publisher.publish(iter([event(1), as_dictionary, as_bytes])) == 3
    messages = arrived(broker)
    assert [parse_event(message.body) for message in messages] == [event(1), event(2), event(3)]
    assert messages[2].body == as_bytes
    for message in messages:
        assert (message.content_type, message.content_encoding) == ("application/cloudevents+json", "utf-8")
        assert message.properties["delivery_mode"] == 2
        assert message.delivery_info["exchange"] == "vitrine.catalog"


def test_a_consumer_reads_the_bytes_as_they_were_sent(broker: str) -> None:
    bodies: list[bytes] = []
    with Publisher(broker) as publisher, Connection(broker) as connection:
        publisher.publish([event(1)])

        def take(message: Message) -> None:
            bodies.append(message.body)
            message.ack()

        with Consumer(connection, [QUEUE], on_message=take):
            connection.drain_events(timeout=10)
    assert bodies == [event(1).to_json()]


def test_nothing_is_lost_when_no_intake_ever_ran(broker: str) -> None:
    with Publisher(broker) as publisher:
        publisher.publish([event(1)])
    assert len(arrived(broker)) == 1


def test_a_flushed_broker_gets_its_queue_declared_again(broker: str) -> None:
    def flushed_midway() -> Iterator[WithdrawalEvent]:
        yield event(1)
        with redis.Redis.from_url(broker) as client:
            client.flushall()
        yield event(2)

    with Publisher(broker) as publisher:
        assert publisher.publish([event(0)]) == 1
        with redis.Redis.from_url(broker) as client:
            client.flushall()
        assert publisher.publish([event(1)]) == 1
        assert [m.body for m in arrived(broker)] == [event(1).to_json()]
        with pytest.warns(UserWarning, match="vitrine.intake|could not be delivered"):
            publisher.publish(flushed_midway())
    assert [m.body for m in arrived(broker)] == [event(2).to_json()]


def test_a_broken_event_is_named_and_those_before_it_are_sent(broker: str) -> None:
    broken = json.loads(event(2).to_json()) | {"id": ""}
    with Publisher(broker) as publisher, pytest.raises(ContractError) as caught:
        publisher.publish([event(1), broken, event(3)])
    assert caught.value.field == "id"
    assert caught.value.__notes__ == ["1 events were sent before it"]
    assert [m.body for m in arrived(broker)] == [event(1).to_json()]


def test_a_dictionary_that_is_no_json_is_refused(broker: str) -> None:
    with Publisher(broker) as publisher:
        with pytest.raises(ContractError, match="invalid-json"):
            publisher.publish([{"specversion": object()}])
        with pytest.raises(ContractError, match="not-finite"):
            publisher.publish([{**json.loads(event(1).to_json()), "x": float("nan")}])


def test_a_full_broker_refuses_aloud_and_takes_events_again_once_it_has_room(broker: str) -> None:
    with redis.Redis.from_url(broker) as client, Publisher(broker) as publisher:
        assert publisher.publish([event(1)]) == 1
        client.config_set("maxmemory", 1)
        with pytest.raises(Transient, match="maxmemory"):
            publisher.publish([event(2)])
        client.config_set("maxmemory", 0)
        assert publisher.publish([event(2)]) == 1
    assert [m.body for m in arrived(broker)] == [event(1).to_json(), event(2).to_json()]


def test_a_broker_that_fills_up_never_loses_an_event_it_took(broker: str) -> None:
    with redis.Redis.from_url(broker) as client, Publisher(broker) as publisher:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 300_000)
        with pytest.raises(Transient) as caught:
            publisher.publish(event(number) for number in range(10_000))
        client.config_set("maxmemory", 0)
    sent = int(caught.value.__notes__[0].split()[0])
    assert 0 < sent < 10_000
    assert len(arrived(broker)) == sent


def test_a_broker_that_is_away_is_transient_and_hides_its_password(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path / "valkey") as server, Publisher(server.url) as publisher:
        publisher.publish([event(1)])
        password = server.url.split(":")[2].split("@")[0]
        server.kill()
        with pytest.raises(Transient, match="broker") as caught:
            publisher.publish([event(2)])
        assert password not in str(caught.value)
        server.start()
        assert publisher.publish([event(2)]) == 1


def test_a_broker_without_amqp_listener_is_transient() -> None:
    with Publisher("amqp://guest:guest@127.0.0.1:1//") as publisher, pytest.raises(Transient):
        publisher.publish([event(1)])


def test_an_unknown_scheme_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="'memory'"):
        Publisher("memory://")
