"""Calls of judges as spans of the app "assay.judges", sent to our own collector as any agent's are.

A verdict is a trace: the span of the judge and below it one of each request to a model, with its tokens and its cost.
Ids are made of the verdict's, so what is sent again after a kill is recognised. What was judged and what was answered
is not in them: both are kept where an erasure finds them.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from judges.choosing import APP, SESSION
from server.settings import Settings
from store.control.judge_records import JobRecord, VerdictRecord

SCOPE: Final = "assay.judges"
PAUSES_S: Final = (0.25, 0.5, 1.0, 2.0)  # before it is tried again
AT_ONCE: Final = 200  # verdicts in a request
_POISON: Final = frozenset({400, 401, 403, 413, 422})
_LOG: Final = logging.getLogger("assay.judges")


class Sender:
    """Sends the calls of one job. `key` is an ingest key of its tenant."""

    def __init__(self, settings: Settings, key: str, client: httpx.Client) -> None:
        base = (settings.collector_url or f"http://127.0.0.1:{settings.http_port}").rstrip("/")
        self._url, self._key, self._client = f"{base}/v1/traces", key, client
        self._is_failing = False  # what could not be sent just now is not waited for again

    def send(self, job: JobRecord, paid: Sequence[VerdictRecord]) -> int:
        """Returns when all were taken, or not after some tries; how many calls were not."""
        asked = [one for one in paid if one.calls]
        n_lost = 0
        for at in range(0, len(asked), AT_ONCE):
            part = asked[at : at + AT_ONCE]
            n_lost += 0 if self._sent(request_of(job, part)) else sum(len(one.calls) for one in part)
        return n_lost

    def _sent(self, body: bytes) -> bool:
        headers = {"content-type": "application/x-protobuf", "authorization": f"Bearer {self._key}"}
        for pause_s in (0.0, *(() if self._is_failing else PAUSES_S)):
            time.sleep(pause_s)
            try:
                answer = self._client.post(self._url, content=body, headers=headers, timeout=30)
            except httpx.HTTPError as error:
                why = f"the collector cannot be reached: {type(error).__name__}"
            else:
                if answer.status_code == 200:
                    self._is_failing = False
                    return True
                why = f"the collector answered {answer.status_code}"
                if answer.status_code in _POISON:
                    break
        self._is_failing = True
        _LOG.warning("calls of judges could not be traced: %s", why)
        return False


def request_of(job: JobRecord, paid: Sequence[VerdictRecord]) -> bytes:
    """The OTLP request with the spans of these verdicts."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    for name, value in (("service.name", APP), ("service.version", job.version)):
        group.resource.attributes.add(key=name).value.string_value = value
    spans = group.scope_spans.add()
    spans.scope.name = SCOPE
    for one in paid:
        _add(spans.spans, job, one)
    return request.SerializeToString()


def _add(spans: Any, job: JobRecord, one: VerdictRecord) -> None:
    drawn = hashlib.sha256(f"{job.job_id}\0{one.key}".encode()).digest()
    trace_id, root_id = drawn[:16], drawn[16:24]
    start = min((int(call["started_ns"]) for call in one.calls), default=one.at_ns)
    end = max((int(call["ended_ns"]) for call in one.calls), default=one.at_ns)
    root = spans.add(
        name=f"judge {one.judge}", kind=Span.SpanKind.SPAN_KIND_INTERNAL, trace_id=trace_id, span_id=root_id,
        start_time_unix_nano=start, end_time_unix_nano=max(start, end),
    )  # fmt: skip
    label = ",".join(sorted(one.labels))
    texts = {"openinference.span.kind": "EVALUATOR", "assay.judge.job_id": job.job_id, "assay.judge.verdict": one.key}
    texts |= {"assay.judge.label": label, "assay.judge.missing": one.missing or "", "assay.judge.app": job.app}
    _write(root, job, one, texts)
    for n, call in enumerate(one.calls):
        span_id = hashlib.sha256(drawn + n.to_bytes(4)).digest()[:8]
        _add_call(spans, job, one, call, (trace_id, root_id, span_id))


def _add_call(
    spans: Any, job: JobRecord, one: VerdictRecord, call: Mapping[str, Any], ids: tuple[bytes, bytes, bytes]
) -> None:
    trace_id, parent_id, span_id = ids
    start, end = int(call["started_ns"]), int(call["ended_ns"])
    span = spans.add(
        name=f"chat {call['model']}", kind=Span.SpanKind.SPAN_KIND_CLIENT, trace_id=trace_id, span_id=span_id,
        parent_span_id=parent_id, start_time_unix_nano=start, end_time_unix_nano=max(start, end),
    )  # fmt: skip
    texts = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": str(call["provider"])}
    texts |= {"gen_ai.request.model": str(call["model"]), "error.type": "failed" if call["error"] else ""}
    _write(span, job, one, texts)
    add = span.attributes.add
    if call["finish"]:
        add(key="gen_ai.response.finish_reasons").value.array_value.values.add().string_value = str(call["finish"])
    if call["error"]:
        span.status.code, span.status.message = Status.StatusCode.STATUS_CODE_ERROR, str(call["error"])[:1000]
        return
    add(key="gen_ai.usage.input_tokens").value.int_value = int(call["input_tokens"])
    add(key="gen_ai.usage.output_tokens").value.int_value = int(call["output_tokens"])
    if call["cost_usd"] is not None:
        add(key="gen_ai.usage.cost").value.double_value = float(call["cost_usd"])


def _write(span: Any, job: JobRecord, one: VerdictRecord, texts: Mapping[str, str]) -> None:
    session = SESSION + one.session_id
    said = {"session.id": session, "gen_ai.conversation.id": session, "assay.release": job.version, **texts}
    for name, value in said.items():
        if value:
            span.attributes.add(key=name).value.string_value = value
