"""Durable intake against the fastest thing Postgres offers: COPY into a temporary table, then ON CONFLICT."""

from __future__ import annotations

from sqlalchemy import text

from bench.ground import Ground, Row, clock, events, messages
from storage.ledger import Ledger
from storage.ledger.accept import COPY, INCOMING, INSERT, copy_in
from workers.intake import sort_messages

_BATCH = 500
_BATCHES = 20


def intake(ground: Ground) -> None:
    """From raw bytes in memory to the commit, broker and planning left out; alternating with the raw statement."""
    ledger = ground.ledger()
    ours, raw = [], []
    for n in range(_BATCHES):
        batch = messages(_BATCH, first=n * _BATCH, prefix="ours")
        with clock() as taken:
            accepted, refused = sort_messages(batch)
            ledger.accept(accepted, refused)
        ours.append(taken[0])
        rows = events(_BATCH, first=n * _BATCH, prefix="raw")
        raw.append(_copy(ledger, rows))
    ratio = sorted(r / o for r, o in zip(raw, ours, strict=True))[_BATCHES // 2]
    rate = _BATCH / sorted(ours)[_BATCHES // 2]
    ground.rows.append(
        Row(
            "durable intake / raw COPY + ON CONFLICT",
            f"{ratio:.2f}",
            "≥ 0.40, aim 0.50",
            ratio >= 0.4,
            f"{rate:,.0f} events/s",
        )
    )


def _copy(ledger: Ledger, rows: list) -> float:  # type: ignore[type-arg]
    """The raw statement over the same rows: what the driver sends is prepared beforehand."""
    prepared: list[bytes] = []

    class Tape:
        """Records what ``copy_in`` would write, in COPY's text format, so that only sending it is timed."""

        def __enter__(self) -> Tape:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def write_row(self, row: tuple[object, ...]) -> None:
            prepared.append("\t".join(_field(value) for value in row).encode() + b"\n")

    class Cursor:
        def copy(self, _: str) -> Tape:
            return Tape()

    copy_in(Cursor(), rows)
    data = b"".join(prepared)
    with ledger.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        with clock() as taken, driver.cursor() as cursor:
            cursor.execute(INCOMING)
            with cursor.copy(COPY) as copy:
                copy.write(data)
            cursor.execute(INSERT)
            driver.commit()
        connection.execute(text("SELECT 1"))
    return taken[0]


def _field(value: object) -> str:
    if value is None:
        return r"\N"
    if isinstance(value, bytes):
        return r"\\x" + value.hex()
    return str(value).replace("\\", r"\\").replace("\t", r"\t").replace("\n", r"\n")
