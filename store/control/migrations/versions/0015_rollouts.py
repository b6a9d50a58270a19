"""Rollouts: where each stands, its blocks, events and certificates, and the checks that were reported."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Creates the five tables."""
    op.create_table(
        "rollouts",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("rollout_id", sa.String(40), primary_key=True),
        sa.Column("app", sa.String(200), nullable=False),
        sa.Column("baseline", sa.String(200), nullable=False),
        sa.Column("candidate", sa.String(200), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("policy_hash", sa.String(64), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("n_blocks", sa.BigInteger, nullable=False),
        sa.Column("n_events", sa.BigInteger, nullable=False),
        sa.Column("n_certificates", sa.BigInteger, nullable=False),
        sa.Column("started_by", sa.String(200), nullable=False),
        sa.Column("started_key", sa.String(64)),
        sa.Column("started_at_ns", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ns", sa.BigInteger),
        sa.Column("owner", sa.String(300)),
        sa.Column("lease_until_ns", sa.BigInteger),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "rollout_blocks",
        *_key(),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("counts", sa.Text, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "rollout_events",
        *_key(),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("made_by", sa.String(200), nullable=False),
        sa.Column("certificate", sa.BigInteger),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "rollout_certificates",
        *_key(),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "rollout_checks",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("app", sa.String(200), primary_key=True),
        sa.Column("release", sa.String(200), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("passed", sa.Integer, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("link", sa.String(1000)),
        sa.Column("made_by", sa.String(200), nullable=False),
        sa.Column("made_at_ns", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )


def _key() -> list[sa.Column]:  # type: ignore[type-arg]
    return [
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("rollout_id", sa.String(40), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    ]
