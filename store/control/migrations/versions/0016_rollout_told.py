"""How far events of rollouts have been told to other systems."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        "rollout_told",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("rollout_id", sa.String(40), primary_key=True),
        sa.Column("target", sa.String(64), primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.String(300)),
        sa.Column("lease_until_ns", sa.BigInteger),
        sa.Column("seal", sa.LargeBinary(16)),
    )
