"""The tables of the control database. A change here needs a migration in `migrations/versions/`; a test compares both.

Times are integers, nanoseconds since the Unix epoch. `seal`: see store/control/seals.py. A migration that adds a column
to such a table seals its rows anew.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table, Text

from store.control.cluster_tables import OF_CLUSTERS
from store.control.experiment_tables import OF_EXPERIMENTS
from store.control.metadata import METADATA as METADATA
from store.control.monitor_tables import OF_MONITORS
from store.control.rollout_tables import OF_ROLLOUTS

TENANTS: Final = Table(
    "tenants",
    METADATA,
    Column("id", String(63), primary_key=True),
    Column("created_at_ns", BigInteger, nullable=False),
    Column("pii", Text, nullable=False),  # JSON: {"default": mode, "by_entity": {entity: mode}}
    Column("retention_days", Integer),  # null = keep for ever
    Column("seal", LargeBinary(16)),
)

API_KEYS: Final = Table(
    "api_keys",
    METADATA,
    Column("key_id", String(12), primary_key=True),
    Column("tenant", String(63), nullable=False),
    Column("role", String(16), nullable=False),
    Column("name", String(200), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("created_at_ns", BigInteger, nullable=False),
    Column("expires_at_ns", BigInteger),
    Column("revoked_at_ns", BigInteger),
    Column("last_used_at_ns", BigInteger),
    Column("seal", LargeBinary(16)),
    Index("api_keys_tenant", "tenant"),
)

AUDIT: Final = Table(
    "audit",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3, ... without a gap
    Column("at_ns", BigInteger, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("actor_key_id", String(12)),
    Column("action", String(100), nullable=False),
    Column("resource", String(300), nullable=False),
    Column("before", Text),  # canonical JSON
    Column("after", Text),
    Column("prev_hash", LargeBinary(32), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
)

AUDIT_HEADS: Final = Table(
    "audit_heads",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    Column("mac", LargeBinary(32), nullable=False),
)

LEDGER: Final = Table(
    "ledger",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("signal", String(16), primary_key=True),
    Column("received", BigInteger, nullable=False),
    Column("stored", BigInteger, nullable=False),
    Column("duplicate", BigInteger, nullable=False),
    Column("quarantined", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
)

WATERMARKS: Final = Table(
    "watermarks",
    METADATA,
    Column("journal", BigInteger, primary_key=True, autoincrement=False),
    Column("upto_seq", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
)

CLAIMS: Final = Table(
    "idempotency",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("body_hash", LargeBinary(32), nullable=False),
    Column("answer", Text, nullable=False),
    Column("created_at_ns", BigInteger, nullable=False),  # when its lease began, last
    Column("finished_at_ns", BigInteger),
    Column("seal", LargeBinary(16)),
)

ERASURES: Final = Table(
    "erasures",
    METADATA,
    Column("erasure_id", String(16), primary_key=True),
    Column("tenant", String(63), nullable=False),
    Column("subject", String(64), nullable=False),  # keyed hash of the id: joins requests, tells nobody who it was
    Column("sealed", LargeBinary),  # the id and what belongs to it, encrypted; null once it is done
    Column("requested_at_ns", BigInteger, nullable=False),
    Column("finished_at_ns", BigInteger),
    Column("receipt", Text),  # canonical JSON of counts
    Column("seal", LargeBinary(16)),
)

RELEASES: Final = Table(
    "releases",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("app", String(200), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("variant", String(200)),
    Column("model", String(200)),
    Column("provider", String(200)),
    Column("prompt_version", String(200)),
    Column("parameters", Text, nullable=False),  # canonical JSON object
    Column("endpoint", String(1000)),
    Column("created_at_ns", BigInteger, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("seal", LargeBinary(16)),
)

PLANS: Final = Table(
    "plans",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("app", String(200), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3, ...
    Column("baseline", String(200), nullable=False),
    Column("weights", Text, nullable=False),  # canonical JSON object: release -> weight
    Column("salt", String(64), nullable=False),  # the same in all versions of an app
    Column("reason", Text),
    Column("made_by", String(200), nullable=False),
    Column("made_at_ns", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
)

EVAL_RUNS: Final = Table(
    "eval_runs",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("run_id", String(40), primary_key=True),
    Column("app", String(200), nullable=False),
    Column("release", String(200), nullable=False),
    Column("dataset", String(200), nullable=False),
    Column("dataset_version", BigInteger, nullable=False),
    Column("content_hash", String(64), nullable=False),
    Column("evaluators", Text, nullable=False),  # JSON list of name@version
    Column("k", Integer, nullable=False),
    Column("source", String(16), nullable=False),
    Column("params", Text, nullable=False),  # JSON object
    Column("status", String(16), nullable=False),
    Column("n_trials", BigInteger, nullable=False),
    Column("n_done", BigInteger, nullable=False),
    Column("n_failed", BigInteger, nullable=False),
    Column("n_scored", BigInteger, nullable=False),
    Column("cost_nano_usd", BigInteger, nullable=False),
    Column("created_at_ns", BigInteger, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("started_at_ns", BigInteger),
    Column("finished_at_ns", BigInteger),
    Column("reason", Text),
    Column("summary", Text),  # JSON object: figures by metric
    Column("owner", String(300)),  # the server process that works on it, until
    Column("lease_until_ns", BigInteger),
    Column("seal", LargeBinary(16)),
)

EVAL_TRIALS: Final = Table(
    "eval_trials",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("run_id", String(40), primary_key=True),
    Column("example_id", String(200), primary_key=True),
    Column("trial", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("session_id", String(1000), nullable=False),
    Column("status", String(16), nullable=False),
    Column("stratum", String(200)),
    Column("user_id", Text),  # whose content it is: an erasure takes it away
    Column("trace_ids", Text, nullable=False),  # JSON list
    Column("output", Text),
    Column("detail", Text, nullable=False),  # JSON object
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cost_nano_usd", BigInteger),
    Column("latency_us", BigInteger),
    Column("n_calls", Integer, nullable=False),
    Column("error", Text),
    Column("scored", Integer, nullable=False),  # 1: its scores are in the lake
    Column("started_at_ns", BigInteger),
    Column("finished_at_ns", BigInteger),
    Column("seal", LargeBinary(16)),
)

DATASETS: Final = Table(
    "datasets",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("description", Text, nullable=False),
    Column("made_by", String(200), nullable=False),
    Column("made_at_ns", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
)

DATASET_VERSIONS: Final = Table(
    "dataset_versions",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3, ...
    Column("content_hash", String(64), nullable=False),  # store/control/datasets.py, content_hash_of
    Column("n_examples", BigInteger, nullable=False),
    Column("n_erased", BigInteger, nullable=False),
    Column("splits", Text, nullable=False),  # JSON object: split -> examples
    Column("chunks", Text, nullable=False),  # JSON array of [sha256, lines], in order
    Column("note", Text, nullable=False),
    Column("made_by", String(200), nullable=False),
    Column("made_at_ns", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
)

DATASET_CHUNKS: Final = Table(
    "dataset_chunks",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("sha256", String(64), primary_key=True),  # of the lines, unpacked
    Column("n_bytes", BigInteger, nullable=False),  # of the lines
    Column("body", LargeBinary, nullable=False),  # zstd
    Column("made_at_ns", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
)

GATE_DECISIONS: Final = Table(
    "gate_decisions",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("gate_id", String(40), primary_key=True),
    Column("app", String(200), nullable=False),
    Column("candidate", String(200), nullable=False),
    Column("baseline", String(200), nullable=False),
    Column("dataset", String(200)),
    Column("policy_name", String(200)),
    Column("decision", String(16), nullable=False),
    Column("told", Text, nullable=False),  # canonical JSON: the whole decision
    Column("digest", String(64), nullable=False),  # of the bundle: experiments/gates/bundle.py
    Column("made_by", String(200), nullable=False),
    Column("made_at_ns", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
)

GATE_BUNDLES: Final = Table(
    "gate_bundles",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("gate_id", String(40), primary_key=True),
    Column("n_bytes", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),  # zstd
    Column("seal", LargeBinary(16)),
)

ONLINE_EVALUATORS: Final = Table(
    "online_evaluators",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("app", String(200), primary_key=True),  # "*": every app that has no line of its own
    Column("evaluators", Text, nullable=False),  # JSON array of names; empty: none
    Column("share_ppm", BigInteger, nullable=False),  # of sessions, in parts per million
    Column("idle_ms", BigInteger, nullable=False),
    Column("changed_at_ns", BigInteger, nullable=False),
    Column("changed_by", String(200), nullable=False),
    Column("seal", LargeBinary(16)),
)

ONLINE_MARKS: Final = Table(
    "online_marks",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("marks", Text, nullable=False),  # JSON object: journal -> the last seq that was looked at
    Column("owner", String(64)),  # the process at work
    Column("lease_until_ns", BigInteger, nullable=False),
    Column("told", Text, nullable=False),  # JSON object of counts, for who looks on
    Column("seal", LargeBinary(16)),
)

RUBRICS: Final = Table(
    "rubrics",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),  # of all that a verdict depends on: judges/records.py
    Column("body", Text, nullable=False),  # canonical JSON object
    Column("made_by", String(200), nullable=False),
    Column("made_at_ns", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
)

JUDGES: Final = Table(
    "judges",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),  # 1, 2, 3, ...; the last one holds
    Column("version", String(12), nullable=False),
    Column("spec", Text, nullable=False),  # canonical JSON object
    Column("made_by", String(200), nullable=False),
    Column("made_at_ns", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
)

JUDGE_JOBS: Final = Table(
    "judge_jobs",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("job_id", String(60), primary_key=True),
    Column("judge", String(200), nullable=False),
    Column("version", String(12), nullable=False),
    Column("spec", Text, nullable=False),  # the judge as it was when the job began
    Column("rubric", Text, nullable=False),  # and its rubric
    Column("app", String(200), nullable=False),
    Column("params", Text, nullable=False),  # JSON object
    Column("status", String(16), nullable=False),
    Column("n_targets", BigInteger, nullable=False),
    Column("n_done", BigInteger, nullable=False),
    Column("n_missing", BigInteger, nullable=False),
    Column("n_paid", BigInteger, nullable=False),
    Column("n_cached", BigInteger, nullable=False),
    Column("n_calls", BigInteger, nullable=False),
    Column("n_unpriced", BigInteger, nullable=False),
    Column("missing", Text, nullable=False),  # JSON object: reason -> verdicts
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cost_nano_usd", BigInteger, nullable=False),
    Column("budget_nano_usd", BigInteger),
    Column("created_at_ns", BigInteger, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("started_at_ns", BigInteger),
    Column("finished_at_ns", BigInteger),
    Column("reason", Text),
    Column("owner", String(300)),  # the server process that works on it, until
    Column("lease_until_ns", BigInteger),
    Column("seal", LargeBinary(16)),
)

JUDGE_TARGETS: Final = Table(
    "judge_targets",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("job_id", String(60), primary_key=True),
    Column("slice", BigInteger, primary_key=True, autoincrement=False),  # in the order of judging
    Column("n", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),  # zstd of JSON lines; the row goes once its scores are stored
    Column("n_bytes", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
)

JUDGE_VERDICTS: Final = Table(
    "judge_verdicts",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("key", String(64), primary_key=True),  # SHA-256 of rubric digest, target hash, model and parameters
    Column("job_id", String(60), nullable=False),  # that paid for it
    Column("judge", String(200), nullable=False),
    Column("version", String(12), nullable=False),
    Column("rubric_digest", String(64), nullable=False),
    Column("target_hash", String(64), nullable=False),
    Column("session_id", Text, nullable=False),  # whose content it is of: an erasure takes it away
    Column("labels", Text, nullable=False),  # JSON list
    Column("missing", String(40)),
    Column("confidence_ppm", BigInteger),
    Column("repaired", Integer, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("n_calls", BigInteger, nullable=False),
    Column("cost_nano_usd", BigInteger),  # null: no price is known
    Column("body", LargeBinary, nullable=False),  # zstd of JSON: explanation and the reply as it came
    Column("n_bytes", BigInteger, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("seal", LargeBinary(16)),
    Index("judge_verdicts_session", "tenant", "session_id"),
)

JUDGE_SCHEDULES: Final = Table(
    "judge_schedules",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("judge", String(200), primary_key=True),
    Column("app", String(200), primary_key=True),
    Column("share_ppm", BigInteger, nullable=False),
    Column("budget_nano_usd", BigInteger, nullable=False),  # a day, UTC
    Column("idle_ms", BigInteger, nullable=False),
    Column("is_on", Integer, nullable=False),
    Column("marks", Text, nullable=False),  # JSON object: journal -> the last seq that was looked at
    Column("told", Text, nullable=False),  # JSON object, for who looks on
    Column("changed_at_ns", BigInteger, nullable=False),
    Column("changed_by", String(200), nullable=False),
    Column("seal", LargeBinary(16)),
)

JUDGE_CALIBRATIONS: Final = Table(
    "judge_calibrations",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("judge", String(200), primary_key=True),
    Column("version", String(12), primary_key=True),
    Column("at_ns", BigInteger, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("figures", Text, nullable=False),  # JSON object: kappa_low, kappa_high, bar
    Column("body", LargeBinary, nullable=False),  # zstd of the report's JSON
    Column("n_bytes", BigInteger, nullable=False),
    Column("made_by", String(200), nullable=False),
    Column("seal", LargeBinary(16)),
)

LABEL_QUEUES: Final = Table(
    "label_queues",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("app", String(200), nullable=False),
    Column("rubric", String(200), nullable=False),
    Column("rubric_version", BigInteger, nullable=False),
    Column("rubric_digest", String(64), nullable=False),
    Column("rubric_body", Text, nullable=False),  # canonical JSON object: the rubric as it was when the queue was made
    Column("n_annotators", Integer, nullable=False),  # of each task
    Column("reservation_s", BigInteger, nullable=False),
    Column("judge", String(200)),
    Column("note", Text, nullable=False),
    Column("draws", Text, nullable=False),  # JSON array: judges/labels/draws.py
    Column("n_tasks", BigInteger, nullable=False),
    Column("n_erased", BigInteger, nullable=False),
    Column("created_at_ns", BigInteger, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("seal", LargeBinary(16)),
)

LABEL_TASKS: Final = Table(
    "label_tasks",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("queue", String(200), primary_key=True),
    Column("task_id", String(40), primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("item", String(1000), nullable=False),
    Column("target", String(16), nullable=False),
    Column("session_id", String(1000), nullable=False),
    Column("trace_id", String(32)),
    Column("user_id", Text),  # whose content it is: an erasure takes it away
    Column("has_text", Integer, nullable=False),
    Column("stratum", Text),
    Column("segment", String(200)),
    Column("probability", Text, nullable=False),  # as Python writes a float, so that it comes back as it was
    Column("assigned", Text, nullable=False),  # JSON array of annotators; empty: anybody
    Column("reserved", Text, nullable=False),  # JSON object: annotator -> until when, ns
    Column("answered", Text, nullable=False),  # JSON object: annotator -> whether with a label
    Column("status", String(24), nullable=False),
    Column("label", Text),
    Column("how", String(16)),
    Column("revision", BigInteger, nullable=False),  # labels it has had
    Column("scored", BigInteger, nullable=False),  # of these in the lake
    Column("decided_by", String(200)),
    Column("note", Text, nullable=False),
    Column("created_at_ns", BigInteger, nullable=False),
    Column("completed_at_ns", BigInteger),
    Column("seal", LargeBinary(16)),
)

LABEL_TEXTS: Final = Table(
    "label_texts",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("queue", String(200), primary_key=True),
    Column("task_id", String(40), primary_key=True),
    Column("n_bytes", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),  # zstd of JSON: what an annotator sees of an imported item
    Column("seal", LargeBinary(16)),
)

ANNOTATIONS: Final = Table(
    "annotations",
    METADATA,
    Column("tenant", String(63), primary_key=True),
    Column("queue", String(200), primary_key=True),
    Column("task_id", String(40), primary_key=True),
    Column("annotator", String(200), primary_key=True),
    Column("labels", Text, nullable=False),  # JSON array; empty: skipped
    Column("skipped", Text),  # the reason
    Column("note", Text, nullable=False),
    Column("made_at_ns", BigInteger, nullable=False),
    Column("duration_ms", BigInteger),
    Column("key_id", String(64)),
    Column("seal", LargeBinary(16)),
)

CHANGES: Final = Table(
    "changes",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # 1
    Column("n", BigInteger, nullable=False),  # transactions that wrote
    Column("seal", LargeBinary(16)),
)

SEALED: Final = (
    *(TENANTS, API_KEYS, LEDGER, WATERMARKS, CLAIMS, ERASURES, RELEASES, PLANS),
    *(DATASETS, DATASET_VERSIONS, DATASET_CHUNKS),
    *(EVAL_RUNS, EVAL_TRIALS),
    *(GATE_DECISIONS, GATE_BUNDLES),
    *(ONLINE_EVALUATORS, ONLINE_MARKS),
    *(RUBRICS, JUDGES, JUDGE_JOBS, JUDGE_TARGETS, JUDGE_VERDICTS, JUDGE_SCHEDULES, JUDGE_CALIBRATIONS),
    *(LABEL_QUEUES, LABEL_TASKS, LABEL_TEXTS, ANNOTATIONS),
    *OF_EXPERIMENTS,
    *OF_ROLLOUTS,
    *OF_CLUSTERS,
    *OF_MONITORS,
    CHANGES,
)
