"""`python -m collector.compile`: compiles every kernel once, so that no start pays for it. Part of `make setup`.

numba keeps compiled code by the age of the file a function stands in, not of the files it calls into; so all of it is
dropped first.
"""

from __future__ import annotations

from pathlib import Path

ROOM = Path(__file__).parent


def main() -> int:
    """Drops what was compiled and compiles anew, by decoding one small request through every path."""
    for path in (*ROOM.glob("__pycache__/*.nbi"), *ROOM.glob("__pycache__/*.nbc")):
        path.unlink(missing_ok=True)
    warm()
    return 0


def warm() -> None:
    """Loads every kernel (or compiles it, when the code is newer than what was kept), so that no request waits."""
    import numpy as np
    import pyarrow as pa

    from collector.batch import decode_safely
    from collector.fingerprints import Fingerprints
    from collector.pii_scan import compile_kernels
    from collector.redact import Redactor
    from collector.refused_spans import compile_kernels as compile_refused
    from collector.repair import repaired
    from collector.row_hash import row_hashes
    from collector.usage import price_of
    from core.records import PiiPolicy

    fingerprints = Fingerprints()
    for _ in range(2):  # the second finds an earlier generation
        fingerprints.add(np.arange(3, dtype=np.int64))
        fingerprints.begin_generation()
    decode_safely([(1, _request())], tenant="setup", ingested_at_us=1)
    repaired(_request(), "span")
    row_hashes(pa.table({"a": ["x"]}), ["a"])
    compile_kernels()
    compile_refused()
    price_of("openai", "gpt-4o")
    Redactor(PiiPolicy(), b"setup").column(pa.array(["write to jane@example.org or +1 212 555 0100"]))


def _request() -> bytes:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

    values = [
        AnyValue(string_value="chat"),
        AnyValue(int_value=1),
        AnyValue(double_value=0.5),
        AnyValue(bytes_value=b"x"),
        AnyValue(array_value=ArrayValue(values=[AnyValue(string_value="stop"), AnyValue(double_value=1.5)])),
    ]
    keys = ("gen_ai.operation.name", "gen_ai.usage.input_tokens", "a", "b", "gen_ai.response.finish_reasons")
    attributes = [KeyValue(key=key, value=value) for key, value in zip(keys, values, strict=True)]
    span = Span(
        trace_id=b"0123456789abcdef",
        span_id=b"01234567",
        name="chat",
        attributes=attributes,
        events=[Span.Event(name="e", time_unix_nano=1, attributes=attributes)],
        links=[Span.Link(trace_id=b"0123456789abcdef", span_id=b"01234567", attributes=attributes)],
    )
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[span])])]
    ).SerializeToString()


if __name__ == "__main__":
    raise SystemExit(main())
