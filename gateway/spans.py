"""One closed span for one call, as the bytes of an OTLP request that holds nothing else.

Requests of OTLP may be put one behind the other: repeated fields of protobuf messages add up, so the exporter makes a
batch without reading what is in it. Every attribute is in docs/gateway-spans.md.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway.records import CacheOutcome, Call
from gateway.span_messages import input_messages, output_messages, text_message

SCOPE: Final = "assay.gateway"
NO_APP: Final = "gateway"  # service.name of calls that do not say whose they are
_MOST_MESSAGE: Final = 1000  # characters of an error's text
_MOST_NAME: Final = 200  # of what an upstream says of itself
_MOST_INT: Final = (1 << 63) - 1
_CLIENT: Final = Span.SpanKind.SPAN_KIND_CLIENT
_SERVER: Final = Span.SpanKind.SPAN_KIND_SERVER
_ERROR: Final = Status.StatusCode.STATUS_CODE_ERROR
_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?\Z")


def parent_of(traceparent: str) -> tuple[bytes, bytes] | None:
    """(trace id, span id) of a W3C traceparent; None when it is not valid, so that a new trace begins.

    Source: https://www.w3.org/TR/trace-context/, section 3.2."""
    found = _PARENT.match(traceparent.strip())
    if found is None:
        return None
    version, trace, span, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace, 16) or not int(span, 16):
        return None
    return bytes.fromhex(trace), bytes.fromhex(span)


def span_of(call: Call, *, content: bool) -> bytes:
    """The request with the span of an ended call, and one for each attempt when there were several. `content`: with
    the messages, if they were masked before the call ended."""
    request = ExportTraceServiceRequest()
    spans = _begin(request, call.caller.app, call.caller.release)
    target = call.answered_by or (call.attempts[-1].target if call.attempts else call.model.targets[0])
    span = spans.add(
        name=f"{call.kind.value} {target.model}".strip(), kind=_CLIENT, start_time_unix_nano=call.started_ns,
        end_time_unix_nano=max(call.ended_ns, call.started_ns),
    )  # fmt: skip
    _identify(span, call.caller.parent)
    _write_conventions(span, call, target.model)
    _write_ours(span, call, target.upstream)
    if content and _was_masked(call):
        _write_messages(span, call)
    if call.error:
        span.status.code = _ERROR
        span.status.message = call.error_message[:_MOST_MESSAGE]
        span.attributes.add(key="error.type").value.string_value = call.error
    if len(call.attempts) > 1:
        _write_attempts(spans, span, call)
    return request.SerializeToString()


@dataclass(kw_only=True, slots=True)
class Passage:
    """One request at the session door, for its span. `assigned` is the release of the session, `release` the one that
    was reached, empty when none was: what the gateway could not do is not evidence against a release. `said` and
    `replied` are masked texts of a turn, where they are known. A turn is a trace of its own, that begins here whoever
    calls: `caller`, their trace id and span id, is a link."""

    app: str
    session: str
    user: str
    assigned: str
    release: str
    variant: str
    method: str
    key_id: str
    started_ns: int
    caller: tuple[bytes, bytes] | None
    trace_id: bytes
    span_id: bytes
    ended_ns: int = 0
    status: int = 0
    error: str = ""
    error_message: str = ""
    said: str = ""
    replied: str = ""
    chosen: bool = False  # by the request, so that the session is no traffic
    experiment: str = ""  # NAME:VERSION of the experiment that gave the session its arm


