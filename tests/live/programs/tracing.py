# mypy: ignore-errors
"""What every program here does first and last: the SDK's tracer provider, and how many spans it ended."""

import json
import os

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


class Counter(SpanProcessor):
    """Counts ended spans: what the collector has to hold afterwards."""

    def __init__(self):
        self.ended = 0

    def on_end(self, span):
        """One more."""
        self.ended += 1


def exporter():
    """The SDK's own exporter; endpoint, headers and compression come from OTEL_* variables."""
    if os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    elif os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == "http/json":
        from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    return OTLPSpanExporter()


def start():
    """Installs and returns a provider that batches to the collector, and its counter."""
    provider, counter = TracerProvider(), Counter()
    provider.add_span_processor(BatchSpanProcessor(exporter()))
    provider.add_span_processor(counter)
    trace.set_tracer_provider(provider)
    return provider, counter


def finish(provider, counter, **said):
    """Flushes, and prints the number of spans (and whatever else the program has to say) as its last line."""
    provider.force_flush()  # shutdown alone gives up on what is being retried
    provider.shutdown()
    print(json.dumps({"spans": counter.ended, **said}))
