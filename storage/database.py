"""Connections to Postgres: one engine a process, short transactions, the database's clock."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from pipeline.errors import ConfigurationError

T = TypeVar("T")
# A deadlock or a failed serialisation is an answer, not an accident: the same transaction succeeds next time.
_TRY_AGAIN = frozenset({"40P01", "40001"})
_TRIES = 5


def open_database(url: str, *, pool_size: int = 4, application: str = "vitrine") -> Engine:
    """An engine for ``url`` (``postgresql+psycopg://…``).

    A statement may take five minutes and a lock thirty seconds: work that waits longer is better retried.
    Compiling plans is off: ours are short and many.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "postgresql":
        raise ConfigurationError(
            f"VITRINE_DATABASE_URL names {parsed.get_backend_name()!r}; Vitrine keeps its ledger in Postgres, "
            "for example postgresql+psycopg://user:password@host/vitrine"
        )
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=2,
        pool_pre_ping=True,
        pool_recycle=1800,
        json_serializer=_compact,
        connect_args={
            "application_name": application,
            "connect_timeout": 10,
            "options": "-c statement_timeout=300000 -c lock_timeout=30000 -c timezone=UTC -c jit=off",
        },
    )


def transact(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Do ``work`` in one transaction, again where the database asks for it; it must be safe to do again."""
    for attempt in range(1, _TRIES + 1):
        try:
            with engine.begin() as connection:
                return work(connection)
        except OperationalError as error:
            # A pooled connection may have died unnoticed; what we do is safe to do again.
            lost = error.connection_invalidated and attempt == 1
            if not lost and (getattr(error.orig, "sqlstate", None) not in _TRY_AGAIN or attempt == _TRIES):
                raise
            time.sleep(0.01 * attempt)
    raise AssertionError("unreachable")


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
