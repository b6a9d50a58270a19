"""Seals of rows, and the number of changes, by which changes that were lost are found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from store.control.seals import seal_of

revision = "0005"
down_revision = "0004"

_COLUMNS = {
    "tenants": ("id", "created_at_ns", "pii", "retention_days"),
    "api_keys": (
        *("key_id", "tenant", "role", "name", "digest"),
        *("created_at_ns", "expires_at_ns", "revoked_at_ns", "last_used_at_ns"),
    ),
    "ledger": ("tenant", "signal", "received", "stored", "duplicate", "quarantined", "rejected"),
    "watermarks": ("journal", "upto_seq"),
    "idempotency": ("tenant", "key", "body_hash", "answer", "created_at_ns", "finished_at_ns"),
    "erasures": ("erasure_id", "tenant", "subject", "sealed", "requested_at_ns", "finished_at_ns", "receipt"),
}
_KEYS = {
    "tenants": ("id",),
    "api_keys": ("key_id",),
    "ledger": ("tenant", "signal"),
    "watermarks": ("journal",),
    "idempotency": ("tenant", "key"),
    "erasures": ("erasure_id",),
}


def upgrade() -> None:
    """Adds the column, seals the rows as they are, and begins to count."""
    connection = op.get_bind()
    for name, columns in _COLUMNS.items():
        op.add_column(name, sa.Column("seal", sa.LargeBinary(16)))
        table = sa.table(name, *[sa.column(column) for column in (*columns, "seal")])
        for row in connection.execute(sa.select(*[table.c[column] for column in columns])).all():
            values = dict(row._mapping)
            key = [table.c[column] == values[column] for column in _KEYS[name]]
            connection.execute(sa.update(table).where(*key).values(seal=seal_of(name, columns, values)))
    made = op.create_table(
        "changes",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary(16)),
    )
    assert made is not None
    first = {"id": 1, "n": 0}
    connection.execute(sa.insert(made).values(**first, seal=seal_of("changes", ("id", "n"), first)))
