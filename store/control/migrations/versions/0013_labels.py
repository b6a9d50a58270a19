"""Human labels: queues, their tasks, the texts of imported ones, and what annotators said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Creates the four tables."""
    op.create_table(
        "label_queues",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("app", sa.String(200), nullable=False),
        sa.Column("rubric", sa.String(200), nullable=False),
        sa.Column("rubric_version", sa.BigInteger, nullable=False),
        sa.Column("rubric_digest", sa.String(64), nullable=False),
        sa.Column("rubric_body", sa.Text, nullable=False),
        sa.Column("n_annotators", sa.Integer, nullable=False),
        sa.Column("reservation_s", sa.BigInteger, nullable=False),
        sa.Column("judge", sa.String(200)),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("draws", sa.Text, nullable=False),
        sa.Column("n_tasks", sa.BigInteger, nullable=False),
        sa.Column("n_erased", sa.BigInteger, nullable=False),
        sa.Column("created_at_ns", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "label_tasks",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("queue", sa.String(200), primary_key=True),
        sa.Column("task_id", sa.String(40), primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("item", sa.String(1000), nullable=False),
        sa.Column("target", sa.String(16), nullable=False),
        sa.Column("session_id", sa.String(1000), nullable=False),
        sa.Column("trace_id", sa.String(32)),
        sa.Column("user_id", sa.Text),
        sa.Column("has_text", sa.Integer, nullable=False),
        sa.Column("stratum", sa.Text),
        sa.Column("segment", sa.String(200)),
        sa.Column("probability", sa.Text, nullable=False),
        sa.Column("assigned", sa.Text, nullable=False),
        sa.Column("reserved", sa.Text, nullable=False),
        sa.Column("answered", sa.Text, nullable=False),
        sa.Column("status", sa.String(24), nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("how", sa.String(16)),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("scored", sa.BigInteger, nullable=False),
        sa.Column("decided_by", sa.String(200)),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("created_at_ns", sa.BigInteger, nullable=False),
        sa.Column("completed_at_ns", sa.BigInteger),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "label_texts",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("queue", sa.String(200), primary_key=True),
        sa.Column("task_id", sa.String(40), primary_key=True),
        sa.Column("n_bytes", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "annotations",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("queue", sa.String(200), primary_key=True),
        sa.Column("task_id", sa.String(40), primary_key=True),
        sa.Column("annotator", sa.String(200), primary_key=True),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("skipped", sa.Text),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("made_at_ns", sa.BigInteger, nullable=False),
        sa.Column("duration_ms", sa.BigInteger),
        sa.Column("key_id", sa.String(64)),
        sa.Column("seal", sa.LargeBinary(16)),
    )
