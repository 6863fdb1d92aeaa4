"""The program of ``QdrantServer``: requests of Qdrant's REST API, answered by the client's local mode.

Only what ``storage/vectors.py`` and ``storage/hybrid.py`` ask for is answered. Local mode is not thread-safe and has
one owner: one lock holds every request.
Source of the protocol: https://api.qdrant.tech/api-reference
"""

from __future__ import annotations

import json
import re
import secrets
import sys
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python
from qdrant_client import QdrantClient, models

_LARGEST_BODY = 256 << 20
_UPDATED = {"operation_id": 0, "status": "completed"}

Body = Mapping[str, Any]
Answer = Callable[[QdrantClient, str, Body], Any]


def _parsed(kind: Any, body: Any) -> Any:
    return TypeAdapter(kind).validate_python(body)


def _create(client: QdrantClient, name: str, body: Body) -> bool:
    if client.collection_exists(name):
        raise FileExistsError(f"Collection `{name}` already exists!")
    asked: models.CreateCollection = _parsed(models.CreateCollection, body)
    return client.create_collection(
        name, vectors_config=asked.vectors, sparse_vectors_config=asked.sparse_vectors
    )


def _batch(client: QdrantClient, name: str, body: Body) -> list[dict[str, Any]]:
    asked: models.UpdateOperations = _parsed(models.UpdateOperations, body)
    client.batch_update_points(name, asked.operations)
    return [_UPDATED for _ in asked.operations]


def _query(client: QdrantClient, name: str, body: Body) -> Any:
    asked: models.QueryRequest = _parsed(models.QueryRequest, body)
    values = {field: getattr(asked, field) for field in asked.model_fields_set}
    for theirs, ours in (
        ("filter", "query_filter"),
        ("params", "search_params"),
        ("with_vector", "with_vectors"),
    ):
        if theirs in values:
            values[ours] = values.pop(theirs)
    return client.query_points(name, **values)


def _scroll(client: QdrantClient, name: str, body: Body) -> Any:
    asked: models.ScrollRequest = _parsed(models.ScrollRequest, body)
    points, following = client.scroll(
        name,
        scroll_filter=asked.filter,
        limit=asked.limit or 10,
        offset=asked.offset,
        with_payload=True if asked.with_payload is None else asked.with_payload,
        with_vectors=asked.with_vector or False,
    )
    return {"points": points, "next_page_offset": following}


def _aliases(client: QdrantClient, _: str, body: Body) -> bool:
    asked: models.ChangeAliasesOperation = _parsed(models.ChangeAliasesOperation, body)
    return client.update_collection_aliases(asked.actions)


ANSWERS: Mapping[tuple[str, str], Answer] = {
    ("GET", "/aliases"): lambda client, _, __: client.get_aliases(),
    ("POST", "/collections/aliases"): _aliases,
    ("GET", "/collections"): lambda client, _, __: client.get_collections(),
    ("GET", "/collections/{}/exists"): lambda client, name, _: {"exists": client.collection_exists(name)},
    ("GET", "/collections/{}"): lambda client, name, _: client.get_collection(name),
    ("PUT", "/collections/{}"): _create,
    ("DELETE", "/collections/{}"): lambda client, name, _: client.delete_collection(name),
    # Local mode narrows by any field without an index.
    ("PUT", "/collections/{}/index"): lambda _, __, ___: _UPDATED,
    ("POST", "/collections/{}/points/batch"): _batch,
    ("POST", "/collections/{}/points/query"): _query,
    ("POST", "/collections/{}/points/scroll"): _scroll,
    ("POST", "/collections/{}/points/count"): lambda client, name, _: client.count(name),
}


class Handler(BaseHTTPRequestHandler):
    """One request: who asks, what for, the answer in Qdrant's form."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    client: ClassVar[QdrantClient]
    key: ClassVar[str]
    lock: ClassVar[threading.Lock]

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > _LARGEST_BODY:
            self.close_connection = True
            self._tell(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, error="the body is too large")
            return
        raw = self.rfile.read(length)
        if not secrets.compare_digest(self.headers.get("api-key") or "", self.key):
            self._tell(HTTPStatus.UNAUTHORIZED, error="Must provide an API key")
            return
        path = self.path.partition("?")[0].rstrip("/")
        place = re.fullmatch(r"(/collections/)((?!aliases$)[^/]+)(/.*)?", path)
        shape = f"{place[1]}{{}}{place[3] or ''}" if place else path
        found = ANSWERS.get((self.command, shape))
        if found is None:
            self._tell(HTTPStatus.NOT_FOUND, error=f"{self.command} {shape} is not answered in local mode")
            return
        try:
            body = json.loads(raw) if raw else {}
            with self.lock:
                result = found(self.client, place[2] if place else "", body)
            self._tell(HTTPStatus.OK, result)
        except FileExistsError as error:
            self._tell(HTTPStatus.CONFLICT, error=f"Wrong input: {error}")
        except (ValidationError, ValueError) as error:
            missing = "not found" in str(error)
            self._tell(HTTPStatus.NOT_FOUND if missing else HTTPStatus.BAD_REQUEST, error=str(error))
        except Exception as error:
            self._tell(HTTPStatus.INTERNAL_SERVER_ERROR, error=f"{type(error).__name__}: {error}")

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 -- the names http.server calls

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Nothing: a line a request would only hide the errors."""

    def _tell(self, status: HTTPStatus, result: Any = None, *, error: str = "") -> None:
        told = {
            "result": to_jsonable_python(result),
            "status": {"error": error} if error else "ok",
            "time": 0.0,
        }
        raw = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main(folder: Path) -> None:
    """Own the folder and answer until a signal ends the process."""
    access = json.loads((folder / "access.json").read_text())
    Handler.client = QdrantClient(path=str(folder / "points"), force_disable_check_same_thread=True)
    Handler.key = access["key"]
    Handler.lock = threading.Lock()
    with _Server(("127.0.0.1", access["port"]), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
