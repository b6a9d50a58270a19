"""Clusters: runs, who each cluster is and what became of it, findings, watches and alerts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Creates the eight tables."""
    _runs()
    op.create_table(
        "cluster_numbers",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    _clusters()
    op.create_table(
        "cluster_findings",
        *_key("day", sa.String(10)),
        sa.Column("app", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "cluster_apps",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("app", sa.String(200), primary_key=True),
        sa.Column("run_id", sa.String(60), nullable=False),
        sa.Column("marks", sa.Text, nullable=False),
        sa.Column("told", sa.Text, nullable=False),
        sa.Column("owner", sa.String(300)),
        sa.Column("lease_until_ns", sa.BigInteger),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    _watches()


def _runs() -> None:
    op.create_table(
        "cluster_runs",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("run_id", sa.String(60), primary_key=True),
        sa.Column("app", sa.String(200), nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("start_ns", sa.BigInteger, nullable=False),
        sa.Column("end_ns", sa.BigInteger, nullable=False),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("params_hash", sa.String(16), nullable=False),
        sa.Column("failure", sa.String(200)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("stages", sa.Text, nullable=False),
        sa.Column("embedder", sa.String(200)),
        sa.Column("used", sa.Text, nullable=False),
        sa.Column("n_sessions", sa.BigInteger),
        sa.Column("n_clusters", sa.BigInteger),
        sa.Column("n_noise", sa.BigInteger),
        sa.Column("n_tries", sa.BigInteger, nullable=False),
        sa.Column("peak_bytes", sa.BigInteger),
        sa.Column("asked_by", sa.String(200), nullable=False),
        sa.Column("asked_at_ns", sa.BigInteger, nullable=False),
        sa.Column("started_at_ns", sa.BigInteger),
        sa.Column("ended_at_ns", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.Column("owner", sa.String(300)),
        sa.Column("lease_until_ns", sa.BigInteger),
        sa.Column("seal", sa.LargeBinary(16)),
    )


def _clusters() -> None:
    op.create_table(
        "clusters",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("cluster_id", sa.String(24), primary_key=True),
        sa.Column("app", sa.String(200), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("embedder", sa.String(200), nullable=False),
        sa.Column("centroid", sa.LargeBinary, nullable=False),
        sa.Column("n_sessions", sa.BigInteger, nullable=False),
        sa.Column("n_failed", sa.BigInteger, nullable=False),
        sa.Column("n_known", sa.BigInteger, nullable=False),
        sa.Column("said", sa.Text, nullable=False),
        sa.Column("standing", sa.Text, nullable=False),
        sa.Column("run_id", sa.String(60), nullable=False),
        sa.Column("first_seen_ns", sa.BigInteger, nullable=False),
        sa.Column("last_seen_ns", sa.BigInteger, nullable=False),
        sa.Column("born_at_ns", sa.BigInteger, nullable=False),
        sa.Column("changed_at_ns", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_index("clusters_app", "clusters", ["tenant", "app"])
    op.create_table(
        "cluster_events",
        *_key("number", sa.BigInteger()),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("run_id", sa.String(60), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("n_sessions", sa.BigInteger, nullable=False),
        sa.Column("n_failed", sa.BigInteger, nullable=False),
        sa.Column("n_known", sa.BigInteger, nullable=False),
        sa.Column("others", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )


def _watches() -> None:
    op.create_table(
        "cluster_watches",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("cluster_id", sa.String(24), primary_key=True),
        sa.Column("min_ratio_ppm", sa.BigInteger, nullable=False),
        sa.Column("url", sa.Text),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("made_by", sa.String(200), nullable=False),
        sa.Column("made_at_ns", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    op.create_table(
        "cluster_alerts",
        *_key("day", sa.String(10)),
        sa.Column("app", sa.String(200), nullable=False),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("told", sa.Text, nullable=False),
        sa.Column("owner", sa.String(300)),
        sa.Column("lease_until_ns", sa.BigInteger),
        sa.Column("seal", sa.LargeBinary(16)),
    )


def _key(last: str, kind: sa.types.TypeEngine) -> list[sa.Column]:  # type: ignore[type-arg]
    return [
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("cluster_id", sa.String(24), primary_key=True),
        sa.Column(last, kind, primary_key=True, autoincrement=False),
    ]
