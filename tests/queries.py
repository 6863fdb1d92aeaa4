"""Questions that tests ask the database directly, past the code under test."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, text

RUNS = """
SELECT r.stage, r.target, r.state FROM runs r JOIN products p ON p.plan_id = r.plan_id
WHERE p.product_id = :product
"""


def rows(database: Engine, sql: str, **values: Any) -> list[Any]:
    with database.connect() as connection:
        return list(connection.execute(text(sql), values).all())


def one(database: Engine, sql: str, **values: Any) -> Any:
    """The only row; its value where it has only one."""
    [row] = rows(database, sql, **values)
    return row[0] if len(row) == 1 else tuple(row)


def change(database: Engine, sql: str, **values: Any) -> int:
    """Let time pass, or damage something; returns how many rows it met."""
    with database.begin() as connection:
        return int(connection.execute(text(sql), values).rowcount)


def run_states(database: Engine, product: str = "p1") -> dict[str, str]:
    """The runs of the product's current plan: ``stage/target`` → state."""
    found = rows(database, RUNS, product=product)
    return {f"{row.stage}/{row.target}".rstrip("/"): row.state for row in found}


def verdicts(database: Engine) -> dict[str, str | None]:
    """Every event's verdict by its id."""
    return {row.event_id: row.verdict for row in rows(database, "SELECT event_id, verdict FROM events")}
