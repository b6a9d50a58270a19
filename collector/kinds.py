"""What a journal entry holds."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Signal(StrEnum):
    """The three OTLP signals, by the name their items have in the ledger."""

    SPANS = "spans"
    LOG_RECORDS = "log_records"
    METRIC_POINTS = "metric_points"


class EntryKind(IntEnum):
    """Stored in the journal: never renumber. 0 is not an entry."""

    SPANS_PROTOBUF = 1
    SPANS_JSON = 2
    LOGS_PROTOBUF = 3
    LOGS_JSON = 4
