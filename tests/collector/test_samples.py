"""The 88 captured OTLP/JSON requests of real instrumentations: each is accepted or refused with a clear error, and what
its family carries (model, tokens, messages, tool calls) is found in the columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.decode import decode
from collector.json_body import Transcoded, transcode
from collector.kinds import Signal
from collector.log_events import admit_logs
from collector.metric_points import admit_metrics
from core.errors import Undecodable
from core.records import SpanKind
from tests.collector import reference

FOLDER: Final = Path(__file__).parents[3] / "shared" / "data" / "otel_samples"
INDEX: Final = FOLDER / "index.csv"
pytestmark = pytest.mark.skipif(not INDEX.exists(), reason=f"the captured requests are not at {FOLDER}")

Row = dict[str, Any]


def listed() -> list[dict[str, str]]:
    if not INDEX.exists():
        return []
    with INDEX.open(newline="") as lines:
        return list(csv.DictReader(lines))


def of_family(*families: str) -> list[Any]:
    found = [each for each in listed() if set(families) <= set(each["families"].split("|"))]
    return [pytest.param(each["file"], id=each["file"]) for each in found]


def body_of(file: str) -> bytes:
    return (FOLDER / file).read_bytes()


def transcoded(file: str) -> Transcoded:
    return transcode(body_of(file))


def rows_of(file: str) -> list[Row]:
    return reference.rows(ExportTraceServiceRequest.FromString(transcoded(file).protobuf))


def raw_spans(file: str) -> Iterable[tuple[dict[str, Any], dict[str, Any]]]:
    """(span, attributes as plain values) of a file, read with nothing of ours."""
    for group in json.loads(body_of(file))["resourceSpans"]:
        for scope in group["scopeSpans"]:
            for span in scope["spans"]:
                plain = {each["key"]: next(iter(each["value"].values()), None) for each in span.get("attributes", [])}
                yield span, plain


def pairs(file: str) -> list[tuple[dict[str, Any], Row]]:
    """Each span's own attributes beside its row."""
    by_id = {(row["trace_id"], row["span_id"]): row for row in rows_of(file)}
    return [(plain, by_id[span["traceId"].lower(), span["spanId"].lower()]) for span, plain in raw_spans(file)]


def messages(text: str | None) -> list[dict[str, Any]]:
    """The messages of a column, each with role and parts."""
    assert text is not None
    found = json.loads(text)
    assert isinstance(found, list)
    assert found
    assert all(isinstance(each["role"], str) and isinstance(each["parts"], list) for each in found)
    return found


def calls(text: str | None) -> list[dict[str, Any]]:
    return [part for each in messages(text) for part in each["parts"] if part["type"] == "tool_call"]


def test_all_88_are_listed() -> None:
    assert len(listed()) == 88


@pytest.mark.parametrize("entry", listed(), ids=lambda entry: entry["file"])
def test_every_sample_is_accepted_or_refused_with_a_clear_error(entry: dict[str, str]) -> None:
    body = body_of(entry["file"])
    if b'"resourceSpans"' not in body:
        with pytest.raises(Undecodable, match=r"looks like OTLP (logs|metrics); send it to /v1/"):
            transcode(body)
        return
    done = transcode(body)
    assert (done.rejected, done.warnings) == ([], [])
    assert done.n_items == len(rows_of(entry["file"])) == int(entry["spans"])


def test_the_compiled_decoder_agrees_with_the_reference_on_every_sample() -> None:
    """All files in one batch, so that the kernels are loaded once."""
    bodies = [body_of(each["file"]) for each in listed() if int(each["spans"])]
    parts = [(place, transcode(body).protobuf) for place, body in enumerate(bodies, 1)]
    found = decode(parts, tenant="t", ingested_at_us=1_900_000_000_000_000).rows.to_pylist()
    expected = [row for _, body in parts for row in reference.rows(ExportTraceServiceRequest.FromString(body))]
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert repr({column: mine[column] for column in theirs}) == repr(theirs)


