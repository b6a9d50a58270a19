# mypy: ignore-errors
"""LIVE_SPANS spans on the plain SDK: every kind of attribute value, events, links, exceptions, a big attribute."""

import os

import tracing
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

BIG = "0123456789abcdef" * 16_384  # 256 KiB
EVERY_KIND = {
    "live.string": "příliš žluťoučký 🐎",
    "live.empty": "",
    "live.int": 9_007_199_254_740_993,
    "live.negative": -(2**63),
    "live.double": 0.1,
    "live.infinite": float("inf"),
    "live.bool": True,
    "live.bytes": b"\x00\xff\x10",
    "live.strings": ["a", "b"],
    "live.ints": [1, 2, 3],
    "live.doubles": [0.5, -0.5],
    "live.bools": [True, False],
    "live.mixed": ["a", 1, 0.5, False],
    "live.map": {"seat": {"row": 12, "letter": "A"}, "free": True},
    "live.none": None,
}


def main() -> None:
    """One trace: a root, one span of every kind, one that fails, and plain ones up to LIVE_SPANS."""
    provider, counter = tracing.start()
    tracer = trace.get_tracer("live.sdk", "4.5.6")
    session = os.environ["LIVE_SESSION"]
    with tracer.start_as_current_span("root", kind=SpanKind.SERVER, attributes={"session.id": session}) as root:
        with tracer.start_as_current_span("every kind", kind=SpanKind.CLIENT, attributes=EVERY_KIND) as span:
            span.add_event("picked", {"seat": "12A", "tries": 3}, timestamp=1_760_000_000_123_456_789)
            span.add_link(root.get_span_context(), {"why": "the root"})
            span.set_status(Status(StatusCode.OK))
        with tracer.start_as_current_span("big", attributes={"live.big": BIG}):
            pass
        try:
            with tracer.start_as_current_span("failing", kind=SpanKind.CONSUMER):
                raise LookupError("no such seat")
        except LookupError:
            pass
        links = [Link(root.get_span_context())]
        for position in range(int(os.environ["LIVE_SPANS"]) - 4):
            tracer.start_span(f"plain {position}", links=links, attributes={"position": position}).end()
    context = root.get_span_context()
    tracing.finish(provider, counter, trace_id=f"{context.trace_id:032x}", root=f"{context.span_id:016x}")


main()
