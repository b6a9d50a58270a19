"""An exporter that waits for a collector which is away, and counts what it could not tell: a world whose truth is known
must know that too."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from time import monotonic
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

PATIENCE_S: Final = 60.0
_WAIT_S: Final = 1.0


class PatientExporter(SpanExporter):
    """Sends a batch through `inner` until it is taken, for `patience_s`; after a batch that was lost, once each."""

    def __init__(self, inner: SpanExporter, patience_s: float = PATIENCE_S) -> None:
        self._inner = inner
        self._patience_s = patience_s
        self._hurried = threading.Event()
        self.n_lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Called by the SDK, in a thread of its own."""
        until = monotonic() + (0.0 if self.n_lost else self._patience_s)
        while not (self._hurried.is_set() and self.n_lost):
            if self._inner.export(spans) is SpanExportResult.SUCCESS:
                return SpanExportResult.SUCCESS
            if monotonic() >= until or self._hurried.wait(_WAIT_S):
                break
        self.n_lost += len(spans)
        return SpanExportResult.FAILURE

    def hurry(self) -> None:
        """From now on nothing is waited for; after one more batch that is lost, the rest is lost untried."""
        self._hurried.set()

    def shutdown(self) -> None:
        """Called by the SDK."""
        self.hurry()
        self._inner.shutdown()
