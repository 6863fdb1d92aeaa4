"""Connections to Postgres: one engine a process, short transactions, the database's clock."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url

from pipeline.errors import ConfigurationError


def open_database(url: str, *, pool_size: int = 4, application: str = "vitrine") -> Engine:
    """An engine for ``url`` (``postgresql+psycopg://…``).

    A statement may take five minutes and a lock thirty seconds: work that waits longer is better retried.
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
            "options": "-c statement_timeout=300000 -c lock_timeout=30000 -c timezone=UTC",
        },
    )


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
