"""The tables of rollouts: where each stands, what it has counted, what it did and why, and what was asked of it before.

Times are integers, nanoseconds since the Unix epoch. Only `rollouts` and `rollout_told` have rows that
change.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, String, Table, Text

from store.control.metadata import METADATA

ROLLOUTS: Final = Table(
    "rollouts",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("rollout_id", String(40), primary_key=True),
    Column("app", String(200), nullable=False),
    Column("baseline", String(200), nullable=False),
    Column("candidate", String(200), nullable=False),
    Column("status", String(16), nullable=False),
    Column("revision", BigInteger, nullable=False),  # counts its changes: who saw another one changes nothing
    Column("policy", Text, nullable=False),  # canonical JSON object
    Column("policy_hash", String(64), nullable=False),  # SHA-256 of it
    Column("state", Text, nullable=False),  # canonical JSON object: experiments/rollouts/records.py
    Column("n_blocks", BigInteger, nullable=False),
    Column("n_events", BigInteger, nullable=False),
    Column("n_certificates", BigInteger, nullable=False),
    Column("started_by", String(200), nullable=False),
    Column("started_key", String(64)),  # the key of who deployed
    Column("started_at_ns", BigInteger, nullable=False),
    Column("ended_at_ns", BigInteger),
    Column("owner", String(300)),  # the server process that looks after it, until
    Column("lease_until_ns", BigInteger),
    Column("seal", LargeBinary(16)),
)

ROLLOUT_BLOCKS: Final = Table(
    "rollout_blocks",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("rollout_id", String(40), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3, ...
    Column("at_ns", BigInteger, nullable=False),
    Column("step", Integer, nullable=False),
    Column("counts", Text, nullable=False),  # canonical JSON object: guardrail -> sums of both releases
    Column("seal", LargeBinary(16)),
)

ROLLOUT_EVENTS: Final = Table(
    "rollout_events",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("rollout_id", String(40), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("kind", String(24), nullable=False),
    Column("text", Text, nullable=False),
    Column("made_by", String(200), nullable=False),
    Column("certificate", BigInteger),  # the number of the certificate that it left
    Column("seal", LargeBinary(16)),
)

ROLLOUT_CERTIFICATES: Final = Table(
    "rollout_certificates",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("rollout_id", String(40), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("body", Text, nullable=False),  # JSON as it was made
    Column("seal", LargeBinary(16)),
)

ROLLOUT_CHECKS: Final = Table(
    "rollout_checks",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("app", String(200), primary_key=True),
    Column("release", String(200), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),  # the newest counts
    Column("passed", Integer, nullable=False),
    Column("note", Text, nullable=False),
    Column("link", String(1000)),  # where its evidence is
    Column("made_by", String(200), nullable=False),
    Column("made_at_ns", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
)

ROLLOUT_TOLD: Final = Table(
    "rollout_told",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("rollout_id", String(40), primary_key=True),
    Column("target", String(64), primary_key=True),  # a name of where events are sent, which repeats no address
    Column("number", BigInteger, nullable=False),  # of the last event that needs no more telling
    Column("owner", String(300)),  # the process that is telling the next one, until
    Column("lease_until_ns", BigInteger),
    Column("seal", LargeBinary(16)),
)

OF_ROLLOUTS: Final = (
    *(ROLLOUTS, ROLLOUT_BLOCKS, ROLLOUT_EVENTS, ROLLOUT_CERTIFICATES, ROLLOUT_CHECKS),
    ROLLOUT_TOLD,
)
