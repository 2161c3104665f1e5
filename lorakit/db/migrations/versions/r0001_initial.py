"""Adapters, their reports and locations, bases, and the audit of licence decisions.

Frozen: it never follows later changes of the models.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# 64 bits everywhere; SQLite's STRICT tables know them as INTEGER only.
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "adapter",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("file_sha256", sa.Text(), nullable=False),
        sa.Column("tensor_sha256", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("file_size", _BIG, nullable=False),
        sa.Column("layout", sa.Text(), nullable=False),
        sa.Column("algo", sa.Text(), nullable=False),
        sa.Column("rank_min", sa.Integer()),
        sa.Column("rank_max", sa.Integer()),
        sa.Column("module_count", sa.Integer(), nullable=False),
        sa.Column("model_blocks", sa.Integer()),
        sa.Column("components", sa.Text(), nullable=False),
        sa.Column("base_model", sa.Text()),
        sa.Column("dtype", sa.Text(), nullable=False),
        sa.Column("title", sa.Text()),
        sa.Column("trigger_words", sa.Text(), nullable=False),
        sa.Column("license", sa.Text()),
        sa.Column("added_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_adapter"),
        sa.UniqueConstraint("file_sha256", name="uq_adapter_file_sha256"),
        sa.UniqueConstraint("name", name="uq_adapter_name"),
        sqlite_strict=True,
    )
    op.create_index("ix_adapter_tensor_sha256", "adapter", ["tensor_sha256"])
    op.create_table(
        "report",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("header", sa.Text(), nullable=False),
        sa.Column("modules", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("adapter_id", name="pk_report"),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapter.id"], name="fk_report_adapter_id", ondelete="CASCADE"
        ),
        sqlite_strict=True,
    )
    op.create_table(
        "location",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", _BIG, nullable=False),
        sa.Column("mtime_ns", _BIG, nullable=False),
        sa.Column("inode", _BIG, nullable=False),
        sa.Column("device", _BIG, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_location"),
        sa.CheckConstraint("state IN ('present', 'missing')", name="ck_location_state"),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapter.id"], name="fk_location_adapter_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("path", name="uq_location_path"),
        sqlite_strict=True,
    )
    op.create_index("ix_location_adapter_id", "location", ["adapter_id"])
    _create_base()
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
        sqlite_strict=True,
    )


def _create_base() -> None:
    op.create_table(
        "base",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("file_size", _BIG, nullable=False),
        sa.Column("mtime_ns", _BIG, nullable=False),
        sa.Column("file_sha256", sa.Text()),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("blocks", sa.Integer(), nullable=False),
        sa.Column("dtype", sa.Text(), nullable=False),
        sa.Column("components", sa.Text()),
        sa.Column("added_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_base"),
        sa.UniqueConstraint("name", name="uq_base_name"),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Not offered: the copy made before an update is the way back."""
    raise NotImplementedError