@pytest.mark.parametrize("file", [*of_family("logfire"), *of_family("vercel_ai"), *of_family("openinference")])
def test_every_attribute_is_kept_or_moved_whole(file: str) -> None:
    for plain, row in pairs(file):
        moved = dict(line.split("=") for line in (row["moved_attributes"] or "").splitlines())
        assert {key for key, _ in row["attributes"]} | set(moved) == set(plain)
        for key, column in moved.items():
            assert row[column] == plain[key]


@pytest.mark.parametrize("file", of_family("genai_core"))
def test_genai_core_model_tokens_and_tools(file: str) -> None:
    for plain, row in pairs(file):
        if "gen_ai.request.model" in plain:
            assert row["model_request"] == plain["gen_ai.request.model"]
        if "gen_ai.response.model" in plain:
            assert row["model_response"] == plain["gen_ai.response.model"]
        for column, key in (
            ("input_tokens", "gen_ai.usage.input_tokens"),
            ("output_tokens", "gen_ai.usage.output_tokens"),
        ):
            if key in plain:
                assert row[column] == int(plain[key])
        if "operation.cost" in plain:
            assert float(row["cost_reported_usd"]) == pytest.approx(float(plain["operation.cost"]), abs=1e-9)
        if plain.get("gen_ai.operation.name") == "execute_tool":
            assert row["kind"] == SpanKind.TOOL
            assert row["tool_name"] == plain["gen_ai.tool.name"]
        if plain.get("gen_ai.operation.name") == "chat" and plain.get("logfire.span_type") != "pending_span":
            assert row["kind"] == SpanKind.LLM
            assert row["usage_counted"]
        assert row["provider"] or "gen_ai.system" not in plain


@pytest.mark.parametrize("file", of_family("genai_messages"))
def test_genai_messages_are_stored_as_sent(file: str) -> None:
    n_found = 0
    for plain, row in pairs(file):
        for column, key in (("input", "gen_ai.input.messages"), ("output", "gen_ai.output.messages")):
            if isinstance(plain.get(key), str):
                assert row[column] == plain[key]
                assert messages(row[column])
                n_found += 1
    empty = any(isinstance(plain.get("gen_ai.input.messages"), dict) for plain, _ in pairs(file))
    assert n_found or empty


@pytest.mark.parametrize("file", of_family("genai_events_attr"))
def test_genai_events_in_an_attribute_become_messages(file: str) -> None:
    found = [(json.loads(plain["events"]), row) for plain, row in pairs(file) if "events" in plain]
    assert found
    for events, row in found:
        assert messages(row["input"])
        n_calls = sum(len(each.get("tool_calls", ())) for each in events)
        if n_calls and row["output"]:
            sent = calls(row["input"]) + calls(row["output"])
            assert len(sent) == n_calls
            assert all(call["id"] and call["name"] and isinstance(call["arguments"], dict) for call in sent)
        if any(each.get("role") == "assistant" or "finish_reason" in each for each in events):
            assert messages(row["output"])[-1]["role"] == "assistant"


@pytest.mark.parametrize("file", of_family("openinference"))
def test_openinference_messages_tokens_and_tool_calls(file: str) -> None:
    rows = [(plain, row) for plain, row in pairs(file) if "openinference.span.kind" in plain]
    assert rows
    for plain, row in rows:
        assert row["kind"] == plain["openinference.span.kind"]
        if "llm.token_count.prompt" in plain:
            assert row["input_tokens"] == int(plain["llm.token_count.prompt"])
            assert row["output_tokens"] == int(plain["llm.token_count.completion"])
            assert row["total_tokens"] == int(plain["llm.token_count.total"])
        if "llm.model_name" in plain:
            assert row["model_response"] == plain.get("gen_ai.response.model", plain["llm.model_name"])
        n_sent = len({key.split(".")[2] for key in plain if key.startswith("llm.input_messages.")})
        if n_sent:
            assert len(messages(row["input"])) == n_sent
        elif "input.value" in plain:
            assert row["input"] == plain["input.value"]
        if any(".tool_calls." in key for key in plain if key.startswith("llm.output_messages.")):
            (call,) = calls(row["output"])
            assert call["name"] == "get_current_weather"
            assert call["arguments"] == {"location": "San Francisco, CA"}


