"""Tenants and API keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates both tables."""
    op.create_table(
        "tenants",
        sa.Column("id", sa.String(63), primary_key=True),
        sa.Column("created_at_ns", sa.BigInteger, nullable=False),
        sa.Column("pii", sa.Text, nullable=False),
        sa.Column("retention_days", sa.Integer),
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String(12), primary_key=True),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at_ns", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ns", sa.BigInteger),
        sa.Column("revoked_at_ns", sa.BigInteger),
        sa.Column("last_used_at_ns", sa.BigInteger),
    )
    op.create_index("api_keys_tenant", "api_keys", ["tenant"])
