"""The ledger of received items and the journal positions it is settled up to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Creates both tables."""
    op.create_table(
        "ledger",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("signal", sa.String(16), primary_key=True),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("stored", sa.BigInteger, nullable=False),
        sa.Column("duplicate", sa.BigInteger, nullable=False),
        sa.Column("quarantined", sa.BigInteger, nullable=False),
        sa.Column("rejected", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "watermarks",
        sa.Column("journal", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("upto_seq", sa.BigInteger, nullable=False),
    )
