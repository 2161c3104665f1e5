"""Claims about terms, weight sketches, what a base was made from, and an audit that is a chain.

Frozen: it never follows later changes of the models.
"""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_AUDIT = sa.table(
    "audit", *(sa.column(name) for name in ("id", "at", "action", "verdict", "subject"))
)


def upgrade() -> None:
    """Create the tables of claims and sketches, extend the bases, and chain the audit."""
    op.add_column("base", sa.Column("tensor_sha256", sa.Text()))
    op.add_column("base", sa.Column("parent", sa.Text()))
    op.create_table(
        "claim",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("model", sa.Text()),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_claim"),
        sa.UniqueConstraint("content", "origin", "source", name="uq_claim_content"),
        sqlite_strict=True,
    )
    op.create_table(
        "sketch",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model", sa.Text()),
        sa.Column("parent", sa.Text()),
        sa.Column("scheme", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sketch"),
        sa.UniqueConstraint("content", "kind", name="uq_sketch_content"),
        sa.CheckConstraint("kind IN ('base', 'adapter', 'fingerprint')", name="ck_sketch_kind"),
        sqlite_strict=True,
    )
    _chain_audit()


def _chain_audit() -> None:
    """Rebuild the audit table so that every row carries a hash over itself and the row before.

    Numbers of rows are never given twice, so that rows missing at the end are noticed as well.
    """
    connection = op.get_bind()
    rows = connection.execute(sa.select(_AUDIT).order_by(_AUDIT.c.id)).all()
    op.drop_table("audit")
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
        sa.UniqueConstraint("hash", name="uq_audit_hash"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    chained = sa.table(
        "audit", *(sa.column(name) for name in (*_AUDIT.c.keys(), "previous", "hash"))
    )
    previous = ""
    for row in rows:
        text = "\n".join((previous, row.at, row.action, row.verdict, row.subject))
        digest = hashlib.sha256(text.encode()).hexdigest()
        connection.execute(chained.insert().values(**row._mapping, previous=previous, hash=digest))
        previous = digest
    if connection.dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_no_{event.lower()} BEFORE {event} ON audit "
                "BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END"
            )


def downgrade() -> None:
    """Not offered: the copy made before an update is the way back."""
    raise NotImplementedError
