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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from qdrant_client import QdrantClient, models
from qdrant_client.local.payload_filters import check_filter
from qdrant_client.local.qdrant_local import QdrantLocal

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
    with _one_sync(client, name):
        for operation in asked.operations:
            if not _deleted_by_id(client, name, operation):
                client.batch_update_points(name, [operation])
    return [_UPDATED for _ in asked.operations]


@contextmanager
def _one_sync(client: QdrantClient, name: str) -> Iterator[None]:
    """The file is forced to the disk once, at the end; local mode by itself does it for every point."""
    local = client._client
    assert isinstance(local, QdrantLocal)
    held = local.collections.get(name)
    file = held.storage.storage if held is not None and held.storage is not None else None
    if file is not None:
        # Every point is still committed by itself, so that memory and file never disagree.
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")
    yield
    if file is not None:
        # Returns when the log, and then the file, are on the disk.
        file.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _deleted_by_id(client: QdrantClient, name: str, operation: models.UpdateOperation) -> bool:
    """Delete the points that a filter names by id, as far as they pass the rest of it; False if it names none.

    Local mode would hold every point of the collection against the filter.
    """
    if not isinstance(operation, models.DeleteOperation) or not isinstance(
        operation.delete, models.FilterSelector
    ):
        return False
    narrow = operation.delete.filter
    must = narrow.must if isinstance(narrow.must, list) else [narrow.must]
    named = next((one.has_id for one in must if isinstance(one, models.HasIdCondition)), None)
    if named is None:
        return False
    held = client.retrieve(name, named, with_payload=True)
    gone = [point.id for point in held if check_filter(narrow, point.payload or {}, point.id, {})]
    if gone:
        client.delete(name, gone)
    return True


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
            body = from_json(raw) if raw else {}
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
            "result": result,
            "status": {"error": error} if error else "ok",
            "time": 0.0,
        }
        raw = to_json(told)
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
    Handler.key = access["password"]
    Handler.lock = threading.Lock()
    with _Server(("127.0.0.1", access["port"]), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
