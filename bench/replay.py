"""Replays: planning a million, and passing by what has not changed."""

from __future__ import annotations

from sqlalchemy import text

from bench.ground import Ground, Row, clock
from bench.stages import fill
from storage.ledger import Ledger
from storage.quotes import Request
from storage.quotes import Selection as Selected
from storage.replays import Replays

_EVENTS = 1_000_000
_UNCHANGED = 20_000


def planning(ground: Ground) -> None:
    """The set-based statement against the raw SQL that inserts the same items."""
    ledger = ground.ledger()
    with ledger.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO products (source, product_id, live, revision, facts) "
                "SELECT 'urn:shop:' || n % 7, 'p' || n, true, 1, '{}' FROM generate_series(1, :count) n"
            ),
            {"count": _EVENTS},
        )
        connection.execute(
            text(
                "INSERT INTO events (source, event_id, type, product_id, revision, time, digest, planned_at, verdict) "
                "SELECT source, product_id || '-1', 'product.uploaded.v1', product_id, 1, now(), '', now(), 'done' "
                "FROM products"
            )
        )
    with ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    replays = Replays(ledger.engine, ledger.graph)
    raw, ours = [], []
    for _ in range(3):
        raw.append(_raw(ledger))
        with clock() as taken:
            replays.create(Request(Selected(types=("product.uploaded.v1",))))
        ours.append(taken[0])
        with ledger.engine.begin() as connection:
            connection.execute(text("TRUNCATE replay_items, replays"))
    ratio = sorted(ours)[1] / sorted(raw)[1]
    ground.rows.append(
        Row(
            "planning a replay of 1,000,000 events / raw SQL",
            f"{ratio:.2f}",
            "≤ 2",
            ratio <= 2,
            f"{sorted(ours)[1]:.1f} s, selected by event type",
        )
    )


def _raw(ledger: Ledger) -> float:
    """What anybody would write by hand: the products of those events into the same table."""
    with clock() as taken, ledger.engine.begin() as connection:
        connection.execute(text("""INSERT INTO replays (selection, "window") VALUES ('{}', 1)"""))
        connection.execute(
            text(
                "INSERT INTO replay_items (replay_id, product_id) "
                "SELECT DISTINCT (SELECT max(id) FROM replays), p.id FROM events e "
                "JOIN products p USING (source, product_id) WHERE e.type = 'product.uploaded.v1' AND p.live"
            )
        )
    with ledger.engine.begin() as connection:
        connection.execute(text("TRUNCATE replay_items, replays"))
    return taken[0]


def unchanged(ground: Ground, seconds_a_product: float) -> None:
    """A replay in which nothing changed, against computing the same products."""
    ledger = ground.ledger()
    fill(ledger, _UNCHANGED)
    with ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    replays = Replays(ledger.engine, ledger.graph)
    with clock() as taken:
        replay = replays.create(Request())
        while replays.progress(replay)[0]["state"] != "done":
            replays.advance()
    cost = taken[0] / _UNCHANGED
    ratio = cost / seconds_a_product
    ground.rows.append(
        Row(
            "replay of an unchanged product / computing it",
            f"{ratio:.3%}",
            "≤ 1%",
            ratio <= 0.01,
            f"{cost * 1e6:.0f} µs against {seconds_a_product * 1e3:.2f} ms with stub engines",
        )
    )
