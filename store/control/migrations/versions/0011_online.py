"""Online evaluation: which rules look at an app's new sessions, and how far each tenant's sessions were looked at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Creates both tables."""
    op.create_table(
        "online_evaluators",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("app", sa.String(200), primary_key=True),
        sa.Column("evaluators", sa.Text, nullable=False),
        sa.Column("share_ppm", sa.BigInteger, nullable=False),
        sa.Column("idle_ms", sa.BigInteger, nullable=False),
        sa.Column("changed_at_ns", sa.BigInteger, nullable=False),
        sa.Column("changed_by", sa.String(200), nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "online_marks",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("marks", sa.Text, nullable=False),
        sa.Column("owner", sa.String(64)),
        sa.Column("lease_until_ns", sa.BigInteger, nullable=False),
        sa.Column("told", sa.Text, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
