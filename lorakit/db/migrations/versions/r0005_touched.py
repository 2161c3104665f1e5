"""Which blocks and kinds of layers an adapter touches, beside it, so that queries need not unpack its modules.

Frozen: it never follows later changes of the models.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; None where they are still to be told from the modules."""
    op.add_column("adapter", sa.Column("blocks", sa.Text(), nullable=True))
    op.add_column("adapter", sa.Column("kinds", sa.Text(), nullable=True))


def downgrade() -> None:
    """Not offered: the copy made before an update is the way back."""
    raise NotImplementedError
