"""Jobs: when each is begun, in words, and how its newest runs went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from store.control.seals import seal_of

revision = "0019"
down_revision = "0018"

_BEFORE = (
    *("tenant", "name", "state", "due_ns", "tries", "n_runs", "started_ns", "ended_ns", "succeeded_ns", "error"),
    *("told", "owner", "lease_until_ns"),
)
_ADDED = {"schedule": "", "runs": "[]"}


def upgrade() -> None:
    """Adds the columns. Rows that were as they had been written are sealed anew; others stay refused."""
    op.add_column("jobs", sa.Column("schedule", sa.String(100), nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("runs", sa.Text, nullable=False, server_default="[]"))
    connection = op.get_bind()
    table = sa.table("jobs", *[sa.column(name) for name in (*_BEFORE, *_ADDED, "seal")])
    for row in connection.execute(sa.select(*[table.c[name] for name in (*_BEFORE, "seal")])).all():
        values = dict(row._mapping)
        if values.pop("seal") != seal_of("jobs", _BEFORE, values):
            continue
        key = (table.c.tenant == values["tenant"], table.c.name == values["name"])
        seal = seal_of("jobs", (*_BEFORE, *_ADDED), {**values, **_ADDED})
        connection.execute(sa.update(table).where(*key).values(seal=seal))
