"""The ledger: events, products, plans, runs, jobs, assets, presentations, replays"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


# A last guard: what the storefront reads never goes back, whatever a defect above may try.
_NEVER_BACK = """
CREATE FUNCTION presentation_never_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.revision, NEW.generation) < (OLD.revision, OLD.generation) THEN
        RAISE EXCEPTION 'presentation of product % would go back from (%, %) to (%, %)', OLD.product_id,
            OLD.revision, OLD.generation, NEW.revision, NEW.generation;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER presentation_never_back BEFORE UPDATE ON presentations
    FOR EACH ROW EXECUTE FUNCTION presentation_never_back();
"""


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("lease_tokens")))
    op.create_table(
        "assets",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("touched_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index("assets_touched", "assets", ["touched_at"], unique=False)
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("product_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=True),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("plan_id", sa.BigInteger(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("verdict_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("source", "event_id"),
    )
    op.create_index("events_product", "events", ["source", "product_id"], unique=False)
    op.create_index(
        "events_unplanned", "events", ["seq"], unique=False, postgresql_where=sa.text("planned_at IS NULL")
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), server_default="", nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("load_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("state", sa.Text(), server_default="ready", nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("suspect", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("deaths", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_size", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("outcome", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("outcome_digest", sa.LargeBinary(), nullable=True),
        sa.Column("outcome_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("blocks", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("trace", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("fingerprint"),
    )
    op.create_index(
        "jobs_admissible",
        "jobs",
        ["queue", "lane", "source", "turn", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'ready' AND dispatched_at IS NULL"),
    )
    op.create_index(
        "jobs_dispatched",
        "jobs",
        ["queue", "dispatched_at"],
        unique=False,
        postgresql_where=sa.text("state = 'ready' AND dispatched_at IS NOT NULL"),
    )
    op.create_index(
        "jobs_finished",
        "jobs",
        ["finished_at"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index(
        "jobs_leased", "jobs", ["lease_until"], unique=False, postgresql_where=sa.text("state = 'running'")
    )
    op.create_index(
        "jobs_parked", "jobs", ["stage"], unique=False, postgresql_where=sa.text("state = 'parked'")
    )
    op.create_index(
        "jobs_top_up",
        "jobs",
        ["stage", "lane", "recipe", "turn", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'ready' AND NOT suspect"),
    )
    op.create_table(
        "products",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("product_id", sa.Text(), nullable=False),
        sa.Column("live", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("by_withdrawal", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("event_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("event_id", sa.Text(), server_default="", nullable=False),
        sa.Column("blocked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("relisted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("generation", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("plan_id", sa.BigInteger(), nullable=True),
        sa.Column("signature", sa.Text(), server_default="", nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("source", "product_id"),
    )
    op.create_index("products_plan", "products", ["plan_id"], unique=False)
    op.create_table(
        "quarantine",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("product_id", sa.Text(), nullable=True),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("times", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("digest", "reason"),
    )
    op.create_table(
        "replays",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("selection", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("stages", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("force", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("review", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("rate", sa.Double(), nullable=True),
        sa.Column("window", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("items", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("admitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "asset_uses",
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"],
            ["assets.digest"],
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "digest"),
    )
    op.create_index("asset_uses_digest", "asset_uses", ["digest"], unique=False)
    op.create_table(
        "downloads",
        sa.Column("url_digest", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("last_modified", sa.Text(), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["assets.digest"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("url_digest"),
    )
    op.create_index("downloads_digest", "downloads", ["digest"], unique=False)
    op.create_table(
        "plans",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=True),
        sa.Column("replay_id", sa.BigInteger(), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("review", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("force_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "force_stages", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["product_id"],
            ["products.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("plans_closed", "plans", ["closed_at"], unique=False)
    op.create_index(
        "plans_open", "plans", ["product_id"], unique=True, postgresql_where=sa.text("verdict IS NULL")
    )
    op.create_index("plans_product", "plans", ["product_id"], unique=False)
    op.create_index(
        "plans_replay",
        "plans",
        ["replay_id"],
        unique=False,
        postgresql_where=sa.text("replay_id IS NOT NULL AND verdict IS NULL"),
    )
    op.create_table(
        "presentations",
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column(
            "fields", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column(
            "candidate",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column(
            "corrections",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["product_id"],
            ["products.id"],
        ),
        sa.PrimaryKeyConstraint("product_id"),
    )
    op.create_table(
        "replay_items",
        sa.Column("replay_id", sa.BigInteger(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.Text(), server_default="pending", nullable=False),
        sa.ForeignKeyConstraint(["replay_id"], ["replays.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("replay_id", "product_id"),
    )
    op.create_index(
        "replay_items_pending",
        "replay_items",
        ["replay_id", "product_id"],
        unique=False,
        postgresql_where=sa.text("verdict = 'pending'"),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["jobs.id"],
        ),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("plan_id", "stage", "target"),
    )
    op.create_index("runs_job", "runs", ["job_id"], unique=False)
    op.execute(_NEVER_BACK)


def downgrade() -> None:
    op.drop_index("runs_job", table_name="runs")
    op.drop_table("runs")
    op.drop_index(
        "replay_items_pending", table_name="replay_items", postgresql_where=sa.text("verdict = 'pending'")
    )
    op.drop_table("replay_items")
    op.drop_table("presentations")
    op.drop_index(
        "plans_replay",
        table_name="plans",
        postgresql_where=sa.text("replay_id IS NOT NULL AND verdict IS NULL"),
    )
    op.drop_index("plans_product", table_name="plans")
    op.drop_index("plans_open", table_name="plans", postgresql_where=sa.text("verdict IS NULL"))
    op.drop_index("plans_closed", table_name="plans")
    op.drop_table("plans")
    op.drop_index("downloads_digest", table_name="downloads")
    op.drop_table("downloads")
    op.drop_index("asset_uses_digest", table_name="asset_uses")
    op.drop_table("asset_uses")
    op.drop_table("replays")
    op.drop_table("quarantine")
    op.drop_index("products_plan", table_name="products")
    op.drop_table("products")
    op.drop_index(
        "jobs_top_up", table_name="jobs", postgresql_where=sa.text("state = 'ready' AND NOT suspect")
    )
    op.drop_index("jobs_parked", table_name="jobs", postgresql_where=sa.text("state = 'parked'"))
    op.drop_index("jobs_leased", table_name="jobs", postgresql_where=sa.text("state = 'running'"))
    op.drop_index("jobs_finished", table_name="jobs", postgresql_where=sa.text("finished_at IS NOT NULL"))
    op.drop_index(
        "jobs_dispatched",
        table_name="jobs",
        postgresql_where=sa.text("state = 'ready' AND dispatched_at IS NOT NULL"),
    )
    op.drop_index(
        "jobs_admissible",
        table_name="jobs",
        postgresql_where=sa.text("state = 'ready' AND dispatched_at IS NULL"),
    )
    op.drop_table("jobs")
    op.drop_index("events_unplanned", table_name="events", postgresql_where=sa.text("planned_at IS NULL"))
    op.drop_index("events_product", table_name="events")
    op.drop_table("events")
    op.drop_index("assets_touched", table_name="assets")
    op.drop_table("assets")
    op.execute("DROP FUNCTION presentation_never_back")
    op.execute(sa.schema.DropSequence(sa.Sequence("lease_tokens")))
