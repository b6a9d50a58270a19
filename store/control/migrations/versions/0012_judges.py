"""Judges: rubrics, specs, jobs with what is left of them, verdicts with raw replies, schedules, calibrations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Creates the seven tables."""
    op.create_table(
        "rubrics",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("made_by", sa.String(200), nullable=False),
        sa.Column("made_at_ns", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "judges",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("version", sa.String(12), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("made_by", sa.String(200), nullable=False),
        sa.Column("made_at_ns", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "judge_jobs",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("job_id", sa.String(60), primary_key=True),
        sa.Column("judge", sa.String(200), nullable=False),
        sa.Column("version", sa.String(12), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("rubric", sa.Text, nullable=False),
        sa.Column("app", sa.String(200), nullable=False),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("n_targets", sa.BigInteger, nullable=False),
        sa.Column("n_done", sa.BigInteger, nullable=False),
        sa.Column("n_missing", sa.BigInteger, nullable=False),
        sa.Column("n_paid", sa.BigInteger, nullable=False),
        sa.Column("n_cached", sa.BigInteger, nullable=False),
        sa.Column("n_calls", sa.BigInteger, nullable=False),
        sa.Column("n_unpriced", sa.BigInteger, nullable=False),
        sa.Column("missing", sa.Text, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("budget_nano_usd", sa.BigInteger),
        sa.Column("created_at_ns", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("started_at_ns", sa.BigInteger),
        sa.Column("finished_at_ns", sa.BigInteger),
        sa.Column("reason", sa.Text),
        sa.Column("owner", sa.String(300)),
        sa.Column("lease_until_ns", sa.BigInteger),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "judge_targets",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("job_id", sa.String(60), primary_key=True),
        sa.Column("slice", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("n_bytes", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "judge_verdicts",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("job_id", sa.String(60), nullable=False),
        sa.Column("judge", sa.String(200), nullable=False),
        sa.Column("version", sa.String(12), nullable=False),
        sa.Column("rubric_digest", sa.String(64), nullable=False),
        sa.Column("target_hash", sa.String(64), nullable=False),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("missing", sa.String(40)),
        sa.Column("confidence_ppm", sa.BigInteger),
        sa.Column("repaired", sa.Integer, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("n_calls", sa.BigInteger, nullable=False),
        sa.Column("cost_nano_usd", sa.BigInteger),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("n_bytes", sa.BigInteger, nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_index("judge_verdicts_session", "judge_verdicts", ["tenant", "session_id"])
    op.create_table(
        "judge_schedules",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("judge", sa.String(200), primary_key=True),
        sa.Column("app", sa.String(200), primary_key=True),
        sa.Column("share_ppm", sa.BigInteger, nullable=False),
        sa.Column("budget_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("idle_ms", sa.BigInteger, nullable=False),
        sa.Column("is_on", sa.Integer, nullable=False),
        sa.Column("marks", sa.Text, nullable=False),
        sa.Column("told", sa.Text, nullable=False),
        sa.Column("changed_at_ns", sa.BigInteger, nullable=False),
        sa.Column("changed_by", sa.String(200), nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "judge_calibrations",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("judge", sa.String(200), primary_key=True),
        sa.Column("version", sa.String(12), primary_key=True),
        sa.Column("at_ns", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("figures", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("n_bytes", sa.BigInteger, nullable=False),
        sa.Column("made_by", sa.String(200), nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
