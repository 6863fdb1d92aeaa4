"""Stand-ins for what cannot be had here, a model that answers well: replies by the form that is asked for, from a
class or from a real HTTP server on this machine."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from engines.dialogue.instructed import Instructed
from engines.dialogue.prompts import Instruction
from engines.protocols import Brief, CatalogFacts, Printed, Question, Subject, Tag
from pipeline.errors import RejectedInput

CATEGORY = {"category": "clothing", "confidence": 0.9, "evidence": "sleeves and a collar"}
NAVY = {
    "attribute": "colour",
    "value": "navy",
    "confidence": 0.8,
    "evidence": "dark blue cloth",
    "because": [],
}
ATTRIBUTES = {"attributes": [NAVY]}
CAPTION = {"en": "A navy shirt with a collar.", "zh": "一件藏青色带领衬衫。"}
POINT = {"en": "Navy goes with everything.", "zh": "藏青色百搭。", "rests_on": ["colour=navy"]}
PITCH = {"points": [POINT]}
ANSWER = {"answer": "It is navy.", "because": "The cloth is dark blue.", "confidence": 0.8}

GOOD: dict[str, Any] = {
    "CategoryForm": CATEGORY,
    "AttributesForm": ATTRIBUTES,
    "CaptionForm": CAPTION,
    "PitchForm": PITCH,
    "AnswerForm": ANSWER,
}

Reply = Callable[[Instruction], str | RejectedInput]


def good(asked: Instruction) -> str:
    return json.dumps(GOOD[asked.form.__name__], ensure_ascii=False)


class Scripted(Instructed):
    """Replies as the test says, and remembers what it was asked."""

    def __init__(self, reply: Reply = good, photos: int = 4) -> None:
        super().__init__("scripted", photos)
        self._reply = reply
        self.rounds: list[list[Instruction]] = []

    def generate(self, instructions: Sequence[Instruction]) -> list[str | RejectedInput]:
        self.rounds.append(list(instructions))
        return [self._reply(one) for one in instructions]


def in_turn(*replies: Any) -> Reply:
    """Each instruction gets the next reply; what is not a text is sent as JSON."""
    left: Iterator[Any] = iter(replies)

    def reply(_: Instruction) -> str | RejectedInput:
        one = next(left)
        return one if isinstance(one, str | RejectedInput) else json.dumps(one, ensure_ascii=False)

    return reply


def subject(seed: int = 0, facts: CatalogFacts | None = None, printed: Sequence[str] = ()) -> Subject:
    picture = np.random.default_rng(seed).integers(0, 256, (40 + seed, 30, 3), np.uint8)
    lines = tuple(Printed(text, 0.9, (0.0, 0.0, 1.0, 1.0)) for text in printed)
    return Subject(picture, np.ones(picture.shape[:2], np.float32), lines, facts or CatalogFacts())


def brief(*subjects: Subject, facts: CatalogFacts | None = None) -> Brief:
    tags = (Tag("colour", "navy", 0.9), Tag("pattern", "plain", 0.8))
    return Brief(facts or CatalogFacts(title="Shirt 42"), tags, (), lambda: subjects)


def question(text: str, *subjects: Subject) -> Question:
    return Question(text, brief(*subjects))


@dataclass
class ChatServer:
    """``/v1/chat/completions`` on this machine. ``respond`` gives status, headers and body of each request."""

    url: str
    respond: Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes]]
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)


def completion(content: str | None, tokens: int = 50, **message: Any) -> tuple[int, dict[str, str], bytes]:
    """A server's whole answer."""
    finish = message.pop("finish_reason", "stop")
    body = {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
        "usage": {"prompt_tokens": tokens - 10, "completion_tokens": 10, "total_tokens": tokens},
    }
    return 200, {}, json.dumps(body).encode()


def answers_well(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    form = request["response_format"]["json_schema"]["name"]
    return completion(json.dumps(GOOD[form], ensure_ascii=False))


@contextmanager
def chat_server() -> Iterator[ChatServer]:
    """A server that answers well until the test says otherwise."""
    guard = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with guard:
                server.asked.append(request)
                server.keys.append(self.headers.get("Authorization", ""))
            if self.path != "/v1/chat/completions":
                status, headers, body = 404, {}, b"{}"
            else:
                status, headers, body = server.respond(request)
            with guard:
                server.statuses[status] += 1
            try:
                self.send_response(status)
                for name, value in ({"Content-Type": "application/json"} | headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # the client has given up waiting

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as listening:
        server = ChatServer(f"http://127.0.0.1:{listening.server_address[1]}/v1", answers_well)
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            listening.shutdown()
            thread.join()
