"""The tables of experiments. A definition is written once; how it stands is beside it.

Coverage is in millionths. No unit's id is kept: see store/control/experimenting.py.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, LargeBinary, String, Table, Text

from store.control.metadata import METADATA

EXPERIMENTS: Final = Table(
    "experiments",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3, ...
    Column("app", String(200), nullable=False),
    Column("definition", Text, nullable=False),  # canonical JSON object
    Column("digest", String(64), nullable=False),  # SHA-256 of it
    Column("made_by", String(200), nullable=False),
    Column("made_at_ns", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
)

EXPERIMENT_STATES: Final = Table(
    "experiment_states",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("status", String(16), nullable=False),
    Column("ramps", Text, nullable=False),  # JSON array of [ns, coverage], in the order of time; the last one holds
    Column("started_at_ns", BigInteger),
    Column("started_by", String(200)),
    Column("stopped_at_ns", BigInteger),
    Column("stopped_by", String(200)),
    Column("reason", Text),
    Column("word", String(24)),  # of the last look at it
    Column("headline", Text),
    Column("n_units", BigInteger),
    Column("looked_at_ns", BigInteger),
    Column("seal", LargeBinary(16)),
)

EXPERIMENT_OVERRIDES: Final = Table(
    "experiment_overrides",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("unit_hash", String(64), primary_key=True),  # keyed: the id of a tester stands nowhere
    Column("variant", String(200)),  # null: by hash again, and still not counted
    Column("set_by", String(200), nullable=False),
    Column("set_at_ns", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
)

OF_EXPERIMENTS: Final = (EXPERIMENTS, EXPERIMENT_STATES, EXPERIMENT_OVERRIDES)
