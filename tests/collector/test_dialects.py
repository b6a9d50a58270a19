"""The dialect table (otlp.md 1.11): every column has its keys, and the first that is not empty wins."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from collector import dialects, unflatten
from core.clock import to_datetime
from core.records import SpanKind
from store import schema
from tests.collector import reference
from tests.collector.otlp import START_NS, span, traces


def row(attributes: dict[str, Any], **options: Any) -> dict[str, Any]:
    (found,) = reference.rows(traces(span(attributes), **options))
    return found


def parsed(text: str | None) -> Any:
    assert text is not None
    return json.loads(text)


def test_the_table_covers_the_schema() -> None:
    assert list(dialects.TEXT) == schema.DIALECT_TEXT
    assert list(dialects.TOKENS) == schema.DIALECT_TOKENS
    assert set(schema.DIALECT_TEXT) >= dialects.MOVED
    assert set(schema.SPANS.names) - set(row({})) == {
        "tenant", "date", "seq", "ingested_at", "content_hash", "cost_usd",
    }  # fmt: skip


def test_no_key_is_listed_twice_for_a_column() -> None:
    for column, keys in {**dialects.TEXT, **dialects.TOKENS, "cost": dialects.COST}.items():
        assert len(set(keys)) == len(keys), column


def test_row45_keys_that_would_choose_the_reader_are_never_honoured() -> None:
    used = {key for keys in (*dialects.TEXT.values(), *dialects.TOKENS.values(), dialects.COST) for key in keys}
    used |= {rule.key for rule in dialects.KIND} | {priority.key for priority in dialects.PRIORITY_KEYS}
    assert not {key.removeprefix(dialects.RESOURCE) for key in used} & dialects.NEVER
    hostile = {"langfuse.trace.public": True, "tenant.id": "other", "service.namespace": "other-tenant"}
    assert row(hostile)["attributes"] == [
        ("langfuse.trace.public", "true"), ("tenant.id", "other"), ("service.namespace", "other-tenant"),
    ]  # fmt: skip
    assert "other" not in str({key: value for key, value in row(hostile).items() if key != "attributes"})


@pytest.mark.parametrize("column", schema.DIALECT_TEXT)
def test_the_first_key_that_is_not_empty_wins(column: str) -> None:
    def holder(keys: tuple[str, ...], value: str) -> dict[str, Any]:
        own = {key: value + key for key in keys if not key.startswith(dialects.RESOURCE)}
        of_resource = {key.removeprefix(dialects.RESOURCE): value + key for key in keys if key not in own}
        return {"attributes": own, "resource": of_resource or {"x": "y"}}

    keys = dialects.TEXT[column]
    for place, key in enumerate(keys):
        said = holder(keys[place:], "v ")
        empty = holder(keys[:place], "")
        found = row(
            dict.fromkeys(empty["attributes"], "") | said["attributes"],
            resource=dict.fromkeys(empty["resource"], "") | said["resource"],
        )
        assert found[column] == f"v {key}", key


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"gen_ai.operation.name": "chat"}, SpanKind.LLM),
        ({"gen_ai.operation.name": "generate_content"}, SpanKind.LLM),
        ({"gen_ai.operation.name": "embeddings"}, SpanKind.EMBEDDING),
        ({"gen_ai.operation.name": "retrieval"}, SpanKind.RETRIEVER),
        ({"gen_ai.operation.name": "invoke_agent"}, SpanKind.AGENT),
        ({"gen_ai.operation.name": "create_agent"}, SpanKind.AGENT),
        ({"gen_ai.operation.name": "invoke_workflow"}, SpanKind.WORKFLOW),
        ({"gen_ai.operation.name": "plan"}, SpanKind.PLAN),
        ({"gen_ai.operation.name": "upsert_memory"}, SpanKind.MEMORY),
        ({"openinference.span.kind": "LLM"}, SpanKind.LLM),
        ({"openinference.span.kind": "RERANKER"}, SpanKind.RERANKER),
        ({"openinference.span.kind": "GUARDRAIL"}, SpanKind.GUARDRAIL),
        ({"openinference.span.kind": "UNKNOWN"}, SpanKind.SPAN),
        ({"openinference.span.kind": "UNKNOWN", "gen_ai.operation.name": "chat"}, SpanKind.LLM),
        ({"traceloop.span.kind": "workflow"}, SpanKind.WORKFLOW),
        ({"traceloop.span.kind": "task"}, SpanKind.CHAIN),
        ({"llm.request.type": "rerank"}, SpanKind.RERANKER),
        ({"ai.operationId": "ai.generateText.doGenerate"}, SpanKind.LLM),
        ({"ai.operationId": "ai.streamObject.doStream"}, SpanKind.LLM),
        ({"ai.operationId": "ai.embedMany.doEmbed"}, SpanKind.EMBEDDING),
        ({"ai.operationId": "ai.toolCall"}, SpanKind.TOOL),
        ({"ai.operationId": "ai.generateText"}, SpanKind.CHAIN),
        ({"operation.name": "ai.streamText.doStream my-function"}, SpanKind.LLM),
        ({"langfuse.observation.type": "generation"}, SpanKind.LLM),
        ({"langfuse.observation.type": "evaluator"}, SpanKind.EVALUATOR),
        ({"langfuse.observation.type": "agent", "gen_ai.operation.name": "chat"}, SpanKind.AGENT),
        ({"langfuse.observation.type": "span", "gen_ai.operation.name": "chat"}, SpanKind.LLM),
        ({"gen_ai.tool.name": "search"}, SpanKind.TOOL),
        ({"logfire.span_type": "pending_span", "gen_ai.operation.name": "chat"}, SpanKind.SPAN),
        ({}, SpanKind.SPAN),
    ],
)
def test_kind_an_explicit_attribute_beats_a_guess(attributes: dict[str, Any], kind: SpanKind) -> None:
    assert row(attributes)["kind"] == kind


@pytest.mark.parametrize(
    ("sent", "stored"),
    [("az.ai.openai", "azure.ai.openai"), ("gemini", "gcp.gemini"), ("vertex_ai", "gcp.vertex_ai"), ("xai", "x_ai"),
     ("OpenAI", "openai"), ("openai.responses", "openai"), ("Somebody", "Somebody")],
)  # fmt: skip
def test_provider_names_become_those_of_the_conventions(sent: str, stored: str) -> None:
    found = row({"gen_ai.system": sent})
    assert found["provider"] == stored
    assert found["attributes"] == [("gen_ai.system", sent)]


@pytest.mark.parametrize(
    ("sent", "stored"),
    [(12, 12), ("12", 12), (12.0, 12), ("12.0", 12), (1 << 53, 1 << 53), (0, 0), (-1, None), (12.5, None),
     (float("nan"), None), (10**18, None), ("twelve", None), (True, None), ("1e3", None)],
)  # fmt: skip
def test_row41_token_counts(sent: Any, stored: int | None) -> None:
    found = row({"gen_ai.usage.input_tokens": sent})
    assert found["input_tokens"] == stored
    assert found["issues"] == (None if stored is not None else "usage_invalid")
    assert found["attributes"][0][0] == "gen_ai.usage.input_tokens"


@pytest.mark.parametrize(
    ("sent", "stored"),
    [(0.00012, "0.000120000"), ("0.1", "0.100000000"), (1, "1.000000000"), ("0.0000000005", "0E-9"),
     ("0.0000000015", "2E-9"), (1e-200, "0E-9"), (-1, None), (1e308, None), (float("inf"), None), ("$1", None)],
)  # fmt: skip
def test_row41_costs_are_decimal(sent: Any, stored: str | None) -> None:
    found = row({"gen_ai.usage.cost": sent})
    assert found["cost_reported_usd"] == (None if stored is None else Decimal(stored))
    assert (found["issues"] == "usage_invalid") == (stored is None)


def test_row42_usage_that_contradicts_itself_is_flagged() -> None:
    agree = {"gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 2}
    assert row(agree)["total_tokens"] == 7
    assert row(agree)["issues"] is None
    assert row({**agree, "gen_ai.usage.total_tokens": 8})["issues"] == "usage_inconsistent"
    assert row({**agree, "gen_ai.usage.cache_read.input_tokens": 6})["issues"] == "usage_inconsistent"
    assert row({**agree, "gen_ai.usage.reasoning.output_tokens": 3})["issues"] == "usage_inconsistent"


def test_lesson_b_cache_tokens_are_added_only_where_the_instrumentation_leaves_them_out() -> None:
    usage = {"gen_ai.usage.input_tokens": 12, "gen_ai.usage.cache_read.input_tokens": 1000}
    assert row(usage, scope="opentelemetry.instrumentation.bedrock")["input_tokens"] == 1012
    assert row(usage, scope="opentelemetry.instrumentation.anthropic")["input_tokens"] == 12


def test_ttft_is_in_milliseconds() -> None:
    assert row({"gen_ai.response.time_to_first_chunk": 0.25})["ttft_ms"] == 250.0
    assert row({"ai.response.msToFirstChunk": 426.5})["ttft_ms"] == 426.5
    assert row({"ai.response.msToFirstChunk": -1})["ttft_ms"] is None


def test_baggage_stamps_release_variant_and_session() -> None:
    stamped = {
        "assay.release": "r2", "assay.variant": "treatment", "session.id": "s1", "gen_ai.conversation.id": "of-the-run",
    }  # fmt: skip
    found = row(stamped, resource={"service.name": "shop", "service.version": "1.0"})
    assert (found["release"], found["variant"], found["session_id"], found["app"]) == ("r2", "treatment", "s1", "shop")


OPENINFERENCE = {
    "openinference.span.kind": "LLM",
    "input.value": '{"raw": "request"}',
    "llm.input_messages.0.message.role": "system",
    "llm.input_messages.0.message.content": "be brief",
    "llm.input_messages.1.message.role": "user",
    "llm.input_messages.1.message.contents.0.message_content.type": "text",
    "llm.input_messages.1.message.contents.0.message_content.text": "what is this?",
    "llm.input_messages.1.message.contents.1.message_content.image.image.url": "https://x/y.png",
    "llm.input_messages.2.message.role": "tool",
    "llm.input_messages.2.message.tool_call_id": "call_1",
    "llm.input_messages.2.message.content": "72F",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.tool_calls.0.tool_call.id": "call_2",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "weather",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"city":"Oslo"}',
}


def test_lesson_e_openinference_messages_become_one_list() -> None:
    found = row(OPENINFERENCE)
    assert parsed(found["input"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "be brief"}]},
        {
            "role": "user",
            "parts": [
                {"type": "text", "content": "what is this?"},
                {"type": "uri", "modality": "image", "uri": "https://x/y.png"},
            ],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": "72F"}]},
    ]
    call = {"type": "tool_call", "id": "call_2", "name": "weather", "arguments": {"city": "Oslo"}}
    assert parsed(found["output"]) == [{"role": "assistant", "parts": [call]}]


def test_lesson_d_every_original_attribute_is_kept() -> None:
    assert dict(row(OPENINFERENCE)["attributes"]) == OPENINFERENCE
    whole = row({"gen_ai.input.messages": "[1]", "gen_ai.output.messages": ["x"], "k": 1})
    assert whole["input"] == "[1]"
    assert whole["moved_attributes"] == "gen_ai.input.messages=input"  # the output is no string: it stays
    assert whole["attributes"] == [("gen_ai.output.messages", '["x"]'), ("k", "1")]
    assert whole["attribute_types"] == "ai"


def test_openllmetry_prompts_become_messages_and_entities_name_things() -> None:
    found = row(
        {
            "gen_ai.prompt.0.role": "user",
            "gen_ai.prompt.0.content": '[{"type":"text","text":"hi"}]',
            "gen_ai.completion.0.role": "assistant",
            "gen_ai.completion.0.content": "hello",
            "gen_ai.completion.0.finish_reason": "stop",
            "gen_ai.completion.0.tool_calls.0.name": "f",
            "gen_ai.completion.0.tool_calls.0.arguments": "not json {",
            "gen_ai.prompt.name": "greeting",
        }
    )
    assert parsed(found["input"]) == [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]
    assert parsed(found["output"]) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "hello"},
                {"type": "tool_call", "name": "f", "arguments": "not json {"},
            ],
            "finish_reason": "stop",
        }
    ]
    assert found["prompt_name"] == "greeting"
    for kind, column in (("tool", "tool_name"), ("agent", "agent_name"), ("workflow", "workflow_name")):
        assert row({"traceloop.span.kind": kind, "traceloop.entity.name": "x"})[column] == "x"


def test_retrieval_documents_become_a_list() -> None:
    found = row(
        {
            "retrieval.documents.1.document.content": "b",
            "retrieval.documents.0.document.id": "a1",
            "retrieval.documents.0.document.score": 0.5,
            "retrieval.documents.0.document.metadata": '{"page":3}',
        }
    )
    assert parsed(found["documents"]) == [{"id": "a1", "score": 0.5, "metadata": {"page": 3}}, {"content": "b"}]


def test_langfuse_usage_cost_and_first_token() -> None:
    first_at = to_datetime(START_NS + 250_000_000).isoformat()
    found = row(
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.usage_details": '{"input":10,"output":5,"input_cached_tokens":90,"total":105}',
            "langfuse.observation.cost_details": '{"input":0.1,"output":0.2}',
            "langfuse.observation.completion_start_time": f'"{first_at}"',
            "langfuse.observation.input": '{"q":1}',
        }
    )
    assert (found["input_tokens"], found["output_tokens"], found["cache_read_tokens"]) == (100, 5, 90)
    assert found["cost_reported_usd"] == Decimal("0.300000000")
    assert found["ttft_ms"] == pytest.approx(250, abs=0.001)
    assert found["input"] == '{"q":1}'
    assert found["issues"] is None


def test_langfuse_usage_that_is_inclusive_already_is_not_added_again() -> None:
    usage = '{"input":100,"output":5,"input_cached_tokens":90,"total":105}'
    assert row({"langfuse.observation.usage_details": usage})["input_tokens"] == 100


def test_vercel_provider_metadata_gives_the_cache_figures() -> None:
    said = '{"anthropic":{"usage":{"input_tokens":3,"cache_read_input_tokens":900,"cache_creation_input_tokens":7}}}'
    found = row({"ai.usage.inputTokens": 3, "ai.response.providerMetadata": said, "ai.response.text": "hi"})
    assert (found["cache_read_tokens"], found["cache_write_tokens"], found["input_tokens"]) == (900, 7, 910)
    inclusive = row({"ai.usage.inputTokens": 910, "ai.response.providerMetadata": said})
    assert inclusive["input_tokens"] == 910
    assert found["output"] == "hi"


@pytest.mark.parametrize(
    "key",
    [
        "llm.input_messages.999999999.message.role",
        "llm.input_messages.1e9.message.role",
        "llm.input_messages.00.message.role",
        "llm.input_messages.10000.message.role",
        "gen_ai.prompt.0x1.content",
    ],
)
def test_row44_indices_out_of_bounds_are_kept_and_not_followed(key: str) -> None:
    found = row({key: "user"})
    assert found["input"] is None
    assert found["issues"] == "index_bounded"
    assert found["attributes"] == [(key, "user")]


def test_row44_a_negative_index_is_no_family_at_all() -> None:
    found = row({"llm.input_messages.-1.message.role": "user"})
    assert (found["input"], found["issues"]) == (None, None)


def test_row44_ten_thousand_indices_are_bounded() -> None:
    many = [(f"llm.input_messages.{index}.message.content", "x") for index in range(10_000)]
    filled = unflatten.fill(many)
    assert len(json.loads(filled["input"])) == dialects.MAX_INDICES
    assert filled["issues"] == "index_bounded"
    calls = [(f"llm.input_messages.0.message.tool_calls.{index}.tool_call.id", "x") for index in range(10_000)]
    assert len(json.loads(unflatten.fill(calls)["input"])[0]["parts"]) == dialects.MAX_INDICES


@pytest.mark.parametrize("hostile", ["[" * 200_000, '{"a":' * 5_000, "{" + "9" * 5_000, '[{"type":1}]', "[{]", '["a"]'])
def test_hostile_json_inside_attributes_is_text(hostile: str) -> None:
    filled = unflatten.fill(
        [
            ("gen_ai.prompt.0.content", hostile),
            ("gen_ai.prompt.0.tool_calls.0.arguments", hostile),
            ("events", hostile),
            ("langfuse.observation.usage_details", hostile),
            ("langfuse.observation.cost_details", hostile),
            ("langfuse.observation.completion_start_time", hostile),
            ("ai.response.providerMetadata", hostile),
            ("retrieval.documents.0.document.score", hostile),
        ],
        start_ns=START_NS,
    )
    assert set(filled) <= {"input", "documents"}
    (message,) = json.loads(filled["input"])
    assert message["role"] == "user"


@pytest.mark.parametrize("name", ["__proto__", "constructor", "__class__.__init__", "{0.__class__}", "message"])
def test_row43_names_inside_a_family_are_not_interpreted(name: str) -> None:
    filled = unflatten.fill([(f"llm.input_messages.0.{name}", "x"), (f"retrieval.documents.0.{name}", "x")])
    assert "input" not in filled  # a message that says nothing fills nothing
    assert json.loads(filled["documents"]) == [{}]
