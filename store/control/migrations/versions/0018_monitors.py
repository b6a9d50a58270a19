"""Monitors: versions, budgets, states, alerts, incidents, silences, deliveries, what is asked of rollouts, and jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Creates the eleven tables."""
    _watched()
    _budgets()
    _alerts()
    _incidents()
    _silences()
    _deliveries()
    _jobs()


def _watched() -> None:
    op.create_table(
        "monitors",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("app", sa.String(200), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("changed_by", sa.String(200), nullable=False),
        sa.Column("changed_at_ns", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "monitor_versions",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("made_by", sa.String(200), nullable=False),
        sa.Column("made_at_ns", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "monitor_states",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("settled_ns", sa.BigInteger, nullable=False),
        sa.Column("until_ns", sa.BigInteger, nullable=False),
        sa.Column("band", sa.LargeBinary, nullable=False),
        sa.Column("books", sa.Text, nullable=False),
        sa.Column("told", sa.Text, nullable=False),
        sa.Column("looked_at_ns", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )


def _budgets() -> None:
    op.create_table(
        "monitor_budgets",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("app", sa.String(200), primary_key=True),
        sa.Column("millionths", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("monitor", sa.String(200), primary_key=True),
        sa.Column("series", sa.String(500), primary_key=True),
        sa.Column("episode", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("app", sa.String(200), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("since_ns", sa.BigInteger, nullable=False),
        sa.Column("resolved_ns", sa.BigInteger),
        sa.Column("incident", sa.BigInteger),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_index("alerts_status", "alerts", ["tenant", "status"])


def _incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("app", sa.String(200), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("opened_ns", sa.BigInteger, nullable=False),
        sa.Column("closed_ns", sa.BigInteger),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("n_entries", sa.BigInteger, nullable=False),
        sa.Column("n_told", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("diagnosis", sa.Text),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "incident_entries",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("incident", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("told_ns", sa.BigInteger, nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("monitor", sa.String(200)),
        sa.Column("series", sa.String(500)),
        sa.Column("made_by", sa.String(200)),
        sa.Column("seal", sa.LargeBinary(16)),
    )


def _silences() -> None:
    op.create_table(
        "silences",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("silence_id", sa.String(40), primary_key=True),
        sa.Column("matcher", sa.Text, nullable=False),
        sa.Column("start_ns", sa.BigInteger, nullable=False),
        sa.Column("end_ns", sa.BigInteger, nullable=False),
        sa.Column("weekly", sa.Text),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("made_by", sa.String(200), nullable=False),
        sa.Column("made_at_ns", sa.BigInteger, nullable=False),
        sa.Column("ended_ns", sa.BigInteger),
        sa.Column("ended_by", sa.String(200)),
        sa.Column("seal", sa.LargeBinary(16)),
    )


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("channel", sa.String(100), nullable=False),
        sa.Column("incident", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("tries", sa.BigInteger, nullable=False),
        sa.Column("next_at_ns", sa.BigInteger, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.Column("ended_ns", sa.BigInteger),
        sa.Column("owner", sa.String(300)),
        sa.Column("lease_until_ns", sa.BigInteger),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_index("deliveries_due", "deliveries", ["state", "next_at_ns"])
    op.create_index("deliveries_ahead", "deliveries", ["tenant", "incident", "channel", "seq"])
    op.create_table(
        "monitor_askings",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("rollout_id", sa.String(40), primary_key=True),
        sa.Column("guard", sa.String(16), nullable=False),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("until_ns", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("due_ns", sa.BigInteger, nullable=False),
        sa.Column("tries", sa.BigInteger, nullable=False),
        sa.Column("n_runs", sa.BigInteger, nullable=False),
        sa.Column("started_ns", sa.BigInteger),
        sa.Column("ended_ns", sa.BigInteger),
        sa.Column("succeeded_ns", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.Column("told", sa.Text, nullable=False),
        sa.Column("owner", sa.String(300)),
        sa.Column("lease_until_ns", sa.BigInteger),
        sa.Column("schedule", sa.String(100), nullable=False),
        sa.Column("runs", sa.Text, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
