"""The relay: makes sure that nothing accepted is ever forgotten, whatever died or was lost.

At every tick it plans what an intake left, takes back expired leases, lets replays advance within their
window, and announces ready work in one bounded window a queue. One relay leads; others stand by.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import structlog
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy import text
from sqlalchemy.exc import InterfaceError, OperationalError

from pipeline.crash import crash_point
from pipeline.outcomes import Lane
from storage.assets import Assets
from storage.ledger import Ledger
from storage.replays import Replays
from tasks._stage import announce, broker_queue
from workers.app import make_app, queue_depths
from workers.keeper import IndexKeeper
from workers.metrics import Metrics

_log = structlog.get_logger("vitrine.relay")

_TICK_S = 0.5
_CHORES_S = 15.0
# An announcement that is no longer on the broker and not claimed after this long was lost.
_PATIENCE_S = 3.0
_LEADER = 7_246_319


class Relay:
    """Ticks until ``stop`` is set."""

    def __init__(
        self,
        ledger: Ledger,
        assets: Assets,
        broker_url: str,
        *,
        window: int,
        retention_days: int,
        asset_grace_s: float,
        metrics: Metrics | None = None,
        keeper: IndexKeeper | None = None,
    ) -> None:
        self._ledger = ledger
        self._assets = assets
        self._app = make_app(broker_url)
        self._window = window
        self._retention_days = retention_days
        self._asset_grace_s = asset_grace_s
        self._metrics = metrics
        self._keeper = keeper
        self._chores_at = 0.0
        self.stop = threading.Event()

    @property
    def queues(self) -> list[str]:
        """Every queue of today's graph."""
        return sorted({spec.queue for spec in self._ledger.graph.stages.values()})

    def run(self) -> None:
        """Lead, or wait to; through lost connections, until told to stop."""
        while not self.stop.is_set():
            try:
                with self._leadership() as leads:
                    if leads:
                        _log.info("relay.leading", queues=self.queues)
                        with self._keeper or nullcontext():
                            while not self.stop.is_set():
                                self.tick()
                                self.stop.wait(_TICK_S)
            except (OperationalError, InterfaceError) as error:
                _log.warning("database.away", error=str(error).splitlines()[0])
            self.stop.wait(_TICK_S)

    def tick(self) -> None:
        """Do what is due."""
        self._ledger.refresh()
        while True:
            planned, queues = self._ledger.plan()
            # At once: what a merchant just uploaded does not wait for the rest of this tick.
            for queue in sorted(queues):
                announce(self._app, self._ledger.admit(queue, self._window))
            if not planned:
                break
        reclaimed, _ = self._ledger.reclaim()
        if reclaimed:
            _log.warning("relay.reclaimed", jobs=len(reclaimed))
        Replays(self._ledger.engine, self._ledger.graph).advance()
        crash_point("relay.before_announcing")
        try:
            depths = queue_depths(self._app, [broker_queue(q, lane) for q in self.queues for lane in Lane])
            for queue in self.queues:
                self._announce(queue, sum(depths[broker_queue(queue, lane)] for lane in Lane))
        except (BrokerError, OSError) as error:
            _log.warning("broker.away", error=str(error))
        if time.monotonic() >= self._chores_at:
            self._chores_at = time.monotonic() + _CHORES_S
            self._chores()
        if self._metrics is not None:
            self._metrics.observe()

    def _announce(self, queue: str, waiting: int) -> None:
        if waiting == 0:
            lost = self._ledger.forget_announcements(queue, _PATIENCE_S)
            if lost:
                _log.info("relay.announced_again", queue=queue, jobs=lost)
        batches = self._ledger.admit(queue, self._window)
        crash_point("relay.admitted")
        announce(self._app, batches)

    def _chores(self) -> None:
        self._ledger.catch_up()
        pruned = self._ledger.prune(self._retention_days)
        swept = self._ledger.sweep_assets(self._assets.delete, self._asset_grace_s)
        stray = self._assets.sweep_temporary(self._asset_grace_s)
        if pruned or swept or stray:
            _log.info("relay.swept", plans=pruned, blobs=swept, temporary_files=stray)

    @contextmanager
    def _leadership(self) -> Iterator[bool]:
        """A lock that ends with its connection: a relay that dies or loses the database leads no more."""
        with self._ledger.engine.connect() as connection:
            leads = bool(
                connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LEADER}).scalar()
            )
            connection.commit()
            try:
                yield leads
            finally:
                if leads:
                    connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LEADER})
                    connection.commit()
