"""The tables of clusters: runs that found them, who each of them is, what became of them, and who wants to be told.

Times are integers, nanoseconds since the Unix epoch. No session's id and no user's stands here: who is in a cluster is
in the lake (`memberships`), where an erasure finds it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table, Text

from store.control.metadata import METADATA

CLUSTER_RUNS: Final = Table(
    "cluster_runs",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("run_id", String(60), primary_key=True),
    Column("app", String(200), nullable=False),
    Column("scope", String(16), nullable=False),  # window, or waiting: only what fitted nowhere
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger, nullable=False),
    Column("params", Text, nullable=False),  # canonical JSON object: clustering/records.py
    Column("params_hash", String(16), nullable=False),
    Column("failure", String(200)),  # the evaluator that says what failed; null: the outcome
    Column("status", String(16), nullable=False),
    Column("stages", Text, nullable=False),  # JSON array of {name, done, total, seconds}; the last one is under way
    Column("embedder", String(200)),
    Column("used", Text, nullable=False),  # canonical JSON object: what `auto` and null became
    Column("n_sessions", BigInteger),
    Column("n_clusters", BigInteger),
    Column("n_noise", BigInteger),
    Column("n_tries", BigInteger, nullable=False),
    Column("peak_bytes", BigInteger),
    Column("asked_by", String(200), nullable=False),
    Column("asked_at_ns", BigInteger, nullable=False),
    Column("started_at_ns", BigInteger),
    Column("ended_at_ns", BigInteger),
    Column("error", Text),
    Column("owner", String(300)),  # the server process that looks after it, until
    Column("lease_until_ns", BigInteger),
    Column("seal", LargeBinary(16)),
)

CLUSTER_NUMBERS: Final = Table(
    "cluster_numbers",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("n", BigInteger, nullable=False),  # the last number that was given; none is given twice
    Column("seal", LargeBinary(16)),
)

CLUSTERS: Final = Table(
    "clusters",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("cluster_id", String(24), primary_key=True),
    Column("app", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("embedder", String(200), nullable=False),
    Column("centroid", LargeBinary, nullable=False),  # float32, little-endian
    Column("n_sessions", BigInteger, nullable=False),  # these three as of `run_id`
    Column("n_failed", BigInteger, nullable=False),
    Column("n_known", BigInteger, nullable=False),
    Column("said", Text, nullable=False),  # canonical JSON object: title, terms, profile and so on
    Column("standing", Text, nullable=False),  # canonical JSON object: radius and what else the next run has to know
    Column("run_id", String(60), nullable=False),  # the last one that saw it
    Column("first_seen_ns", BigInteger, nullable=False),
    Column("last_seen_ns", BigInteger, nullable=False),
    Column("born_at_ns", BigInteger, nullable=False),
    Column("changed_at_ns", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
    Index("clusters_app", "tenant", "app"),
)

CLUSTER_EVENTS: Final = Table(
    "cluster_events",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("cluster_id", String(24), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3, ...
    Column("at_ns", BigInteger, nullable=False),
    Column("run_id", String(60), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("n_sessions", BigInteger, nullable=False),
    Column("n_failed", BigInteger, nullable=False),
    Column("n_known", BigInteger, nullable=False),
    Column("others", Text, nullable=False),  # JSON array of cluster ids: what it split into, merged with, came from
    Column("text", Text, nullable=False),
    Column("seal", LargeBinary(16)),
)

CLUSTER_FINDINGS: Final = Table(
    "cluster_findings",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("cluster_id", String(24), primary_key=True),
    Column("day", String(10), primary_key=True),  # UTC: a cluster is found once a day
    Column("app", String(200), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("body", Text, nullable=False),  # canonical JSON object: clustering/emerging/records.py
    Column("seal", LargeBinary(16)),
)

CLUSTER_APPS: Final = Table(
    "cluster_apps",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("app", String(200), primary_key=True),
    Column("run_id", String(60), nullable=False),  # the last run over a window
    Column("marks", Text, nullable=False),  # JSON object: journal -> seq up to which sessions are settled
    Column("told", Text, nullable=False),  # canonical JSON object: what was looked at when, and what it found
    Column("owner", String(300)),
    Column("lease_until_ns", BigInteger),
    Column("seal", LargeBinary(16)),
)

CLUSTER_WATCHES: Final = Table(
    "cluster_watches",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("cluster_id", String(24), primary_key=True),
    Column("min_ratio_ppm", BigInteger, nullable=False),
    Column("url", Text),  # also told there; no answer and no log repeats it
    Column("body", Text, nullable=False),  # canonical JSON object: how often it came when the watch began
    Column("made_by", String(200), nullable=False),
    Column("made_at_ns", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
)

CLUSTER_ALERTS: Final = Table(
    "cluster_alerts",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("cluster_id", String(24), primary_key=True),
    Column("day", String(10), primary_key=True),  # UTC: a watch alerts once a day
    Column("app", String(200), nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("body", Text, nullable=False),  # canonical JSON object: text, ratio and so on
    Column("state", String(16), nullable=False),  # pending, told, shown: nobody is to be told
    Column("told", Text, nullable=False),  # JSON object: name of where it was sent -> null, or why it was left out
    Column("owner", String(300)),  # the process that is telling it, until
    Column("lease_until_ns", BigInteger),
    Column("seal", LargeBinary(16)),
)

OF_CLUSTERS: Final = (
    *(CLUSTER_RUNS, CLUSTER_NUMBERS, CLUSTERS, CLUSTER_EVENTS, CLUSTER_FINDINGS, CLUSTER_APPS),
    *(CLUSTER_WATCHES, CLUSTER_ALERTS),
)
