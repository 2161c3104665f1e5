"""What queries need of many adapters at once: blocks and kinds beside each, and a narrow index of places.

Frozen: it never follows later changes of the models.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, None where they are still to be told from the modules, and the index."""
    op.add_column("adapter", sa.Column("blocks", sa.Text(), nullable=True))
    op.add_column("adapter", sa.Column("kinds", sa.Text(), nullable=True))
    op.create_index("ix_location_seen_at", "location", ["seen_at", "state", "adapter_id"])


def downgrade() -> None:
    """Not offered: the copy made before an update is the way back."""
    raise NotImplementedError
