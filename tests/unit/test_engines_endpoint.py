"""The endpoint engine against a real HTTP server: what fails, what it costs, and what never leaves."""

from __future__ import annotations

import base64
import io
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engines.devices import Device
from engines.dialogue.endpoints import Budget
from engines.kit import Kit
from engines.models import Model
from engines.protocols import Bilingual, CatalogFacts, Subject
from engines.registry import Engines, load_adapters, with_models
from pipeline.errors import ConfigurationError, EngineDown, RejectedInput, Transient
from tests.instructed import (
    CAPTION,
    ChatServer,
    answers_well,
    brief,
    chat_server,
    completion,
    question,
    subject,
)

GOOD = Bilingual(**CAPTION)
Response = tuple[int, dict[str, str], bytes]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as server:
        yield server


def endpoint(server: ChatServer | str, options: dict[str, Any] | None = None, **connection: Any) -> Any:
    url = server if isinstance(server, str) else server.url
    model = Model(
        engine="chat_endpoint",
        options={"model": "m"} | (options or {}),
        connection={"url": url} | connection,
    )
    pool = Engines(
        Kit(Path("unused"), []),
        Device("cpu", "float32", 1),
        100,
        with_models(load_adapters(), {"vlm": model}),
    )
    return pool.get("vlm")


def in_turn(*responses: Response) -> Callable[[dict[str, Any]], Response]:
    """The responses one after another, and good ones after that."""
    left = iter(responses)
    guard = threading.Lock()

    def respond(request: dict[str, Any]) -> Response:
        with guard:
            response = next(left, None)
        return response or answers_well(request)

    return respond


def failure(status: int, code: str = "") -> Response:
    error = {"message": "the prompt was: secret", "code": code, "param": None, "type": "x"}
    return status, {"Retry-After": "0.01"}, json.dumps({"error": error}).encode()


def test_all_four_capabilities_are_answered(server: ChatServer) -> None:
    engine = endpoint(server)
    assert engine.caption([subject()]) == [GOOD]
    [tags] = engine.tag([[subject(), subject(1)]])
    assert [(tag.attribute, tag.value) for tag in tags] == [("category", "clothing"), ("colour", "navy")]
    [[point]] = engine.pitch([brief(subject())])
    assert point.rests_on == (("colour", "navy"),)
    [answer] = engine.answer([question("Which colour?", subject())])
    assert answer.text == "It is navy."


