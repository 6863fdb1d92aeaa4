"""Keeps the index to what Postgres says, where no run is there to do it.

Beside the relay that leads, in a thread of its own, so that a slow Qdrant delays nothing else. It writes what a
correction, a promotion or a lost collection left behind, and deletes what is gone again and again until no late
write can bring it back: a write that was paused on its way lives no longer than the longest stage's deadline.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError

from pipeline.errors import ConfigurationError
from storage.indexable import IndexedPoints
from storage.ledger import Ledger
from storage.replays import Replays
from storage.spaces import Role, Space, Spaces
from storage.vectors import IndexDown, VectorIndex
from tasks._indexing import synchronise

_log = structlog.get_logger("vitrine.keeper")

_EVERY_S = 5.0
_AT_ONCE = 64
_REMOVED_AT_ONCE = 500


SHADOW_STAGES = ("shadow_image", "shadow_text", "shadow_index")


def end(ledger: Ledger, index: VectorIndex, space: Space) -> None:
    """Let go of a retired space: of what waits for it, of its collection, and last of its row."""
    ledger.refresh(now=True)
    replays = Replays(ledger.engine, ledger.graph)
    if space.replay_id is not None and replays.is_active(space.replay_id):
        replays.cancel(space.replay_id)
    if not Spaces(ledger.engine).embedders().shadow:
        ledger.abandon(SHADOW_STAGES)
    index.drop(space.collection)
    Spaces(ledger.engine).forget(space)


class IndexKeeper(AbstractContextManager["IndexKeeper"]):
    """Keeps the index while it is entered."""

    def __init__(self, ledger: Ledger, index: VectorIndex) -> None:
        self._ledger = ledger
        self._index = index
        self._spaces = Spaces(ledger.engine)
        self._points = IndexedPoints(ledger.engine)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> IndexKeeper:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            try:
                self.keep()
            except (IndexDown, OperationalError, InterfaceError) as error:
                _log.warning("keeper.waits", error=str(error).splitlines()[0])
            except ConfigurationError as error:
                _log.error("keeper.misconfigured", error=str(error))

    def keep(self) -> None:
        """Do what is due."""
        for space in self._spaces.retired():
            end(self._ledger, self._index, space)
        longest_s = max(spec.deadline_s + spec.lease_s for spec in self._ledger.graph.stages.values())
        for space in self._spaces.active():
            self._restore(space)
            self._delete_again(space, longest_s)
        self._points.forget_removed(longest_s)
        written = 0
        for products in self._behind():
            synchronise(self._ledger.engine, self._index, products)
            written += len(products)
            if self._stop.is_set():
                break
        if written:
            _log.info("keeper.wrote", products=written)

    def _restore(self, space: Space) -> None:
        """A collection that has vanished is written again, from Postgres; the alias follows its space."""
        if not self._index.exists(space.collection):
            if self._points.expected(space, 0, 1):
                _log.warning("keeper.collection_lost", collection=space.collection)
                self._points.forget(space)
        elif space.role is Role.SERVING and self._index.serving() is None:
            self._index.serve(space.collection)

    def _delete_again(self, space: Space, longest_s: float) -> None:
        after = 0
        while self._index.exists(space.collection):
            removed = self._points.removed(space, longest_s, after, _REMOVED_AT_ONCE)
            if not removed:
                return
            self._index.delete(space.collection, removed)
            after = max(removed)

    def _behind(self) -> Iterator[list[int]]:
        after = 0
        while products := self._points.behind(after, _AT_ONCE):
            yield products
            after = products[-1]
