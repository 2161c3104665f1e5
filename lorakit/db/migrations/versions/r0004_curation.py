"""What people say of adapters: values by source, tags, collections, kept stacks; and a journal of it all.

Frozen: it never follows later changes of the models.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of curation and the journal."""
    op.create_table(
        "fact",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_fact"),
        sa.UniqueConstraint("content", "field", "source", name="uq_fact_content"),
        sqlite_strict=True,
    )
    op.create_index("ix_fact_field", "fact", ["field"])
    op.create_table(
        "tag",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tag"),
        sa.UniqueConstraint("content", "tag", "source", name="uq_tag_content"),
        sqlite_strict=True,
    )
    op.create_index("ix_tag_tag", "tag", ["tag"])
    op.create_table(
        "collection",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("query", sa.Text()),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("made_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_collection"),
        sa.UniqueConstraint("name", name="uq_collection_name"),
        sqlite_strict=True,
    )
    op.create_table(
        "member",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("collection", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_member"),
        sa.UniqueConstraint("collection", "content", name="uq_member_collection"),
        sqlite_strict=True,
    )
    op.create_index("ix_member_content", "member", ["content"])
    op.create_table(
        "kept_stack",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("made_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_kept_stack"),
        sa.UniqueConstraint("name", name="uq_kept_stack_name"),
        sqlite_strict=True,
    )
    op.create_table(
        "step",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("undoes", sa.Integer()),
        sa.Column("undone_by", sa.Integer()),
        sa.PrimaryKeyConstraint("id", name="pk_step"),
        sqlite_strict=True,
    )
    op.create_table(
        "change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("step_id", sa.Integer(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Integer(), nullable=False),
        sa.Column("before", sa.Text()),
        sa.Column("after", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_change"),
        sa.ForeignKeyConstraint(
            ["step_id"], ["step.id"], name="fk_change_step_id", ondelete="CASCADE"
        ),
        sqlite_strict=True,
    )
    op.create_index("ix_change_step_id", "change", ["step_id"])


def downgrade() -> None:
    """Not offered: the copy made before an update is the way back."""
    raise NotImplementedError