def prompt_of(plain: dict[str, Any]) -> list[tuple[str, str]]:
    """Role and words of what a Vercel span was asked, read with nothing of ours."""
    sent = json.loads(plain.get("ai.prompt.messages", plain.get("ai.prompt", "null")))
    if isinstance(sent, dict):
        sent = sent.get("messages", [{"role": "user", "content": sent.get("prompt")}])
    words = {
        place: each["content"]
        if isinstance(each["content"], str)
        else "".join(part["text"] for part in each["content"])
        for place, each in enumerate(sent)
    }
    return [(each["role"], words[place]) for place, each in enumerate(sent)]


@pytest.mark.parametrize("file", of_family("vercel_ai"))
def test_vercel_model_tokens_and_messages(file: str) -> None:
    for plain, row in pairs(file):
        operation = plain["ai.operationId"]
        leaf = operation.rpartition(".")[2].startswith("do")
        assert row["usage_counted"] == leaf
        assert row["provider"] == "openai"
        assert row["model_request"] == plain["ai.model.id"]
        assert row["agent_name"] == plain["ai.telemetry.functionId"]
        if "embed" in operation:
            assert row["kind"] == (SpanKind.EMBEDDING if leaf else SpanKind.CHAIN)
            assert row["input_tokens"] == int(plain["ai.usage.tokens"])
            continue
        assert row["kind"] == (SpanKind.LLM if leaf else SpanKind.CHAIN)
        assert [
            (each["role"], "".join(part["content"] for part in each["parts"])) for each in messages(row["input"])
        ] == (prompt_of(plain))
        assert ("ai.prompt" in dict(row["attributes"])) == ("ai.prompt" in plain)
        assert row["output"] == plain.get("ai.response.text", plain.get("ai.response.object"))
        reported = plain["ai.usage.inputTokens" if "ai.usage.inputTokens" in plain else "ai.usage.promptTokens"]
        assert row["input_tokens"] == int(reported)
        assert row["output_tokens"] > 0
        if "ai.response.msToFirstChunk" in plain:
            assert row["ttft_ms"] == plain["ai.response.msToFirstChunk"]


@pytest.mark.parametrize("file", of_family("pydantic_ai"))
def test_pydantic_ai_agents_keep_the_whole_conversation(file: str) -> None:
    agents = [(plain, row) for plain, row in pairs(file) if row["kind"] == SpanKind.AGENT]
    assert agents
    for plain, row in agents:
        assert row["input"] == plain["pydantic_ai.all_messages"]
        assert row["output"] == plain["final_result"]
        assert row["agent_name"] == plain["gen_ai.agent.name"]
        assert not row["usage_counted"]


def test_openai_agents_tools_and_agents_are_named() -> None:
    kinds = {
        row["kind"]: (row["tool_name"], row["agent_name"])
        for row in rows_of("logfire_tests/openai_agents__test_function_tool_exception.json")
    }
    assert kinds[SpanKind.TOOL][0] == "tool"
    assert kinds[SpanKind.AGENT][1] == "Start Agent"


def test_the_protocols_own_examples() -> None:
    (row,) = rows_of("otel_proto_examples/trace.json")
    assert (row["trace_id"], row["parent_span_id"]) == ("5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b173")
    assert (row["name"], row["otel_kind"], row["duration_ns"], row["issues"]) == ("I'm a server span", 2, 10**9, None)
    assert (row["scope_name"], row["scope_version"], row["app"]) == ("my.library", "1.0.0", "my.service")
    for name in ("logs", "events"):
        done = transcode(body_of(f"otel_proto_examples/{name}.json"), Signal.LOG_RECORDS)
        assert (done.n_items, done.rejected) == (1, [])
        admission = admit_logs(done.protobuf)
        assert admission.n_rejected == 1
        assert "only GenAI events are kept here" in admission.message
    metrics = transcode(body_of("otel_proto_examples/metrics.json"), Signal.METRIC_POINTS)
    assert admit_metrics(metrics.protobuf).n_rejected == 4
