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


INVARIANTS = {
    "events without a verdict": "SELECT count(*) FROM events WHERE verdict IS NULL",
    "open plans": "SELECT count(*) FROM plans WHERE verdict IS NULL",
    "runs that wait": "SELECT count(*) FROM runs WHERE state IN ('waiting', 'ready')",
    "jobs that wait": "SELECT count(*) FROM jobs WHERE state IN ('ready', 'running')",
    "jobs of nobody": "SELECT count(*) FROM jobs j WHERE NOT EXISTS (SELECT FROM runs r WHERE r.job_id = j.id)",
    "done runs without an outcome": """SELECT count(*) FROM runs r LEFT JOIN jobs j ON j.id = r.job_id
        WHERE r.state IN ('done', 'reused') AND j.outcome IS NULL""",
    "runs of withdrawn products": """SELECT count(*) FROM runs r JOIN products p ON p.id = r.product_id
        JOIN plans pl ON pl.id = r.plan_id WHERE NOT p.live AND pl.cause <> 'withdrawal'""",
    "presentations of withdrawn products": """SELECT count(*) FROM presentations pr JOIN products p
        ON p.id = pr.product_id WHERE NOT p.live""",
    "facts of withdrawn products": "SELECT count(*) FROM products WHERE NOT live AND facts IS NOT NULL",
    "bodies of withdrawn products": """SELECT count(*) FROM events e JOIN products p
        ON (p.source, p.product_id) = (e.source, e.product_id) WHERE NOT p.live AND e.body IS NOT NULL""",
    "live products without a presentation": """SELECT count(*) FROM products p WHERE live
        AND NOT EXISTS (SELECT FROM presentations pr WHERE pr.product_id = p.id)""",
    "presentations of another revision": """SELECT count(*) FROM presentations pr JOIN products p
        ON p.id = pr.product_id WHERE pr.revision <> p.revision""",
}


def violations(database: Engine) -> dict[str, int]:
    """What must not be once everything accepted has been worked off."""
    found = {name: one(database, sql) for name, sql in INVARIANTS.items()}
    return {name: count for name, count in found.items() if count}
