"""The tables of monitors: what is watched, how far each was looked at, alerts, incidents with their timelines,
silences, what is to be delivered where, what is asked of rollouts, and the jobs that servers do by the clock.

Times are integers, nanoseconds since the Unix epoch. `monitor_versions` and `incident_entries` only grow. Secrets and
addresses of channels are settings: no row has one.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table, Text

from store.control.metadata import METADATA

MONITORS: Final = Table(
    "monitors",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("app", String(200), nullable=False),
    Column("status", String(16), nullable=False),
    Column("version", BigInteger, nullable=False),  # the one that holds; counts on after a deletion
    Column("revision", BigInteger, nullable=False),  # counts its changes: who saw another one changes nothing
    Column("changed_by", String(200), nullable=False),
    Column("changed_at_ns", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
)

MONITOR_VERSIONS: Final = Table(
    "monitor_versions",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3, ...
    Column("definition", Text, nullable=False),  # canonical JSON object: monitors/definition.py
    Column("made_by", String(200), nullable=False),
    Column("made_at_ns", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
)

MONITOR_BUDGETS: Final = Table(
    "monitor_budgets",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("app", String(200), primary_key=True),  # "": altogether
    Column("millionths", BigInteger, nullable=False),  # of a false page a week
    Column("seal", LargeBinary(16)),
)

MONITOR_STATES: Final = Table(
    "monitor_states",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("version", BigInteger, nullable=False),  # of the definition by which it was made
    Column("settled_ns", BigInteger, nullable=False),  # end of the last bucket in `band`
    Column("until_ns", BigInteger, nullable=False),  # end of the last bucket that was looked at
    Column("band", LargeBinary, nullable=False),  # zstd of canonical JSON: series and the band's state
    Column("books", Text, nullable=False),  # canonical JSON object: series -> where its alert stands
    Column("told", Text, nullable=False),  # canonical JSON object: newest values, what went wrong
    Column("looked_at_ns", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
)

ALERTS: Final = Table(
    "alerts",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("monitor", String(200), primary_key=True),
    Column("series", String(500), primary_key=True),
    Column("episode", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3, ... of this series
    Column("app", String(200), nullable=False),
    Column("status", String(16), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("since_ns", BigInteger, nullable=False),  # pending or firing since, by the data
    Column("resolved_ns", BigInteger),
    Column("incident", BigInteger),
    Column("body", Text, nullable=False),  # canonical JSON object: text, numbers, silence
    Column("seal", LargeBinary(16)),
    Index("alerts_status", "tenant", "status"),
)

INCIDENTS: Final = Table(
    "incidents",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),  # I-17 is 17
    Column("app", String(200), nullable=False),
    Column("status", String(16), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("opened_ns", BigInteger, nullable=False),
    Column("closed_ns", BigInteger),
    Column("revision", BigInteger, nullable=False),  # counts its changes
    Column("n_entries", BigInteger, nullable=False),  # lines of its timeline
    Column("n_told", BigInteger, nullable=False),  # the seq of its last delivery
    Column("body", Text, nullable=False),  # canonical JSON object: monitors/incident_records.py
    Column("diagnosis", Text),  # canonical JSON object; null: not made yet
    Column("seal", LargeBinary(16)),
)

INCIDENT_ENTRIES: Final = Table(
    "incident_entries",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("incident", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3, ...
    Column("told_ns", BigInteger, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("kind", String(24), nullable=False),
    Column("text", Text, nullable=False),
    Column("monitor", String(200)),
    Column("series", String(500)),
    Column("made_by", String(200)),
    Column("seal", LargeBinary(16)),
)

SILENCES: Final = Table(
    "silences",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("silence_id", String(40), primary_key=True),
    Column("matcher", Text, nullable=False),  # canonical JSON object: monitors/silences.py
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger, nullable=False),
    Column("weekly", Text),  # canonical JSON object; null: all of its time
    Column("why", Text, nullable=False),
    Column("made_by", String(200), nullable=False),
    Column("made_at_ns", BigInteger, nullable=False),
    Column("ended_ns", BigInteger),
    Column("ended_by", String(200)),
    Column("seal", LargeBinary(16)),
)

DELIVERIES: Final = Table(
    "deliveries",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("id", String(40), primary_key=True),  # also what a receiver knows it by, each time it is sent
    Column("channel", String(100), nullable=False),
    Column("incident", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),  # order within the incident and channel
    Column("payload", Text, nullable=False),  # canonical JSON object
    Column("state", String(16), nullable=False),
    Column("tries", BigInteger, nullable=False),
    Column("next_at_ns", BigInteger, nullable=False),  # not before
    Column("last_error", Text),
    Column("created_ns", BigInteger, nullable=False),
    Column("ended_ns", BigInteger),
    Column("owner", String(300)),  # the server process that sends it, until
    Column("lease_until_ns", BigInteger),
    Column("seal", LargeBinary(16)),
    Index("deliveries_due", "state", "next_at_ns"),
    Index("deliveries_ahead", "tenant", "incident", "channel", "seq"),
)

MONITOR_ASKINGS: Final = Table(
    "monitor_askings",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("rollout_id", String(40), primary_key=True),
    Column("guard", String(16), nullable=False),  # hold, or roll_back
    Column("reasons", Text, nullable=False),  # JSON array of texts
    Column("at_ns", BigInteger, nullable=False),
    Column("until_ns", BigInteger, nullable=False),  # who asks has to ask again before then
    Column("seal", LargeBinary(16)),
)

JOBS: Final = Table(
    "jobs",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("due_ns", BigInteger, nullable=False),
    Column("tries", BigInteger, nullable=False),  # in a row without success
    Column("n_runs", BigInteger, nullable=False),
    Column("started_ns", BigInteger),
    Column("ended_ns", BigInteger),
    Column("succeeded_ns", BigInteger),
    Column("error", Text),
    Column("told", Text, nullable=False),  # canonical JSON object: what the last run did
    Column("owner", String(300)),  # the server process that does it, until
    Column("lease_until_ns", BigInteger),
    Column("seal", LargeBinary(16)),
)

OF_MONITORS: Final = (
    *(MONITORS, MONITOR_VERSIONS, MONITOR_STATES, ALERTS, INCIDENTS, INCIDENT_ENTRIES, SILENCES),
    *(DELIVERIES, MONITOR_ASKINGS, JOBS, MONITOR_BUDGETS),
)
