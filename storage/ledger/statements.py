"""The hot path's way to Postgres: SQL as the driver takes it, many rows in one parameter."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql.psycopg import dialect

_DIALECT = dialect()  # type: ignore[no-untyped-call]


def sql(statement: str) -> str:
    """``statement`` with ``:name`` parameters, compiled once for ``Connection.exec_driver_sql``.

    A batch of the stage runner is some twenty short statements; looking each up in SQLAlchemy's cache costs as
    much as sending it.
    """
    return str(text(statement).compile(dialect=_DIALECT))


def records(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows for ``json_to_recordset(CAST(:rows AS json))``; bytes travel as hex.

    JSON is what both sides read and write fastest.
    """
    return json.dumps(list(rows), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
