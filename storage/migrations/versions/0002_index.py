"""The index: embedding spaces, what was written into them, the version of a presentation, recorded searches"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Whoever changes a presentation, by whatever statement, leaves a greater version behind.
_VERSION = """
CREATE FUNCTION presentation_next_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := nextval('presentation_versions');
    RETURN NEW;
END $$;
CREATE TRIGGER presentation_next_version BEFORE UPDATE ON presentations
    FOR EACH ROW EXECUTE FUNCTION presentation_next_version();
"""


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("presentation_versions")))
    op.add_column(
        "presentations",
        sa.Column(
            "version",
            sa.BigInteger(),
            server_default=sa.text("nextval('presentation_versions')"),
            nullable=False,
        ),
    )
    op.execute(_VERSION)
    op.create_table(
        "spaces",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("collection", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("replay_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("role IN ('serving', 'shadow', 'retired')", name="spaces_role_known"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("collection"),
    )
    op.create_index(
        "spaces_role", "spaces", ["role"], unique=True, postgresql_where=sa.text("role <> 'retired'")
    )
    op.create_table(
        "index_points",
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"]),
        sa.ForeignKeyConstraint(["space_id"], ["spaces.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("space_id", "product_id"),
    )
    op.create_index(
        "index_points_removed",
        "index_points",
        ["removed_at"],
        unique=False,
        postgresql_where=sa.text("removed_at IS NOT NULL"),
    )
    op.create_table(
        "searches",
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("times", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("text"),
    )
    op.create_index("searches_last", "searches", ["last_at"], unique=False)


def downgrade() -> None:
    op.drop_table("searches")
    op.drop_table("index_points")
    op.drop_table("spaces")
    op.execute("DROP TRIGGER presentation_next_version ON presentations")
    op.execute("DROP FUNCTION presentation_next_version()")
    op.drop_column("presentations", "version")
    op.execute("DROP SEQUENCE presentation_versions")
