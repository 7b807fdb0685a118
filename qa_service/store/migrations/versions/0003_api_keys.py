"""Creates the table of API keys, for machines that share the database."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        "api_keys",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("scopes", sa.String(100), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("made", sa.String(40), nullable=False),
    )


def downgrade() -> None:
    """Drops the table."""
    op.drop_table("api_keys")