def passage_span(passage: Passage) -> bytes:
    """The request with the span of what passed the session door."""
    request = ExportTraceServiceRequest()
    span = _begin(request, passage.app, passage.release).add(
        name=f"session {passage.app}", kind=_SERVER, trace_id=passage.trace_id, span_id=passage.span_id,
        start_time_unix_nano=passage.started_ns, end_time_unix_nano=max(passage.ended_ns, passage.started_ns),
    )  # fmt: skip
    if passage.caller is not None:
        span.links.add(trace_id=passage.caller[0], span_id=passage.caller[1])
    add = span.attributes.add
    for key, value in (
        ("session.id", passage.session),
        ("gen_ai.conversation.id", passage.session),
        ("user.id", passage.user),
        ("assay.release", passage.release),
        ("assay.variant", passage.variant),
        ("assay.experiment", passage.experiment),
        ("assay.gateway.key_id", passage.key_id),
        ("assay.gateway.assigned_release", passage.assigned if passage.assigned != passage.release else ""),
        ("http.request.method", passage.method),
        ("error.type", passage.error),
        ("gen_ai.input.messages", text_message("user", passage.said)),
        ("gen_ai.output.messages", text_message("assistant", passage.replied)),
    ):
        if value:
            add(key=key).value.string_value = value
    if passage.chosen:
        add(key="assay.gateway.chosen").value.bool_value = True
    if passage.status:
        add(key="http.response.status_code").value.int_value = passage.status
    if passage.error:
        span.status.code = _ERROR
        span.status.message = passage.error_message[:_MOST_MESSAGE]
    return request.SerializeToString()


def _begin(request: Any, app: str, release: str) -> Any:
    """The list of spans of a request that says whose they are."""
    group = request.resource_spans.add()
    attributes = group.resource.attributes
    attributes.add(key="service.name").value.string_value = app or NO_APP
    if release:
        attributes.add(key="service.version").value.string_value = release
    scope = group.scope_spans.add()
    scope.scope.name = SCOPE
    return scope.spans


def _identify(span: Any, traceparent: str) -> None:
    parent = parent_of(traceparent) if traceparent else None
    drawn = os.urandom(24)
    span.span_id = drawn[16:]
    if parent is None:
        span.trace_id = drawn[:16]
    else:
        span.trace_id, span.parent_span_id = parent


def _write_conventions(span: Any, call: Call, model: str) -> None:
    """What the GenAI conventions name, and cost as the collector reads it."""
    add = span.attributes.add
    caller = call.caller
    for key, value in (
        ("gen_ai.operation.name", call.kind.value),
        ("gen_ai.provider.name", call.provider),
        ("gen_ai.request.model", model),
        ("gen_ai.response.model", call.response_model[:_MOST_NAME]),
        ("gen_ai.response.id", call.response_id[:_MOST_NAME]),
        ("gen_ai.conversation.id", caller.session),
        ("session.id", caller.session),
        ("user.id", caller.user),
        ("assay.release", caller.release),
        ("assay.variant", caller.variant),
    ):
        if value:
            add(key=key).value.string_value = value
    reasons = [reason[:_MOST_NAME] for reason in call.finish_reasons if reason]
    if reasons:
        _write_texts(span, "gen_ai.response.finish_reasons", reasons)
    usage = call.usage
    # A call without tokens says so (an answer from the cache), so that a span around it that repeats what the answer
    # says is not counted in its place. Of a call that nobody answered nothing is known.
    if call.answered_by is not None or _from_cache(call) or usage.input_tokens or usage.output_tokens:
        add(key="gen_ai.usage.input_tokens").value.int_value = min(usage.input_tokens, _MOST_INT)
        add(key="gen_ai.usage.output_tokens").value.int_value = min(usage.output_tokens, _MOST_INT)
        if usage.cached_tokens:
            add(key="gen_ai.usage.cache_read.input_tokens").value.int_value = min(usage.cached_tokens, _MOST_INT)
        if not usage.reported and not _from_cache(call):
            add(key="assay.gateway.usage_estimated").value.bool_value = True
    if call.cost_usd is not None:
        add(key="gen_ai.usage.cost").value.double_value = call.cost_usd
    if call.streamed and call.first_token_ns:
        seconds = (call.first_token_ns - call.started_ns) / 1e9
        add(key="gen_ai.response.time_to_first_chunk").value.double_value = max(0.0, seconds)


