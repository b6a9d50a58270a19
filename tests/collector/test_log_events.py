"""Log records (O-17, O-18, decision 8, bad input 46): GenAI events are kept, the rest is refused in plain words."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from collector.log_events import DecodedLogs, admit_logs, decode_logs, looks_like_logs, scores_of_span_events
from core.errors import Undecodable
from core.ids import tenant_id
from store import schema
from tests.collector.otlp import SPAN_ID, START_NS, TRACE_ID, log_record, logs, span, traces
from tests.thorough import often

ACME = tenant_id("acme")
ARRIVED_US = 1_790_000_500_000_001
RESULT = "gen_ai.evaluation.result"


def decode(*records: LogRecord, **options: Any) -> DecodedLogs:
    return decode_logs(logs(*records, **options), tenant=ACME, seq=77, ingested_at_us=ARRIVED_US)


def score(attributes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    done = decode(log_record(RESULT, {"gen_ai.evaluation.name": "relevance"} | attributes, **fields))
    assert done.scores.schema == schema.SCORES
    (row,) = done.scores.to_pylist()
    assert isinstance(row, dict)
    return row


def event(name: str, attributes: dict[str, Any] | None = None, body: Any = None, **fields: Any) -> dict[str, Any]:
    done = decode(log_record(name, attributes, body, **fields))
    assert done.events.schema == schema.EVENTS
    (row,) = done.events.to_pylist()
    assert isinstance(row, dict)
    return row


def test_an_evaluation_result_becomes_a_score_of_its_span() -> None:
    row = score(
        {
            "gen_ai.evaluation.score.value": 0.75,
            "gen_ai.evaluation.score.label": "relevant",
            "gen_ai.evaluation.explanation": "it answers",
            "gen_ai.response.id": "resp_1",
            "session.id": "s1",
        }
    )
    assert row["tenant"] == "acme"
    assert (row["seq"], row["date"], row["at_ns"]) == (77, "2026-09-21", START_NS)
    assert (row["trace_id"], row["span_id"], row["session_id"], row["app"]) == (TRACE_ID, SPAN_ID, "s1", "shop")
    assert (row["evaluator"], row["evaluator_version"], row["evaluator_kind"]) == ("relevance", "1", "event")
    assert (row["target"], row["value"], row["label"], row["unscored"]) == ("span", 0.75, "relevant", None)
    assert row["explanation"] == "it answers"
    assert json.loads(row["metadata"]) == {"gen_ai.response.id": "resp_1", "session.id": "s1"}


def test_the_same_event_has_the_same_score_id_whenever_it_arrives() -> None:
    record = log_record(RESULT, {"gen_ai.evaluation.name": "x", "gen_ai.evaluation.score.value": 1})
    first = decode(record).scores
    again = decode_logs(logs(record), tenant=ACME, seq=99, ingested_at_us=ARRIVED_US + 9).scores
    assert first["score_id"] == again["score_id"]
    other = decode(log_record(RESULT, {"gen_ai.evaluation.name": "x", "gen_ai.evaluation.score.value": 2})).scores
    assert first["score_id"] != other["score_id"]


@pytest.mark.parametrize(
    ("sent", "value"), [(1, 1.0), (0, 0.0), (-2.5, -2.5), (1e308, 1e308), ("0.8", 0.8), ("1e-3", 0.001)]
)
def test_row46_numbers_are_scores(sent: Any, value: float) -> None:
    row = score({"gen_ai.evaluation.score.value": sent})
    assert (row["value"], row["unscored"]) == (value, None)


@pytest.mark.parametrize(
    "sent", [float("nan"), float("inf"), float("-inf"), "high", "NaN", "nan", "1e400", "", True, [1], {"a": 1}, b"1"]
)
def test_row46_what_is_no_finite_number_is_unscored_with_its_reason(sent: Any) -> None:
    row = score({"gen_ai.evaluation.score.value": sent, "gen_ai.evaluation.score.label": "good"})
    assert (row["value"], row["label"]) == (None, None)
    assert "is not a finite number" in row["unscored"]
    assert json.loads(row["metadata"])["score_label"] == "good"


def test_a_label_alone_is_a_score_and_nothing_at_all_is_not() -> None:
    row = score({"gen_ai.evaluation.score.label": "pass"})
    assert (row["value"], row["label"], row["unscored"]) == (None, "pass", None)
    assert score({})["unscored"] == "the event carries neither a score value nor a label"


def test_a_failed_evaluation_is_unscored() -> None:
    row = score({"gen_ai.evaluation.score.value": 1.0, "error.type": "timeout"})
    assert (row["value"], row["unscored"]) == (None, "the evaluation failed: timeout")


def test_row46_a_label_of_a_megabyte_is_limited_and_flagged() -> None:
    row = score({"gen_ai.evaluation.score.label": "x" * 1_000_000, "gen_ai.evaluation.explanation": "y" * 1_000_000})
    assert (len(row["label"]), len(row["explanation"])) == (4_096, 65_536)
    metadata = json.loads(row["metadata"])
    assert metadata == {"label_truncated_from": 1_000_000, "explanation_truncated_from": 1_000_000}


@pytest.mark.parametrize(
    ("fields", "attributes", "target"),
    [
        ({}, {}, "span"),
        ({"span_id": b""}, {}, "turn"),
        ({"span_id": bytes(8)}, {}, "turn"),
        ({"trace_id": b"", "span_id": b""}, {"gen_ai.conversation.id": "c1"}, "session"),
        ({"trace_id": b"", "span_id": b""}, {"gen_ai.response.id": "resp_1"}, "span"),
    ],
)
def test_what_a_score_is_about(fields: dict[str, Any], attributes: dict[str, Any], target: str) -> None:
    assert score(attributes | {"gen_ai.evaluation.score.value": 1}, **fields)["target"] == target


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (log_record(RESULT, {"gen_ai.evaluation.score.value": 1}), "missing_evaluation_name"),
        (log_record(RESULT, {"gen_ai.evaluation.name": "x"}, trace_id=b"", span_id=b""), "no_target"),
        (log_record(RESULT, {"gen_ai.evaluation.name": "x"}, trace_id=bytes(16)), "no_target"),
        (log_record("gen_ai.user.message", body={"content": "hi"}, trace_id=b"\xff"), "no_target"),
    ],
)
def test_o20_an_unusable_event_goes_to_quarantine_alone(record: LogRecord, reason: str) -> None:
    good = log_record(RESULT, {"gen_ai.evaluation.name": "x", "gen_ai.evaluation.score.value": 1})
    done = decode(good, record, good)
    (rejection,) = done.quarantined
    assert rejection.reason == reason
    assert LogRecord.FromString(rejection.payload) == record
    assert (done.n_records, done.n_rejected, done.scores.num_rows) == (3, 0, 2)
    admission = admit_logs(logs(good, record, good))
    assert (admission.n_records, admission.n_rejected, admission.n_quarantined) == (3, 1, 1)
    assert rejection.detail in admission.message


def test_o32_a_record_with_bytes_that_are_not_utf8_takes_no_sibling_with_it() -> None:
    good = log_record(RESULT, {"gen_ai.evaluation.name": "good", "gen_ai.evaluation.score.value": 1})
    bad = log_record(RESULT, {"gen_ai.evaluation.name": "MARK", "gen_ai.evaluation.score.value": 1})
    body = logs(good, bad, good).replace(b"MARK", b"a\xffbc")
    done = decode_logs(body, tenant=ACME, seq=1, ingested_at_us=ARRIVED_US)
    assert done.scores["evaluator"].to_pylist() == ["good", "good"]
    assert [each.reason for each in done.quarantined] == ["undecodable_log_record"]


def test_operation_details_carry_messages_and_join_by_ids() -> None:
    row = event(
        "gen_ai.client.inference.operation.details",
        {
            "gen_ai.response.id": "resp_1",
            "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "hé"}]}],
            "gen_ai.output.messages": '[{"role":"assistant"}]',
            "big": (1 << 63) - 1,
        },
    )
    assert (row["trace_id"], row["span_id"], row["response_id"]) == (TRACE_ID, SPAN_ID, "resp_1")
    assert json.loads(row["input"]) == [{"role": "user", "parts": [{"type": "text", "content": "hé"}]}]
    assert row["output"] == '[{"role":"assistant"}]'
    assert json.loads(row["attributes"])["big"] == (1 << 63) - 1
    assert json.loads(row["resource"]) == {"service.name": "shop"}
    in_body = event("gen_ai.client.inference.operation.details", body={"gen_ai.input.messages": [{"role": "user"}]})
    assert json.loads(in_body["input"]) == [{"role": "user"}]


@pytest.mark.parametrize(
    ("name", "body", "column", "message"),
    [
        ("gen_ai.system.message", {"content": "be kind"}, "input", {"role": "system", "parts": ["be kind"]}),
        ("gen_ai.user.message", {"content": "hi", "role": "user"}, "input", {"role": "user", "parts": ["hi"]}),
        ("gen_ai.user.message", "hi", "input", {"role": "user", "parts": ["hi"]}),
        ("gen_ai.assistant.message", {"content": "ok"}, "input", {"role": "assistant", "parts": ["ok"]}),
        (
            "gen_ai.choice",
            {"index": 0, "finish_reason": "stop", "message": {"content": "ok"}},
            "output",
            {"role": "assistant", "parts": ["ok"], "finish_reason": "stop"},
        ),
    ],
)
def test_old_message_events_become_messages(name: str, body: Any, column: str, message: dict[str, Any]) -> None:
    row = event(name, body=body)
    (got,) = json.loads(row[column])
    assert got | {"parts": [part["content"] for part in got["parts"]]} == message
    assert row["output" if column == "input" else "input"] is None


def test_old_tool_events_keep_calls_and_responses() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    (asked,) = json.loads(event("gen_ai.assistant.message", body={"tool_calls": [call]})["input"])
    assert asked["parts"] == [{"type": "tool_call", "id": "call_1", "name": "f", "arguments": {"a": 1}}]
    (answered,) = json.loads(event("gen_ai.tool.message", body={"id": "call_1", "content": "42"})["input"])
    assert answered["parts"] == [{"type": "tool_call_response", "id": "call_1", "response": "42"}]


def test_an_event_named_by_the_old_attribute_is_known() -> None:
    record = log_record("", {"event.name": "gen_ai.client.operation.exception", "exception.type": "Timeout"})
    assert decode(record).events["name"].to_pylist() == ["gen_ai.client.operation.exception"]


def test_o17_other_records_are_refused_in_plain_words_with_their_number() -> None:
    good = log_record(RESULT, {"gen_ai.evaluation.name": "x", "gen_ai.evaluation.score.value": 1})
    body = logs(log_record("", body="a line"), good, log_record("device.app.lifecycle"))
    admission = admit_logs(body)
    assert (admission.n_records, admission.n_rejected) == (3, 2)
    assert admission.message.startswith("2 of 3 log records were not stored: only GenAI events are kept here")
    done = decode_logs(body, tenant=ACME, seq=1, ingested_at_us=ARRIVED_US)
    assert (done.n_records, done.n_rejected, done.scores.num_rows, done.events.num_rows) == (3, 2, 1, 0)


def test_o15_full_success_has_no_message() -> None:
    good = log_record(RESULT, {"gen_ai.evaluation.name": "x", "gen_ai.evaluation.score.value": 1})
    assert admit_logs(logs(good)).message == ""
    assert admit_logs(b"").n_records == 0


@pytest.mark.parametrize("time_ns", [0, 1, 10**15, (1 << 63), (1 << 64) - 1])
def test_o44_an_absurd_time_becomes_the_time_of_arrival(time_ns: int) -> None:
    row = score({"gen_ai.evaluation.score.value": 1}, time_unix_nano=time_ns)
    assert (row["at_ns"], row["date"]) == (ARRIVED_US * 1000, "2026-09-21")


def test_a_time_unsaid_is_the_time_observed() -> None:
    row = score({"gen_ai.evaluation.score.value": 1}, time_unix_nano=0, observed_time_unix_nano=START_NS + 5)
    assert row["at_ns"] == START_NS + 5


def test_span_events_become_scores_of_their_span() -> None:
    attributes = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": "NaN"}
    table = scores_of_span_events(
        [
            (TRACE_ID, SPAN_ID, "s1", "shop", START_NS, attributes),
            (TRACE_ID, SPAN_ID, None, None, START_NS, {"gen_ai.evaluation.score.value": 1}),
        ],
        tenant=ACME,
        seq=5,
        ingested_at_us=ARRIVED_US,
    )
    assert isinstance(table, pa.Table)
    (row,) = table.to_pylist()
    assert (row["session_id"], row["app"], row["target"], row["seq"]) == ("s1", "shop", "span", 5)
    assert row["unscored"] == "the score 'NaN' is not a finite number"


@pytest.mark.parametrize("body", [b"\x0a\x05hello", b"\xff" * 20, b"\x0a\xff\xff\xff\xff\x0f", b"\x00\x00"])
def test_o23_what_is_no_request_is_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable):
        admit_logs(body)


@settings(max_examples=often(200, 50), deadline=None)
@given(st.binary(max_size=60), st.integers(0, 10_000))
def test_garbage_is_refused_or_counted_and_never_crashes(garbage: bytes, place: int) -> None:
    whole = logs(log_record(RESULT, {"gen_ai.evaluation.name": "x", "gen_ai.evaluation.score.value": 0.5}))
    at = place % len(whole)
    for body in (garbage, whole[:at], whole[:at] + garbage + whole[at:], whole[:at] + garbage + whole[at + 1 :]):
        try:
            admission = admit_logs(body)
        except Undecodable:
            continue
        done = decode_logs(body, tenant=ACME, seq=1, ingested_at_us=ARRIVED_US)
        kept = done.scores.num_rows + done.events.num_rows
        assert admission.n_records == done.n_records == kept + done.n_rejected + len(done.quarantined)
        assert admission.n_rejected == done.n_rejected + len(done.quarantined)


def test_row5_logs_are_told_from_spans_without_ids() -> None:
    assert looks_like_logs(logs(log_record("", body="a line")))
    nameless = traces(span({"k": "v"}, trace_id=b"", span_id=b""), span(trace_id=b"", name="hello"))
    assert not looks_like_logs(nameless.SerializeToString())
    assert not looks_like_logs(b"")
