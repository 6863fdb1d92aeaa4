"""The mapped tables. Only the ledger writes run state; everybody may read."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    Sequence,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

JsonObject = dict[str, Any]


class Base(DeclarativeBase):
    """Types are spelled once, here: text without length, times with zone, integers of eight bytes."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        int: BigInteger,
        float: Double,
        bytes: LargeBinary,
        bool: Boolean,
        datetime: DateTime(timezone=True),
        JsonObject: JSONB,
        list[str]: ARRAY(Text),
    }


_NOW = func.now()


class ProductRow(Base):
    """A product as its newest event left it. Locking this row, in id order, serialises all work on it."""

    __tablename__ = "products"
    __table_args__ = (
        UniqueConstraint("source", "product_id"),
        Index("products_plan", "plan_id"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    source: Mapped[str]
    product_id: Mapped[str]
    live: Mapped[bool] = mapped_column(server_default=text("false"))
    revision: Mapped[int] = mapped_column(server_default="0")
    # The rest of the order key: a withdrawal beats anything else at its revision, then time, then id.
    by_withdrawal: Mapped[bool] = mapped_column(server_default=text("false"))
    event_time: Mapped[datetime | None]
    event_id: Mapped[str] = mapped_column(server_default="")
    blocked_at: Mapped[datetime | None]
    relisted_at: Mapped[datetime | None]
    generation: Mapped[int] = mapped_column(server_default="0")
    facts: Mapped[JsonObject | None]
    plan_id: Mapped[int | None]
    # The graph's signature under which everything was last found done; a replay compares it and moves on.
    signature: Mapped[str] = mapped_column(server_default="")
    withdrawn_at: Mapped[datetime | None]


class EventRow(Base):
    """The inbox: every accepted event, once, with its verdict."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("source", "event_id"),
        Index("events_unplanned", "seq", postgresql_where=text("planned_at IS NULL")),
        Index("events_product", "source", "product_id"),
    )

    seq: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    source: Mapped[str]
    event_id: Mapped[str]
    type: Mapped[str]
    product_id: Mapped[str]
    revision: Mapped[int | None]
    time: Mapped[datetime]
    traceparent: Mapped[str | None]
    body: Mapped[JsonObject | None]
    digest: Mapped[bytes]
    received_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    planned_at: Mapped[datetime | None]
    plan_id: Mapped[int | None]
    verdict: Mapped[str | None]
    verdict_at: Mapped[datetime | None]


class QuarantineRow(Base):
    """What could not be accepted, with its reason; the same bytes are kept once and counted."""

    __tablename__ = "quarantine"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    reason: Mapped[str] = mapped_column(primary_key=True)
    field: Mapped[str]
    message: Mapped[str]
    source: Mapped[str | None]
    event_id: Mapped[str | None]
    product_id: Mapped[str | None]
    # The first bytes only: enough to see what it was, bounded whatever was sent.
    head: Mapped[bytes]
    size: Mapped[int]
    times: Mapped[int] = mapped_column(server_default="1")
    first_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    last_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class PlanRow(Base):
    """One pass of a product's (revision, generation) through the graph, and how it ended."""

    __tablename__ = "plans"
    __table_args__ = (
        Index("plans_open", "product_id", unique=True, postgresql_where=text("verdict IS NULL")),
        Index("plans_product", "product_id"),
        Index("plans_closed", "closed_at"),
        Index(
            "plans_replay", "replay_id", postgresql_where=text("replay_id IS NOT NULL AND verdict IS NULL")
        ),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    cause: Mapped[str]
    event_seq: Mapped[int | None]
    replay_id: Mapped[int | None]
    revision: Mapped[int]
    generation: Mapped[int]
    lane: Mapped[int] = mapped_column(SmallInteger)
    review: Mapped[bool] = mapped_column(server_default=text("false"))
    # Outcomes older than this are computed again: of these stages, or of all when the list is empty.
    force_before: Mapped[datetime | None]
    force_stages: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    traceparent: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    closed_at: Mapped[datetime | None]
    verdict: Mapped[str | None]


# Fencing tokens: every lease is greater than all before it.
LEASE_TOKENS = Sequence("lease_tokens", metadata=Base.metadata)


class JobRow(Base):
    """One unit of work, named by its fingerprint: it owns the lease, the attempts and the outcome."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index(
            "jobs_admissible",
            "queue",
            "lane",
            "source",
            "turn",
            "id",
            postgresql_where=text("state = 'ready' AND dispatched_at IS NULL"),
        ),
        Index(
            "jobs_dispatched",
            "queue",
            "dispatched_at",
            postgresql_where=text("state = 'ready' AND dispatched_at IS NOT NULL"),
        ),
        Index(
            "jobs_top_up",
            "stage",
            "lane",
            "recipe",
            "turn",
            "id",
            postgresql_where=text("state = 'ready' AND NOT suspect"),
        ),
        Index("jobs_leased", "lease_until", postgresql_where=text("state = 'running'")),
        Index("jobs_parked", "stage", postgresql_where=text("state = 'parked'")),
        Index("jobs_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(unique=True)
    stage: Mapped[str]
    recipe: Mapped[str]
    engine: Mapped[str] = mapped_column(server_default="")
    queue: Mapped[str]
    lane: Mapped[int] = mapped_column(SmallInteger)
    source: Mapped[str]
    # The first subscriber's plan: older products finish before younger ones start.
    turn: Mapped[int]
    load_bytes: Mapped[int] = mapped_column(server_default="0")
    state: Mapped[str] = mapped_column(server_default="ready")
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    # A process died while it held this: it runs alone from now on, and only deaths alone are counted.
    suspect: Mapped[bool] = mapped_column(server_default=text("false"))
    deaths: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    not_before: Mapped[datetime] = mapped_column(server_default=_NOW)
    dispatched_at: Mapped[datetime | None]
    lease_token: Mapped[int | None]
    lease_until: Mapped[datetime | None]
    lease_size: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    worker: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    seconds: Mapped[float | None]
    outcome: Mapped[JsonObject | None]
    outcome_digest: Mapped[bytes | None]
    outcome_bytes: Mapped[int] = mapped_column(server_default="0")
    blocks: Mapped[str | None]
    reason: Mapped[str | None]
    error: Mapped[str | None]
    trace: Mapped[str | None]


class RunRow(Base):
    """A plan's interest in one stage for one target: it waits, then subscribes to a job."""

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("plan_id", "stage", "target"),
        Index("runs_job", "job_id"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id", ondelete="CASCADE"))
    product_id: Mapped[int]
    stage: Mapped[str]
    target: Mapped[str] = mapped_column(server_default="")
    state: Mapped[str] = mapped_column(server_default="waiting")
    job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"))
    reason: Mapped[str | None]
    settled_at: Mapped[datetime | None]


class AssetRow(Base):
    """A stored blob. ``touched_at`` is renewed before each write, so that a sweep never races a writer."""

    __tablename__ = "assets"
    __table_args__ = (Index("assets_touched", "touched_at"),)

    digest: Mapped[str] = mapped_column(primary_key=True)
    media_type: Mapped[str]
    size: Mapped[int]
    touched_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class AssetUseRow(Base):
    """An outcome keeps these blobs alive."""

    __tablename__ = "asset_uses"
    __table_args__ = (Index("asset_uses_digest", "digest"),)

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[str] = mapped_column(ForeignKey("assets.digest"), primary_key=True)


class DownloadRow(Base):
    """Where a stored photo came from, for conditional requests and for replays without a request."""

    __tablename__ = "downloads"
    __table_args__ = (Index("downloads_digest", "digest"),)

    url_digest: Mapped[bytes] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(ForeignKey("assets.digest", ondelete="CASCADE"))
    etag: Mapped[str | None]
    last_modified: Mapped[str | None]
    fetched_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class ReviewRow(Base):
    """What a parked job made that a person has to judge: the outcome, and who decided what, when and why."""

    __tablename__ = "reviews"
    __table_args__ = (Index("reviews_open", "asked_at", postgresql_where=text("accepted IS NULL")),)

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    outcome: Mapped[JsonObject]
    digest: Mapped[bytes]
    load_bytes: Mapped[int] = mapped_column(server_default="0")
    seconds: Mapped[float | None]
    asked_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    accepted: Mapped[bool | None]
    decided_by: Mapped[str | None]
    why: Mapped[str | None]
    decided_at: Mapped[datetime | None]


class PresentationRow(Base):
    """What the storefront reads: one row a product, each field with the (revision, generation) it came from."""

    __tablename__ = "presentations"

    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"), primary_key=True)
    revision: Mapped[int]
    generation: Mapped[int]
    fields: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    candidate: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    corrections: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
    # Grows with every change, also over a withdrawal and a return: what was written from an older one is older.
    version: Mapped[int] = mapped_column(server_default=text("nextval('presentation_versions')"))
    updated_at: Mapped[datetime] = mapped_column(server_default=_NOW)


PRESENTATION_VERSIONS = Sequence("presentation_versions", metadata=Base.metadata)


class SpaceRow(Base):
    """An embedding space: the engine that embeds into it, and the collection that holds its vectors."""

    __tablename__ = "spaces"
    __table_args__ = (
        Index("spaces_role", "role", unique=True, postgresql_where=text("role <> 'retired'")),
        CheckConstraint("role IN ('serving', 'shadow', 'retired')", name="spaces_role_known"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    engine: Mapped[str]
    collection: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    replay_id: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    changed_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class IndexPointRow(Base):
    """What was last written of a product into a space's collection, or that it was removed from it."""

    __tablename__ = "index_points"
    __table_args__ = (
        Index("index_points_removed", "removed_at", postgresql_where=text("removed_at IS NOT NULL")),
    )

    space_id: Mapped[int] = mapped_column(ForeignKey("spaces.id", ondelete="CASCADE"), primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"), primary_key=True)
    version: Mapped[int]
    removed_at: Mapped[datetime | None]


class SearchRow(Base):
    """A query in words that somebody searched for, and how often: what a new model is compared with."""

    __tablename__ = "searches"
    __table_args__ = (Index("searches_last", "last_at"),)

    text: Mapped[str] = mapped_column(primary_key=True)
    times: Mapped[int] = mapped_column(server_default="1")
    last_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class ReplayRow(Base):
    """A backfill: what was asked for, how fast it may go, and how far it got."""

    __tablename__ = "replays"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    selection: Mapped[JsonObject]
    stages: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    force: Mapped[bool] = mapped_column(server_default=text("false"))
    review: Mapped[bool] = mapped_column(server_default=text("false"))
    rate: Mapped[float | None]
    window: Mapped[int]
    state: Mapped[str] = mapped_column(server_default="running")
    items: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    admitted_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class ReplayItemRow(Base):
    """One product of a replay; pending until its plan is made, then it carries the plan's verdict."""

    __tablename__ = "replay_items"
    __table_args__ = (
        Index(
            "replay_items_pending", "replay_id", "product_id", postgresql_where=text("verdict = 'pending'")
        ),
    )

    replay_id: Mapped[int] = mapped_column(ForeignKey("replays.id", ondelete="CASCADE"), primary_key=True)
    product_id: Mapped[int] = mapped_column(primary_key=True)
    verdict: Mapped[str] = mapped_column(server_default="pending")
