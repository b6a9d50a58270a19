"""The columns of every lake table. Arrow schemas; `tenant` and `date` are the partition of each.

Times are int64 nanoseconds since the Unix epoch, UTC, named `_ns` (exact: doubles and microseconds lose digits);
`ingested_at` is when the row was stored (store/stamps.py). A value of 2^63 ns or more is kept as its two's complement
and flagged `time_invalid`. Money is decimal(18, 9) US dollars. Ids are lower-case hexadecimal text.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

USD: Final = pa.decimal128(18, 9)
AT: Final = pa.timestamp("us", tz="UTC")

PARTITION: Final = [pa.field("tenant", pa.string()), pa.field("date", pa.string())]

_TOKENS: Final = [
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
]

# Filled from attributes by the dialect table (collector/dialects.py); all text, null when absent.
DIALECT_TEXT: Final = [
    "app",
    "release",
    "variant",
    "environment",
    "session_id",
    "user_id",
    "provider",
    "model_request",
    "model_response",
    "response_id",
    "finish_reasons",
    "agent_name",
    "agent_id",
    "agent_version",
    "workflow_name",
    "tool_name",
    "tool_call_id",
    "prompt_name",
    "prompt_version",
    "query_text",
    "documents",
    "tags",
    "metadata",
    "error_type",
    "level",
    "input",
    "output",
]
DIALECT_TOKENS: Final = _TOKENS

SPANS: Final = pa.schema(
    [
        *PARTITION,
        pa.field("seq", pa.int64()),  # journal number << 48 | position in the journal: order of arrival, and proof
        pa.field("ingested_at", AT),
        pa.field("trace_id", pa.string()),
        pa.field("span_id", pa.string()),
        pa.field("parent_span_id", pa.string()),  # null = root
        pa.field("content_hash", pa.int64()),  # of the span's wire bytes; same ids and hash = the same span sent again
        pa.field("name", pa.string()),
        pa.field("kind", pa.string()),  # core.records.SpanKind
        pa.field("otel_kind", pa.int32()),
        pa.field("start_ns", pa.int64()),
        pa.field("end_ns", pa.int64()),
        pa.field("duration_ns", pa.int64()),  # null when end < start, or a time is missing or absurd
        pa.field("status_code", pa.int32()),  # 0 unset, 1 ok, 2 error
        pa.field("status_message", pa.string()),
        pa.field("service_name", pa.string()),
        pa.field("service_version", pa.string()),
        *[pa.field(name, pa.string()) for name in DIALECT_TEXT],
        *[pa.field(name, pa.int64()) for name in _TOKENS],
        pa.field("cost_reported_usd", USD),  # what the instrumentation said
        pa.field("cost_usd", USD),  # reported, or computed from prices; null when neither is known
        pa.field("usage_counted", pa.bool_()),  # a leaf model span: its tokens and cost count in totals
        pa.field("ttft_ms", pa.float64()),
        pa.field("attributes", pa.map_(pa.string(), pa.string())),  # every original one that is not whole in a column
        pa.field("attribute_types", pa.string()),  # one letter per entry: s i d b y(bytes) a(array) k(kvlist) n(empty)
        pa.field("moved_attributes", pa.string()),  # "key=column" lines: originals that live in a column only
        pa.field("events", pa.string()),  # JSON: [{"name","time_ns","attributes":{...},"dropped"}]
        pa.field("links", pa.string()),  # JSON: [{"trace_id","span_id","attributes":{...}}]
        pa.field("resource", pa.string()),  # JSON object of resource attributes
        pa.field("scope_name", pa.string()),
        pa.field("scope_version", pa.string()),
        pa.field("trace_state", pa.string()),
        pa.field("flags", pa.int64()),
        pa.field("dropped", pa.int32()),  # attributes + events + links the client says it dropped
        pa.field("issues", pa.string()),  # comma-separated codes: time_invalid, utf8_repaired, clock_ahead, ...
    ]
)

SCORES: Final = pa.schema(
    [
        *PARTITION,
        pa.field("seq", pa.int64()),
        pa.field("ingested_at", AT),
        pa.field("score_id", pa.string()),
        pa.field("at_ns", pa.int64()),  # when the evaluator decided; of the target's day when it is not said
        pa.field("evaluator", pa.string()),
        pa.field("evaluator_version", pa.string()),
        pa.field("evaluator_kind", pa.string()),  # core.records.EvaluatorKind
        pa.field("target", pa.string()),  # core.records.TargetKind
        pa.field("trace_id", pa.string()),
        pa.field("span_id", pa.string()),
        pa.field("session_id", pa.string()),
        pa.field("app", pa.string()),
        pa.field("value", pa.float64()),  # null when there is only a label, or unscored
        pa.field("label", pa.string()),
        pa.field("explanation", pa.string()),
        pa.field("unscored", pa.string()),  # the reason, when the evaluator could not say; value and label are null
        pa.field("author", pa.string()),  # key or user who wrote it
        pa.field("metadata", pa.string()),  # JSON object
    ]
)

EVENTS: Final = pa.schema(
    [
        *PARTITION,
        pa.field("seq", pa.int64()),
        pa.field("ingested_at", AT),
        pa.field("trace_id", pa.string()),
        pa.field("span_id", pa.string()),
        pa.field("response_id", pa.string()),
        pa.field("at_ns", pa.int64()),
        pa.field("name", pa.string()),
        pa.field("input", pa.string()),
        pa.field("output", pa.string()),
        pa.field("attributes", pa.string()),  # JSON object
        pa.field("body", pa.string()),  # JSON
        pa.field("resource", pa.string()),  # JSON object
    ]
)

QUARANTINE: Final = pa.schema(
    [
        *PARTITION,
        pa.field("seq", pa.int64()),
        pa.field("ingested_at", AT),
        pa.field("signal", pa.string()),  # spans | log_records
        pa.field("reason", pa.string()),  # a short code, e.g. invalid_trace_id
        pa.field("detail", pa.string()),  # a sentence: what is wrong and what to do
        pa.field("payload", pa.binary()),  # the item's wire bytes, sealed with the tenant's quarantine key
        pa.field("payload_bytes", pa.int64()),
    ]
)

# Turns, sessions and rollups are kept as partial rows that add: one per trace (session, minute cell) and commit.
# Readers merge them (sum, min, max, first non-null by order); compaction only packs them.
TURNS: Final = pa.schema(
    [
        *PARTITION,
        pa.field("seq", pa.int64()),
        pa.field("trace_id", pa.string()),
        pa.field("session_id", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field("app", pa.string()),
        pa.field("release", pa.string()),
        pa.field("variant", pa.string()),
        pa.field("environment", pa.string()),
        pa.field("start_ns", pa.int64()),
        pa.field("end_ns", pa.int64()),
        pa.field("root_span_id", pa.string()),  # null until the root arrives
        pa.field("name", pa.string()),  # of the root
        pa.field("root_status", pa.int32()),
        pa.field("root_duration_ns", pa.int64()),
        pa.field("n_spans", pa.int64()),
        pa.field("n_errors", pa.int64()),
        pa.field("n_model_calls", pa.int64()),
        pa.field("n_tool_calls", pa.int64()),
        pa.field("input_tokens", pa.int64()),
        pa.field("output_tokens", pa.int64()),
        pa.field("cost_usd", USD),
        pa.field("models", pa.string()),  # comma-separated, sorted
        pa.field("input", pa.string()),  # the first 500 characters of the root's
        pa.field("output", pa.string()),
    ]
)

SESSIONS: Final = pa.schema(
    [
        *PARTITION,
        pa.field("seq", pa.int64()),
        pa.field("session_id", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field("app", pa.string()),
        pa.field("release", pa.string()),
        pa.field("variant", pa.string()),
        pa.field("environment", pa.string()),
        pa.field("start_ns", pa.int64()),
        pa.field("end_ns", pa.int64()),
        pa.field("n_turns", pa.int64()),  # roots seen
        pa.field("n_spans", pa.int64()),
        pa.field("n_errors", pa.int64()),
        pa.field("input_tokens", pa.int64()),
        pa.field("output_tokens", pa.int64()),
        pa.field("cost_usd", USD),
    ]
)

ROLLUPS: Final = pa.schema(
    [
        *PARTITION,
        pa.field("seq", pa.int64()),
        pa.field("minute_ns", pa.int64()),
        pa.field("level", pa.string()),  # "turn" (roots: requests) or a SpanKind (model calls, tool calls, ...)
        pa.field("app", pa.string()),
        pa.field("release", pa.string()),
        pa.field("variant", pa.string()),
        pa.field("model", pa.string()),
        pa.field("n", pa.int64()),
        pa.field("n_errors", pa.int64()),
        pa.field("input_tokens", pa.int64()),
        pa.field("output_tokens", pa.int64()),
        pa.field("cost_usd", USD),
        pa.field("latency_sketch", pa.map_(pa.int32(), pa.int64())),  # DDSketch bucket -> count, of ms
        pa.field("ttft_sketch", pa.map_(pa.int32(), pa.int64())),
    ]
)

# What clustering knows of a session. Written by its runs, not by the collector; newest row of a session first.
EMBEDDINGS: Final = pa.schema(
    [
        *PARTITION,
        pa.field(
            "seq", pa.int64()
        ),  # when it was written, ns; of the rows of a session and embedder the greatest holds
        pa.field("ingested_at", AT),
        pa.field("at_ns", pa.int64()),  # the session's start
        pa.field("session_id", pa.string()),
        pa.field("app", pa.string()),
        pa.field("embedder", pa.string()),  # the embedder's version: vectors of two versions are never compared
        pa.field("text_hash", pa.int64()),  # XXH64 of what was embedded
        pa.field("vector", pa.binary()),  # float16, little-endian: intent, actions, outcome; each of length 1, or zeros
    ]
)

MEMBERSHIPS: Final = pa.schema(
    [
        *PARTITION,
        pa.field("seq", pa.int64()),  # when it was written, ns; of the rows of a session the greatest holds
        pa.field("ingested_at", AT),
        pa.field("at_ns", pa.int64()),  # the session's start
        pa.field("session_id", pa.string()),
        pa.field("app", pa.string()),
        pa.field("run_id", pa.string()),
        pa.field("embedder", pa.string()),
        pa.field("cluster_id", pa.string()),  # null = noise
        pa.field("confidence", pa.float64()),  # 0 to 1
        pa.field("waiting", pa.bool_()),  # in the residual buffer, until it is clustered again
        pa.field("exemplar", pa.int32()),  # rank among the cluster's exemplars, 0 the best; null = none of them
        pa.field("x", pa.float64()),  # its place on the map
        pa.field("y", pa.float64()),
        pa.field("failed", pa.bool_()),  # null = not known
        pa.field("user_hash", pa.int64()),  # XXH64 of the user's id; null = no user
    ]
)

TABLES: Final[dict[str, pa.Schema]] = {
    "spans": SPANS,
    "scores": SCORES,
    "events": EVENTS,
    "quarantine": QUARANTINE,
    "turns": TURNS,
    "sessions": SESSIONS,
    "rollups": ROLLUPS,
    "embeddings": EMBEDDINGS,
    "memberships": MEMBERSHIPS,
}
# Tables that came with a later format (store/versions.py): a lake of an earlier one lacks them, and gets them.
ADDED: Final = frozenset({"embeddings", "memberships"})

# Columns with few distinct values, worth a Parquet dictionary; text with many is compressed as it is.
PLAIN_COLUMNS: Final = frozenset(
    {
        "trace_id",
        "span_id",
        "input",
        "output",
        "events",
        "documents",
        "content_hash",
        "start_ns",
        "end_ns",
        "duration_ns",
        "text_hash",
        "vector",
        "confidence",
        "x",
        "y",
    }
)
# Looked up by equality: Parquet bloom filters let a reader skip row groups.
BLOOM_COLUMNS: Final = {
    "spans": ("trace_id", "session_id"),
    "turns": ("trace_id", "session_id"),
    "sessions": ("session_id",),
    "scores": ("trace_id", "session_id"),
    "events": ("trace_id",),
    "embeddings": ("session_id",),
    "memberships": ("session_id",),
}
