"""Evaluation runs and their trials."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Creates both tables."""
    op.create_table(
        "eval_runs",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("run_id", sa.String(40), primary_key=True),
        sa.Column("app", sa.String(200), nullable=False),
        sa.Column("release", sa.String(200), nullable=False),
        sa.Column("dataset", sa.String(200), nullable=False),
        sa.Column("dataset_version", sa.BigInteger, nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("evaluators", sa.Text, nullable=False),
        sa.Column("k", sa.Integer, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("n_trials", sa.BigInteger, nullable=False),
        sa.Column("n_done", sa.BigInteger, nullable=False),
        sa.Column("n_failed", sa.BigInteger, nullable=False),
        sa.Column("n_scored", sa.BigInteger, nullable=False),
        sa.Column("cost_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("created_at_ns", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("started_at_ns", sa.BigInteger),
        sa.Column("finished_at_ns", sa.BigInteger),
        sa.Column("reason", sa.Text),
        sa.Column("summary", sa.Text),
        sa.Column("owner", sa.String(300)),
        sa.Column("lease_until_ns", sa.BigInteger),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "eval_trials",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("run_id", sa.String(40), primary_key=True),
        sa.Column("example_id", sa.String(200), primary_key=True),
        sa.Column("trial", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("session_id", sa.String(1000), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("stratum", sa.String(200)),
        sa.Column("user_id", sa.Text),
        sa.Column("trace_ids", sa.Text, nullable=False),
        sa.Column("output", sa.Text),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("input_tokens", sa.BigInteger),
        sa.Column("output_tokens", sa.BigInteger),
        sa.Column("cost_nano_usd", sa.BigInteger),
        sa.Column("latency_us", sa.BigInteger),
        sa.Column("n_calls", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("scored", sa.Integer, nullable=False),
        sa.Column("started_at_ns", sa.BigInteger),
        sa.Column("finished_at_ns", sa.BigInteger),
        sa.Column("seal", sa.LargeBinary(16)),
    )
