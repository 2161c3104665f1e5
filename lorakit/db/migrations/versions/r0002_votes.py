"""Comparisons of two ways to render, and the votes given in them.

Frozen: it never follows later changes of the models.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables of comparisons and votes."""
    op.create_table(
        "comparison",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("sides", sa.Text(), nullable=False),
        sa.Column("pairs", sa.Text(), nullable=False),
        sa.Column("blind", sa.Integer(), nullable=False),
        sa.Column("order_seed", _BIG, nullable=False),
        sa.Column("made_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_comparison"),
        sa.UniqueConstraint("name", name="uq_comparison_name"),
        sqlite_strict=True,
    )
    op.create_table(
        "vote",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("comparison_id", sa.Integer(), nullable=False),
        sa.Column("pair", sa.Integer(), nullable=False),
        sa.Column("choice", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_vote"),
        sa.CheckConstraint("choice IN ('first', 'second', 'same')", name="ck_vote_choice"),
        sa.UniqueConstraint("comparison_id", "pair", name="uq_vote_comparison_id"),
        sa.ForeignKeyConstraint(
            ["comparison_id"], ["comparison.id"], name="fk_vote_comparison_id", ondelete="CASCADE"
        ),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Not offered: the copy made before an update is the way back."""
    raise NotImplementedError
