"""Creates the tables of questions, kept if the operator allows it, and of counts of answers."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Creates the tables, and an index by which feedback is joined to questions."""
    op.create_index("ix_feedback_answer_id", "feedback", ["answer_id"])
    op.create_table(
        "questions",
        sa.Column("answer_id", sa.String(26), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, index=True),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("lang", sa.String(2), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("entry", sa.String(120)),
        sa.Column("confidence", sa.Float, nullable=False),
    )
    op.create_table(
        "asked",
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("entry", sa.String(120), primary_key=True),
        sa.Column("status", sa.String(20), primary_key=True),
        sa.Column("lang", sa.String(2), primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    """Drops the tables and the index."""
    op.drop_table("asked")
    op.drop_table("questions")
    op.drop_index("ix_feedback_answer_id", "feedback")