def _from_cache(call: Call) -> bool:
    return call.cache in (CacheOutcome.EXACT, CacheOutcome.SEMANTIC)


def _write_ours(span: Any, call: Call, upstream: str) -> None:
    """What only a gateway knows."""
    add = span.attributes.add
    for key, value in (
        ("assay.gateway.call_id", call.id),
        ("assay.gateway.upstream", upstream if call.attempts or call.answered_by else ""),
        ("assay.gateway.virtual_model", call.asked),
        ("assay.gateway.cache", call.cache.value),
        ("assay.gateway.fallback_reason", call.fallback_reason),
        ("assay.gateway.refused", call.refused),
        ("assay.gateway.team", call.caller.team),
        ("assay.gateway.key_id", call.caller.key_id),
    ):
        if value:
            add(key=key).value.string_value = value
    for key, flag in (
        ("assay.gateway.streamed", call.streamed),
        ("assay.gateway.aborted", call.aborted),
        ("assay.gateway.simulated", call.simulated),
    ):
        if flag:
            add(key=key).value.bool_value = True
    saved_usd = call.state.get("saved_usd")  # what the answer cost when it was asked for
    if saved_usd is not None:
        add(key="assay.gateway.saved_usd").value.double_value = saved_usd
    add(key="assay.gateway.n_attempts").value.int_value = len(call.attempts)
    add(key="http.response.status_code").value.int_value = call.status
    overhead_ns = max(0, call.ended_ns - call.started_ns - call.upstream_ns)
    add(key="assay.gateway.overhead_ms").value.double_value = overhead_ns / 1e6
    for policy, spent_ms in call.policy_ms.items():
        add(key=f"assay.gateway.policy_ms.{policy}").value.double_value = spent_ms
    for entity, n_values in call.masked.items():
        add(key=f"assay.gateway.masked.{entity}").value.int_value = n_values
    if call.flags:
        _write_texts(span, "assay.gateway.flags", call.flags)


def _was_masked(call: Call) -> bool:
    """Whether the policy of masking looked at the call, and did not break: before that, its texts are as they came."""
    return "masking" in call.policy_ms and call.error != "masking_broke"


def _write_messages(span: Any, call: Call) -> None:
    asked, asked_cut = input_messages(call.body)
    span.attributes.add(key="gen_ai.input.messages").value.string_value = asked
    answer_cut = False
    if call.output:
        answered, answer_cut = output_messages(call.output, call.finish_reasons)
        span.attributes.add(key="gen_ai.output.messages").value.string_value = answered
    if asked_cut or answer_cut:
        span.attributes.add(key="assay.gateway.content_cut").value.bool_value = True


def _write_attempts(spans: Any, call_span: Any, call: Call) -> None:
    for attempt in call.attempts:
        span = spans.add(
            trace_id=call_span.trace_id, span_id=os.urandom(8), parent_span_id=call_span.span_id, kind=_CLIENT,
            name=f"attempt {attempt.target.upstream}", start_time_unix_nano=attempt.started_ns,
            end_time_unix_nano=max(attempt.started_ns, attempt.ended_ns or call.ended_ns),
        )  # fmt: skip
        add = span.attributes.add
        add(key="assay.gateway.upstream").value.string_value = attempt.target.upstream
        add(key="assay.gateway.attempt.model").value.string_value = attempt.target.model
        if attempt.status:
            add(key="http.response.status_code").value.int_value = attempt.status
        if attempt.key:
            add(key="assay.gateway.attempt.key").value.int_value = attempt.key
        if attempt.error:
            add(key="error.type").value.string_value = attempt.error
            span.status.code = _ERROR


def _write_texts(span: Any, key: str, texts: list[str]) -> None:
    values = span.attributes.add(key=key).value.array_value.values
    for text in texts:
        values.add(string_value=text)
