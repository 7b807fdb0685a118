"""Creates the table of feedback: whether an answer was helpful, and why not."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the table, unless the store is older than its migrations and has it."""
    if "feedback" in sa.inspect(op.get_bind()).get_table_names():
        return
    op.create_table(
        "feedback",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer_id", sa.String(26), nullable=False),
        sa.Column("helpful", sa.Boolean, nullable=False),
        sa.Column("reason", sa.String(2000)),
    )


def downgrade() -> None:
    """Drops the table."""
    op.drop_table("feedback")
