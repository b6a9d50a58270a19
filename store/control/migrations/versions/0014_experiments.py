"""Experiments: versions of definitions, how each stands, and testers' variants."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Creates the three tables."""
    op.create_table(
        "experiments",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("app", sa.String(200), nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("made_by", sa.String(200), nullable=False),
        sa.Column("made_at_ns", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "experiment_states",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("ramps", sa.Text, nullable=False),
        sa.Column("started_at_ns", sa.BigInteger),
        sa.Column("started_by", sa.String(200)),
        sa.Column("stopped_at_ns", sa.BigInteger),
        sa.Column("stopped_by", sa.String(200)),
        sa.Column("reason", sa.Text),
        sa.Column("word", sa.String(24)),
        sa.Column("headline", sa.Text),
        sa.Column("n_units", sa.BigInteger),
        sa.Column("looked_at_ns", sa.BigInteger),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "experiment_overrides",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("unit_hash", sa.String(64), primary_key=True),
        sa.Column("variant", sa.String(200)),
        sa.Column("set_by", sa.String(200), nullable=False),
        sa.Column("set_at_ns", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
