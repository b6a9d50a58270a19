"""Decisions of gates, and the bundles that they can be computed again from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Creates both tables."""
    op.create_table(
        "gate_decisions",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("gate_id", sa.String(40), primary_key=True),
        sa.Column("app", sa.String(200), nullable=False),
        sa.Column("candidate", sa.String(200), nullable=False),
        sa.Column("baseline", sa.String(200), nullable=False),
        sa.Column("dataset", sa.String(200)),
        sa.Column("policy_name", sa.String(200)),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("told", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("made_by", sa.String(200), nullable=False),
        sa.Column("made_at_ns", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "gate_bundles",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("gate_id", sa.String(40), primary_key=True),
        sa.Column("n_bytes", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
