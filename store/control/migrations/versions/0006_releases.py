"""Releases: what each version of an app is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        "releases",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("app", sa.String(200), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("variant", sa.String(200)),
        sa.Column("model", sa.String(200)),
        sa.Column("provider", sa.String(200)),
        sa.Column("prompt_version", sa.String(200)),
        sa.Column("parameters", sa.Text, nullable=False),
        sa.Column("endpoint", sa.String(1000)),
        sa.Column("created_at_ns", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