def test_what_is_sent(server: ChatServer) -> None:
    picture = np.zeros((400, 2000, 3), np.uint8)
    picture[:, 1000:] = (250, 20, 20)
    engine = endpoint(server, {"side": 100, "seed": 5})
    engine.caption([Subject(picture, np.ones((400, 2000), np.float32))])
    [request] = server.asked
    assert (request["model"], request["temperature"], request["seed"]) == ("m", 0.0, 5)
    assert request["response_format"]["json_schema"]["schema"]["required"] == ["en", "zh"]
    system, user = request["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    head, _, data = user["content"][0]["image_url"]["url"].partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert (image.format, image.size) == ("JPEG", (100, 20))
        assert image.getpixel((90, 10)) == pytest.approx((250, 20, 20), abs=12)
    assert server.keys == ["Bearer none"]


def test_servers_that_know_less_are_asked_for_less(server: ChatServer) -> None:
    server.respond = lambda _: completion(f"Sure! ```json\n{json.dumps(CAPTION)}\n``` Enjoy!")
    engine = endpoint(
        server, {"structured": False, "temperature": "none", "seed": "none", "max_tokens": 4000}
    )
    assert engine.caption([subject()]) == [GOOD]
    [request] = server.asked
    assert request["max_tokens"] == 4000
    assert not {"response_format", "temperature", "seed"} & set(request)


def test_too_many_requests_and_a_broken_moment_are_waited_out(server: ChatServer) -> None:
    server.respond = in_turn(failure(429), failure(500), failure(503))
    assert endpoint(server).caption([subject()]) == [GOOD]
    assert server.statuses == {429: 1, 500: 1, 503: 1, 200: 1}


def test_a_server_that_stays_broken_is_down(server: ChatServer) -> None:
    server.respond = lambda _: failure(500)
    with pytest.raises(EngineDown, match=r"127\.0\.0\.1:\d+ is overloaded or broken \(500\)") as caught:
        endpoint(server).caption([subject()])
    assert isinstance(caught.value, Transient)
    assert "secret" not in str(caught.value)
    assert server.statuses[500] > 1


def test_a_server_that_asks_to_wait_too_long_is_down(server: ChatServer) -> None:
    server.respond = lambda _: (429, {"Retry-After": "60"}, b"{}")
    with pytest.raises(EngineDown, match=r"no answer within 0\.3 s"):
        endpoint(server, timeout_s=0.3).caption([subject()])


def test_a_slow_server_is_down(server: ChatServer) -> None:
    def respond(request: dict[str, Any]) -> Response:
        server.over.wait(30)
        return answers_well(request)

    server.respond = respond
    with pytest.raises(EngineDown, match=r"no answer within 0\.3 s|cannot be reached \(APITimeoutError\)"):
        endpoint(server, timeout_s=0.3).caption([subject(), subject(1)])


def test_nobody_there_is_down() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(EngineDown, match=r"no answer within 1 s|cannot be reached"):
        endpoint(f"http://127.0.0.1:{port}/v1", timeout_s=1).caption([subject()])


@pytest.mark.parametrize(
    "body",
    [b"<html>502 Bad Gateway</html>", b"", b"[]", b'{"choices": []}', b'{"choices": [{"message": "hi"}]}'],
)
def test_what_is_no_completion_is_down(server: ChatServer, body: bytes) -> None:
    server.respond = lambda _: (200, {}, body)
    with pytest.raises(EngineDown, match="answered without a completion"):
        endpoint(server).caption([subject()])


@pytest.mark.parametrize(
    ("response", "remedy"),
    [
        (failure(401), "refuses the key .* key_env"),
        (failure(403), "refuses the key .* key_env"),
        (failure(404), "no such model or path .* options.model"),
        (failure(400, "unsupported_parameter"), r"400, unsupported_parameter.*structured = false"),
        ((302, {"Location": "http://127.0.0.1:9/"}, b""), "refuses the request"),
    ],
)
def test_a_wrong_setting_says_which(server: ChatServer, response: Response, remedy: str) -> None:
    server.respond = lambda _: response
    with pytest.raises(ConfigurationError, match=remedy) as caught:
        endpoint(server).caption([subject()])
    assert "secret" not in str(caught.value)
    assert len(server.asked) == 1, "asking again would not help"


@pytest.mark.parametrize(
    "refusal",
    [
        completion(None, refusal="I cannot help with that."),
        completion("", finish_reason="content_filter"),
        failure(400, "content_filter"),
    ],
)
def test_a_refusal_concerns_its_product_alone(server: ChatServer, refusal: Response) -> None:
    server.respond = in_turn(refusal)
    refused, good = endpoint(server, concurrency=1).caption([subject(), subject(1)])
    assert isinstance(refused, RejectedInput)
    assert refused.reason == "refused-by-model"
    assert good == GOOD
    assert len(server.asked) == 2


def test_a_malformed_answer_is_asked_for_once_more_and_then_refused(server: ChatServer) -> None:
    bad = completion("I see a shirt.")
    server.respond = in_turn(bad, bad, bad)
    refused, good = endpoint(server, concurrency=1).caption([subject(), subject(1)])
    assert isinstance(refused, RejectedInput)
    assert refused.reason == "malformed-answer"
    assert good == GOOD
    assert len(server.asked) == 4


def test_as_many_as_allowed_are_asked_at_once(server: ChatServer) -> None:
    """Three wait for each other: with fewer at once none would come back; a fourth would find the door shut."""
    together = threading.Barrier(3, timeout=10)
    busy = threading.Semaphore(3)

    def respond(request: dict[str, Any]) -> Response:
        if not busy.acquire(blocking=False):
            return failure(400, "too-many-at-once")
        together.wait()
        busy.release()
        return answers_well(request)

    server.respond = respond
    engine = endpoint(server, concurrency=3)
    assert engine.caption([subject(n) for n in range(3)]) == [GOOD] * 3
    assert engine.caption([subject(n) for n in range(6)]) == [GOOD] * 6


def test_answers_come_in_the_order_of_the_questions(server: ChatServer) -> None:
    first_last = threading.Event()

    def respond(request: dict[str, Any]) -> Response:
        url = request["messages"][1]["content"][0]["image_url"]["url"]
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            number = image.size[1] - 40
        if number == 0:
            assert first_last.wait(10)
        else:
            first_last.set()
        return completion(json.dumps({"en": f"Shirt number {number}.", "zh": f"第{number}件衬衫。"}))

    server.respond = respond
    answers = endpoint(server, concurrency=2).caption([subject(n) for n in range(4)])
    assert [answer.en for answer in answers] == [f"Shirt number {n}." for n in range(4)]


def test_the_budget_of_the_day(server: ChatServer) -> None:
    engine = endpoint(server, daily_tokens=100)
    assert engine.caption([subject()]) == [GOOD]
    assert engine.caption([subject()]) == [GOOD]
    with pytest.raises(EngineDown, match=r"has answered with 100 tokens today, daily_tokens is 100"):
        engine.caption([subject()])
    assert len(server.asked) == 2, "nothing is asked that may not be paid"


def test_a_server_that_does_not_count_is_not_free(server: ChatServer) -> None:
    body = json.dumps({"choices": [{"message": {"content": json.dumps(CAPTION)}}]}).encode()
    server.respond = lambda _: (200, {}, body)
    engine = endpoint(server, daily_tokens=100)
    assert engine.caption([subject()]) == [GOOD]
    with pytest.raises(EngineDown, match="daily_tokens"):
        engine.caption([subject()])


def test_a_new_day_has_a_new_budget() -> None:
    day = date(2026, 1, 1)
    budget = Budget(10, "host", lambda: day)
    budget.spend(10)
    with pytest.raises(EngineDown):
        budget.check()
    day = date(2026, 1, 2)
    budget.check()


def test_the_key_comes_from_the_environment_alone(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match=r"set the environment variable SHOP_KEY to the key of 127"):
        endpoint(server, key_env="SHOP_KEY")
    monkeypatch.setenv("SHOP_KEY", "s3cret")
    assert endpoint(server, key_env="SHOP_KEY").caption([subject()]) == [GOOD]
    assert server.keys == ["Bearer s3cret"]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://example.com/v1", "https"),
        ("http://127.0.0.1.example.com/v1", "https"),
        ("https://user:s3cret@example.com/v1", "key_env"),
        ("https://example.com/v1?key=s3cret", "key_env"),
        ("file:///etc/passwd", "https"),
        ("example.com/v1", "https"),
    ],
)
def test_a_url_that_would_leak_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"model vlm: option url: .*{problem}") as caught:
        endpoint(url)
    assert "s3cret" not in str(caught.value)


def test_nothing_that_was_sent_or_answered_is_logged(
    server: ChatServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_KEY", "s3cret")
    server.respond = in_turn(failure(500))
    with caplog.at_level(logging.DEBUG):
        endpoint(server, key_env="SHOP_KEY").tag([[subject(facts=CatalogFacts(title="Privy shirt"))]])
    for told in (caplog.text, *(str(record.args) for record in caplog.records)):
        assert not any(word in told for word in ("Privy", "base64", "s3cret", "navy", "Describe"))


def test_the_connection_is_no_part_of_the_revision_and_the_model_is() -> None:
    def revision(model: str, **connection: Any) -> str:
        pinned = Model(engine="chat_endpoint", options={"model": model}, connection=connection)
        registered = with_models(load_adapters(), {"vlm": pinned})
        return (
            Engines(Kit(Path("unused"), []), Device("cpu", "float32", 1), 100, registered)
            .spec("vlm")
            .revision
        )

    assert revision("a", url="https://one.example") == revision("a", url="https://two.example", concurrency=9)
    assert revision("a") != revision("b")
