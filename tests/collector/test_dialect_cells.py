"""The mapping of the six dialects, cell by cell: a line per attribute that a cell names, through the compiled decoder,
and what the column then holds. What has no column of its own is kept among the attributes."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from collector import dialects
from collector.batch import Item, Workshop, rows_of
from collector.decode import decode
from collector.kinds import EntryKind
from collector.redact import Redactor
from core.clock import to_datetime
from core.ids import tenant_id
from core.records import PiiPolicy, SpanKind
from tests.collector.otlp import START_NS, span, traces

NOW_US: Final = START_NS // 1000 + 1_000_000
Attributes = dict[str, Any]
Cell = tuple[str, str, Attributes, Any]


def decoded(attributes: Attributes, **options: Any) -> dict[str, Any]:
    """The row of a span."""
    body = traces(span(attributes), **options).SerializeToString()
    (row,) = decode([(1, body)], tenant="t", ingested_at_us=NOW_US).rows.to_pylist()
    found: dict[str, Any] = row
    return found


def cells(column: str, dialect: str, *pairs: tuple[Attributes, Any]) -> list[Cell]:
    """Lines of one cell."""
    return [(column, dialect, attributes, value) for attributes, value in pairs]


def texts(column: str, dialect: str, *keys: str) -> list[Cell]:
    """Lines of one cell whose attributes hold the text of the column."""
    return cells(column, dialect, *[({key: f"from {key}"}, f"from {key}") for key in keys])


def tokens(column: str, dialect: str, *keys: str) -> list[Cell]:
    """Lines of one cell whose attributes hold a count."""
    return cells(column, dialect, *[({key: 7}, 7) for key in keys])


def kinds(dialect: str, key: str, **values: SpanKind) -> list[Cell]:
    """Lines of the kind's cells."""
    return cells("kind", dialect, *[({key: value}, kind) for value, kind in values.items()])


K = SpanKind
OPERATIONS = {
    "chat": K.LLM, "text_completion": K.LLM, "generate_content": K.LLM, "embeddings": K.EMBEDDING,
    "retrieval": K.RETRIEVER, "execute_tool": K.TOOL, "create_agent": K.AGENT, "invoke_agent": K.AGENT,
    "invoke_workflow": K.WORKFLOW, "plan": K.PLAN, "search_memory": K.MEMORY, "create_memory": K.MEMORY,
    "update_memory": K.MEMORY, "upsert_memory": K.MEMORY, "delete_memory": K.MEMORY, "create_memory_store": K.MEMORY,
    "delete_memory_store": K.MEMORY,
}  # fmt: skip
OPENINFERENCE = {
    "LLM": K.LLM, "EMBEDDING": K.EMBEDDING, "CHAIN": K.CHAIN, "RETRIEVER": K.RETRIEVER, "RERANKER": K.RERANKER,
    "TOOL": K.TOOL, "AGENT": K.AGENT, "GUARDRAIL": K.GUARDRAIL, "EVALUATOR": K.EVALUATOR, "PROMPT": K.PROMPT,
}  # fmt: skip
VERCEL = {
    "ai.generateText.doGenerate": K.LLM, "ai.streamText.doStream": K.LLM, "ai.generateObject.doGenerate": K.LLM,
    "ai.streamObject.doStream": K.LLM, "ai.embed.doEmbed": K.EMBEDDING, "ai.embedMany.doEmbed": K.EMBEDDING,
    "ai.toolCall": K.TOOL, "ai.generateText": K.CHAIN, "ai.streamText": K.CHAIN, "ai.embed": K.CHAIN,
}  # fmt: skip
LANGFUSE = {
    "span": K.SPAN, "generation": K.LLM, "event": K.SPAN, "embedding": K.EMBEDDING, "agent": K.AGENT, "tool": K.TOOL,
    "chain": K.CHAIN, "retriever": K.RETRIEVER, "guardrail": K.GUARDRAIL, "evaluator": K.EVALUATOR,
}  # fmt: skip
USAGE: Final = "langfuse.observation.usage_details"
COSTS: Final = "langfuse.observation.cost_details"
METADATA: Final = "ai.response.providerMetadata"
FIRST_AT: Final = f'"{to_datetime(START_NS + 250_000_000).isoformat()}"'


def usage(**counts: int) -> Attributes:
    """Langfuse's usage details."""
    return {USAGE: json.dumps(counts)}


def provider(**said: Any) -> Attributes:
    """What the Vercel SDK passes on from a provider."""
    return {METADATA: json.dumps(said)}


KIND: Final = [
    *kinds("otel", "gen_ai.operation.name", **OPERATIONS),
    *kinds("openinference", "openinference.span.kind", **OPENINFERENCE),
    *kinds("traceloop", "traceloop.span.kind", workflow=K.WORKFLOW, task=K.CHAIN, agent=K.AGENT, tool=K.TOOL),
    *kinds("traceloop", "llm.request.type", completion=K.LLM, chat=K.LLM, rerank=K.RERANKER, embedding=K.EMBEDDING),
    *kinds("vercel", "ai.operationId", **VERCEL),
    *kinds("vercel", "operation.name", **{f"{name} my-function": kind for name, kind in VERCEL.items()}),
    *kinds("langfuse", "langfuse.observation.type", **LANGFUSE),
    *kinds("others", "genkit:metadata:subtype", model=K.LLM, tool=K.TOOL, retriever=K.RETRIEVER, embedder=K.EMBEDDING),
    *kinds("others", "gen_ai.tool.name", search=K.TOOL),
]
MODEL: Final = [
    *texts("provider", "otel", "gen_ai.provider.name", "gen_ai.system"),
    *texts("provider", "openinference", "llm.provider", "llm.system"),
    *texts("provider", "traceloop", "gen_ai.system"),
    *texts("provider", "vercel", "ai.model.provider"),
    *cells(
        "provider",
        "others",
        ({"gen_ai.system": "az.ai.openai"}, "azure.ai.openai"),
        ({"gen_ai.system": "gemini"}, "gcp.gemini"),
        ({"gen_ai.system": "vertex_ai"}, "gcp.vertex_ai"),
        ({"gen_ai.system": "xai"}, "x_ai"),
    ),
    *texts("model_request", "otel", "gen_ai.request.model"),
    *texts("model_request", "openinference", "llm.request.model_name"),
    *texts("model_request", "traceloop", "gen_ai.request.model"),
    *texts("model_request", "vercel", "ai.model.id"),
    *texts("model_request", "langfuse", "langfuse.observation.model.name"),
    *texts("model_response", "otel", "gen_ai.response.model"),
    *texts("model_response", "openinference", "llm.response.model_name", "llm.model_name", "embedding.model_name"),
    *texts("model_response", "openinference", "reranker.model_name"),
    *texts("model_response", "traceloop", "gen_ai.response.model"),
    *texts("model_response", "vercel", "gen_ai.response.model"),
    *texts("model_response", "langfuse", "langfuse.observation.model.name"),
    *texts("model_response", "others", "llm.response.model", "model"),
    *texts("response_id", "otel", "gen_ai.response.id"),
    *texts("response_id", "vercel", "ai.response.id"),
    *cells("finish_reasons", "otel", ({"gen_ai.response.finish_reasons": ["stop"]}, '["stop"]')),
    *texts("finish_reasons", "openinference", "llm.finish_reason"),
    *texts("finish_reasons", "traceloop", "gen_ai.response.finish_reason", "gen_ai.response.stop_reason"),
    *texts("finish_reasons", "vercel", "ai.response.finishReason"),
    *texts("finish_reasons", "others", "gen_ai.finishReason"),
]
TOKENS: Final = [
    *tokens("input_tokens", "otel", "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    *tokens("input_tokens", "openinference", "llm.token_count.prompt"),
    *tokens("input_tokens", "traceloop", "gen_ai.usage.prompt_tokens"),
    *tokens("input_tokens", "vercel", "ai.usage.promptTokens", "ai.usage.inputTokens"),
    *cells("input_tokens", "langfuse", (usage(input=7), 7), (usage(input=7, input_cached_tokens=90), 97)),
    *tokens("output_tokens", "otel", "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    *tokens("output_tokens", "openinference", "llm.token_count.completion"),
    *tokens("output_tokens", "traceloop", "gen_ai.usage.completion_tokens"),
    *tokens("output_tokens", "vercel", "ai.usage.completionTokens", "ai.usage.outputTokens"),
    *cells("output_tokens", "langfuse", (usage(output=7), 7)),
    *cells("total_tokens", "otel", ({"gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 2}, 7)),
    *tokens("total_tokens", "openinference", "llm.token_count.total"),
    *tokens("total_tokens", "traceloop", "gen_ai.usage.total_tokens", "llm.usage.total_tokens"),
    *tokens("total_tokens", "vercel", "ai.usage.tokens", "ai.usage.totalTokens"),
    *cells("total_tokens", "langfuse", (usage(total=7), 7)),
    *cells(
        "total_tokens",
        "others",
        ({"gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 2, "gen_ai.usage.total_tokens": 9}, 9),
    ),
    *tokens("cache_read_tokens", "otel", "gen_ai.usage.cache_read.input_tokens"),
    *tokens("cache_read_tokens", "openinference", "llm.token_count.prompt_details.cache_read"),
    *tokens("cache_read_tokens", "traceloop", "gen_ai.usage.cache_read_input_tokens"),
    *tokens("cache_read_tokens", "vercel", "ai.usage.cachedInputTokens"),
    *cells(
        "cache_read_tokens",
        "vercel",
        (provider(openai={"cachedPromptTokens": 7}), 7),
        (provider(anthropic={"usage": {"cache_read_input_tokens": 7}}), 7),
        (provider(bedrock={"usage": {"cacheReadInputTokens": 7}}), 7),
    ),
    *cells("cache_read_tokens", "langfuse", (usage(input_cached_tokens=7), 7)),
    *tokens("cache_read_tokens", "others", "gen_ai.usage.cache_read_tokens"),
    *tokens("cache_read_tokens", "others", "gen_ai.usage.details.cache_read_tokens"),
    *tokens("cache_read_tokens", "others", "gen_ai.usage.input_cached_tokens"),
    *tokens("cache_write_tokens", "otel", "gen_ai.usage.cache_creation.input_tokens"),
    *tokens("cache_write_tokens", "openinference", "llm.token_count.prompt_details.cache_write"),
    *tokens("cache_write_tokens", "traceloop", "gen_ai.usage.cache_creation_input_tokens"),
    *cells(
        "cache_write_tokens",
        "vercel",
        (provider(anthropic={"usage": {"cache_creation_input_tokens": 7}}), 7),
        (
            provider(
                anthropic={
                    "usage": {"cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 3}}
                }
            ),
            7,
        ),
    ),
    *cells("cache_write_tokens", "langfuse", (usage(input_cache_creation=7), 7)),
    *tokens("cache_write_tokens", "others", "gen_ai.usage.cache_write_tokens"),
    *tokens("reasoning_tokens", "otel", "gen_ai.usage.reasoning.output_tokens"),
    *tokens("reasoning_tokens", "openinference", "llm.token_count.completion_details.reasoning"),
    *tokens("reasoning_tokens", "traceloop", "gen_ai.usage.reasoning_tokens"),
    *tokens("reasoning_tokens", "vercel", "ai.usage.reasoningTokens"),
    *cells("reasoning_tokens", "langfuse", (usage(output_reasoning_tokens=7), 7)),
    *tokens("audio_input_tokens", "otel", "gen_ai.usage.audio.input_tokens"),
    *tokens("audio_output_tokens", "otel", "gen_ai.usage.audio.output_tokens"),
    *tokens("audio_input_tokens", "openinference", "llm.token_count.prompt_details.audio"),
    *tokens("audio_output_tokens", "openinference", "llm.token_count.completion_details.audio"),
    *cells("cost_reported_usd", "openinference", ({"llm.cost.total": 0.1}, Decimal("0.1"))),
    *cells(
        "cost_reported_usd", "openinference", ({"llm.cost.prompt": 0.1, "llm.cost.completion": 0.2}, Decimal("0.3"))
    ),
    *cells("cost_reported_usd", "langfuse", ({COSTS: '{"input":0.1,"output":0.2}'}, Decimal("0.3"))),
    *cells("cost_reported_usd", "langfuse", ({COSTS: '{"input":0.1,"total":0.2}'}, Decimal("0.2"))),
    *cells("cost_reported_usd", "others", ({"gen_ai.usage.cost": "0.000000001"}, Decimal("0.000000001"))),
    *cells("ttft_ms", "otel", ({"gen_ai.response.time_to_first_chunk": 0.25}, 250.0)),
    *cells(
        "ttft_ms", "vercel", ({"ai.response.msToFirstChunk": 250}, 250.0), ({"ai.stream.msToFirstChunk": 250}, 250.0)
    ),
    *cells(
        "ttft_ms",
        "langfuse",
        ({"langfuse.observation.completion_start_time": FIRST_AT}, pytest.approx(250.0, abs=0.001)),
    ),
]
SAID = '[{"role":"user","parts":[{"type":"text","content":"hi"}]}]'
REPLY = '[{"role":"assistant","parts":[{"type":"text","content":"hi"}]}]'
DOCUMENT: Final[Attributes] = {
    "retrieval.documents.0.document.id": "a",
    "retrieval.documents.0.document.content": "b",
    "retrieval.documents.0.document.score": 0.5,
    "retrieval.documents.0.document.metadata": '{"k":1}',
}
CONTENT: Final = [
    *texts("input", "otel", "gen_ai.input.messages", "gen_ai.tool.call.arguments", "gen_ai.prompt"),
    *texts("input", "openinference", "input.value", "llm.prompts"),
    *cells(
        "input",
        "openinference",
        ({"llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "hi"}, SAID),
    ),
    *cells("input", "otel", ({"gen_ai.system_instructions": "Be brief.", "gen_ai.input.messages": SAID}, SAID)),
    *texts("input", "traceloop", "traceloop.entity.input"),
    *cells("input", "traceloop", ({"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "hi"}, SAID)),
    *texts("input", "vercel", "ai.prompt", "ai.prompt.messages", "ai.toolCall.args"),
    *texts("input", "langfuse", "langfuse.observation.input", "langfuse.trace.input"),
    *texts("input", "others", "mlflow.spanInputs", "pydantic_ai.all_messages", "gcp.vertex.agent.llm_request"),
    *texts("input", "others", "gcp.vertex.agent.tool_call_args", "lk.user_input", "gen_ai.content.prompt"),
    *texts("output", "otel", "gen_ai.output.messages", "gen_ai.tool.call.result", "gen_ai.completion"),
    *texts("output", "openinference", "output.value"),
    *cells(
        "output",
        "openinference",
        ({"llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "hi"}, REPLY),
    ),
    *texts("output", "traceloop", "traceloop.entity.output"),
    *cells(
        "output", "traceloop", ({"gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "hi"}, REPLY)
    ),
    *texts("output", "vercel", "ai.response.text", "ai.response.object", "ai.response.toolCalls"),
    *texts("output", "vercel", "ai.result.text", "ai.result.object", "ai.result.toolCalls", "ai.toolCall.result"),
    *texts("output", "langfuse", "langfuse.observation.output", "langfuse.trace.output"),
    *texts("output", "others", "mlflow.spanOutputs", "gcp.vertex.agent.llm_response", "gcp.vertex.agent.tool_response"),
    *texts("output", "others", "lk.response.text", "gen_ai.content.completion"),
    *texts("documents", "otel", "gen_ai.retrieval.documents"),
    *cells("documents", "openinference", ({"retrieval.documents.0.document.id": "a"}, '[{"id":"a"}]')),
    *cells("documents", "openinference", (DOCUMENT, '[{"id":"a","content":"b","score":0.5,"metadata":{"k":1}}]')),
    *cells("documents", "openinference", ({"reranker.output_documents.0.document.content": "b"}, '[{"content":"b"}]')),
    *texts("query_text", "otel", "gen_ai.retrieval.query.text"),
    *texts("query_text", "openinference", "reranker.query"),
    *texts("query_text", "traceloop", "db.vector.query.text"),
    *texts("documents", "traceloop", "db.query.result"),
]
PROMPT = json.dumps({"name": "greeting", "version": 3, "type": "chat", "prompt": "..."})
WHO: Final = [
    *texts("session_id", "otel", "gen_ai.conversation.id"),
    *texts("session_id", "openinference", "session.id"),
    *texts("session_id", "traceloop", "traceloop.association.properties.session_id"),
    *texts("session_id", "vercel", "ai.telemetry.metadata.sessionId"),
    *texts("session_id", "langfuse", "langfuse.session.id", "session.id"),
    *texts("user_id", "otel", "enduser.id"),
    *texts("user_id", "openinference", "user.id"),
    *texts("user_id", "traceloop", "gen_ai.user", "llm.user", "traceloop.association.properties.user_id"),
    *texts("user_id", "vercel", "ai.telemetry.metadata.userId"),
    *texts("user_id", "langfuse", "langfuse.user.id", "user.id"),
    *texts("agent_name", "otel", "gen_ai.agent.name"),
    *texts("agent_id", "otel", "gen_ai.agent.id"),
    *texts("agent_version", "otel", "gen_ai.agent.version"),
    *texts("agent_name", "openinference", "agent.name", "graph.node.name"),
    *texts("agent_id", "openinference", "graph.node.id"),
    *cells("agent_name", "traceloop", ({"traceloop.span.kind": "agent", "traceloop.entity.name": "x"}, "x")),
    *texts("agent_version", "traceloop", "traceloop.entity.version"),
    *texts("agent_name", "vercel", "ai.telemetry.functionId"),
    *texts("workflow_name", "otel", "gen_ai.workflow.name"),
    *texts("workflow_name", "traceloop", "traceloop.workflow.name"),
    *texts("workflow_name", "langfuse", "langfuse.trace.name"),
    *texts("tool_name", "otel", "gen_ai.tool.name"),
    *texts("tool_call_id", "otel", "gen_ai.tool.call.id"),
    *texts("tool_name", "openinference", "tool.name", "tool_call.function.name"),
    *texts("tool_call_id", "openinference", "tool.id", "tool_call.id"),
    *texts("tool_name", "vercel", "ai.toolCall.name"),
    *texts("tool_call_id", "vercel", "ai.toolCall.id"),
    *texts("tool_name", "others", "mcp.tool.name"),
    *texts("prompt_name", "otel", "gen_ai.prompt.name"),
    *texts("prompt_version", "openinference", "llm.prompt_template.version"),
    *texts("prompt_name", "openinference", "prompt.id"),
    *texts("prompt_name", "traceloop", "traceloop.prompt.key"),
    *texts("prompt_version", "traceloop", "traceloop.prompt.version"),
    *cells("prompt_name", "vercel", ({"ai.telemetry.metadata.langfusePrompt": PROMPT}, "greeting")),
    *cells("prompt_version", "vercel", ({"ai.telemetry.metadata.langfusePrompt": PROMPT}, "3")),
    *texts("prompt_name", "langfuse", "langfuse.observation.prompt.name"),
    *texts("prompt_version", "langfuse", "langfuse.observation.prompt.version"),
    *texts("environment", "otel", "deployment.environment.name"),
    *texts("environment", "langfuse", "langfuse.environment"),
    *texts("release", "langfuse", "langfuse.release"),
    *texts("tags", "openinference", "tag.tags"),
    *texts("tags", "langfuse", "langfuse.trace.tags"),
    *texts("metadata", "openinference", "metadata"),
    *texts("metadata", "langfuse", "langfuse.trace.metadata"),
    *texts("error_type", "otel", "error.type"),
    *texts("error_type", "openinference", "exception.type"),
    *texts("level", "langfuse", "langfuse.observation.level"),
]
# Cells without a column of their own: the attribute is kept, and the API shows it.
KEPT: Final = [
    "gen_ai.tool.description", "tool.description", "gen_ai.tool.definitions", "llm.tools.0.tool.json_schema",
    "llm.request.functions", "ai.prompt.tools", "gen_ai.request.temperature", "llm.invocation_parameters",
    "llm.top_k", "ai.settings.maxRetries", "langfuse.observation.model.parameters", "llm.prompt_template.template",
    "llm.prompt_template.variables", "prompt.vendor", "traceloop.prompt.template", "traceloop.entity.path",
    "graph.node.parent_id", "annotations.0.annotation.name", "langfuse.experiment.id", "langfuse.trace.public",
    "tool.parameters", "tool.json_schema", "tool_call.function.arguments", "reranker.input_documents", "reranker.top_k",
    "db.query.result.id", "db.vector.query.top_k", "prompt.url", "traceloop.prompt.version_hash",
    "traceloop.prompt.template_variables", "exception.message", "gen_ai.tool.type", "gen_ai.system_instructions",
    "traceloop.association.properties.tier", "ai.telemetry.metadata.tier", "langfuse.version", "gcp.vertex.agent.x",
]  # fmt: skip


def name_of(cell: Cell) -> str:
    """For the report."""
    column, dialect, attributes, _ = cell
    value = next(iter(attributes.values()))
    said = f"={value}" if column == "kind" else ""
    return f"{column}-{dialect}-{next(iter(attributes))}{said}"


@pytest.mark.parametrize("cell", [*KIND, *MODEL, *TOKENS, *CONTENT, *WHO], ids=name_of)
def test_cell(cell: Cell) -> None:
    column, _, attributes, expected = cell
    found = decoded(attributes)
    assert found[column] == expected
    moved = dict(line.split("=") for line in (found["moved_attributes"] or "").splitlines())
    assert {key for key, _ in found["attributes"]} | set(moved) == set(attributes), "an original is lost"


@pytest.mark.parametrize("key", KEPT)
def test_cell_without_a_column_is_kept(key: str) -> None:
    found = decoded({key: "what was said"})
    assert found["attributes"] == [(key, "what was said")]
    columns = {name: value for name, value in found.items() if name != "attributes"}
    assert "what was said" not in str(columns)


FIVE: Final = "otel openinference traceloop vercel langfuse"
SIX: Final = f"{FIVE} others"
# The cells of the table that fill a column: column -> the dialects that have one. KEPT has those that fill none.
TABLE: Final = {
    "kind": SIX, "provider": "otel openinference traceloop vercel others", "model_request": FIVE, "model_response": SIX,
    "response_id": "otel vercel", "finish_reasons": "otel openinference traceloop vercel others",
    "input_tokens": FIVE, "output_tokens": FIVE, "total_tokens": SIX, "cache_read_tokens": SIX,
    "cache_write_tokens": SIX, "reasoning_tokens": FIVE, "audio_input_tokens": "otel openinference",
    "audio_output_tokens": "otel openinference",
    "cost_reported_usd": "openinference langfuse others", "input": SIX, "output": SIX, "session_id": FIVE,
    "user_id": FIVE, "agent_name": "otel openinference traceloop vercel", "agent_id": "otel openinference",
    "agent_version": "otel traceloop", "workflow_name": "otel traceloop langfuse",
    "tool_name": "otel openinference vercel others", "tool_call_id": "otel openinference vercel",
    "documents": "otel openinference traceloop", "query_text": "otel openinference traceloop",
    "ttft_ms": "otel vercel langfuse", "prompt_name": FIVE, "prompt_version": "openinference traceloop vercel langfuse",
    "environment": "otel langfuse", "release": "langfuse", "tags": "openinference langfuse",
    "metadata": "openinference langfuse", "error_type": "otel openinference", "level": "langfuse",
}  # fmt: skip


def test_every_cell_of_the_table_has_a_line() -> None:
    lines = {(column, dialect) for column, dialect, _, _ in [*KIND, *MODEL, *TOKENS, *CONTENT, *WHO]}
    assert lines == {(column, dialect) for column, names in TABLE.items() for dialect in names.split()}


@pytest.mark.parametrize("column", [*dialects.TEXT, *dialects.TOKENS])
def test_every_column_is_in_the_table(column: str) -> None:
    known = {cell[0] for cell in [*MODEL, *TOKENS, *CONTENT, *WHO]}
    assert column in known | {"app", "variant"}, "a column that only Assay has, or a cell without a line"


def test_texts_of_the_completions_api_are_messages() -> None:
    prompts = {"llm.prompts.0.prompt.text": "Why?", "llm.prompts.1.prompt.text": "And?"}
    found = decoded({**prompts, "llm.choices.0.completion.text": "Because."})
    asked, more = json.loads(found["input"])
    assert asked == {"role": "user", "parts": [{"type": "text", "content": "Why?"}]}
    assert more["parts"] == [{"type": "text", "content": "And?"}]
    assert json.loads(found["output"]) == [{"role": "assistant", "parts": [{"type": "text", "content": "Because."}]}]
    assert len(found["attributes"]) == 3, "an original is lost"
    chat = decoded({**prompts, "llm.input_messages.0.message.content": "in chat"})
    assert json.loads(chat["input"])[0]["parts"][0]["content"] == "in chat"


def test_status_message_of_langfuse_stands_in_for_none() -> None:
    said = {"langfuse.observation.status_message": "rate limited"}
    assert decoded(said)["status_message"] == "rate limited"
    assert dict(decoded(said)["attributes"]) == said
    body = traces(span(said, status=Status(code=Status.STATUS_CODE_ERROR, message="timed out"))).SerializeToString()
    (row,) = decode([(1, body)], tenant="t", ingested_at_us=NOW_US).rows.to_pylist()
    assert row["status_message"] == "timed out"


def test_annotations_of_openinference_are_scores() -> None:
    said: Attributes = {
        "session.id": "s-1",
        "annotations.0.annotation.name": "tone",
        "annotations.0.annotation.score": 0.75,
        "annotations.0.annotation.label": "kind",
        "annotations.0.annotation.annotator_kind": "HUMAN",
        "evaluations.0.evaluation.name": "facts",
        "evaluations.0.evaluation.score": "NaN",
        "trace.annotations.0.annotation.name": "solved",
        "trace.annotations.0.annotation.label": "yes",
        "trace.annotations.0.annotation.explanation": "wrote to jane@example.org",
        "session.annotations.3.annotation.name": "mood",
        "session.annotations.3.annotation.score": 1,
        "annotations.1.annotation.score": 1,  # of nobody: no score, and still among the attributes
    }
    item = Item(
        seq=1,
        kind=EntryKind.SPANS_PROTOBUF,
        tenant=tenant_id("t"),
        received_at_us=NOW_US,
        body=traces(span(said), span(), span(said)).SerializeToString(),
    )
    shop = Workshop(redactor=lambda _: Redactor(PiiPolicy(), b"key"), seal=lambda _, raw: raw)
    rows = rows_of([item], shop)
    scores = rows.table("scores").to_pylist()
    assert len({row["score_id"] for row in scores}) == len(scores) // 2 == 4, "the same said twice is the same score"
    found = {row["evaluator"]: row for row in scores}
    targets = {name: (row["target"], row["trace_id"] is None, row["span_id"] is None) for name, row in found.items()}
    assert targets == {
        "tone": ("span", False, False),
        "facts": ("span", False, False),
        "solved": ("turn", False, True),
        "mood": ("session", True, True),
    }
    assert (found["tone"]["value"], found["tone"]["label"]) == (0.75, "kind")
    assert json.loads(found["tone"]["metadata"]) == {"annotation.annotator_kind": "HUMAN"}
    assert (found["facts"]["value"], found["facts"]["unscored"]) == (None, "the score 'NaN' is not a finite number")
    assert (found["solved"]["label"], found["solved"]["explanation"]) == ("yes", "wrote to [EMAIL]")
    assert (found["mood"]["value"], found["mood"]["session_id"]) == (1.0, "s-1")
    assert len(rows.table("spans").to_pylist()[0]["attributes"]) == len(said)


# -- what the peers learned --------------------------------------------------------------------------------------------


def test_lesson_a_only_model_spans_count_tokens_and_cost() -> None:
    said = {"gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 2, "gen_ai.usage.cost": 0.1}
    for operation, counted in OPERATIONS.items():
        found = decoded({"gen_ai.operation.name": operation, **said})
        assert found["usage_counted"] is (counted in (K.LLM, K.EMBEDDING)), operation
        assert (found["input_tokens"], found["cost_reported_usd"]) == (5, Decimal("0.1")), "what was said is kept"
    assert decoded({"openinference.span.kind": "RERANKER", **said})["usage_counted"] is True
    assert decoded({"ai.operationId": "ai.generateText", **said})["usage_counted"] is False


def test_lesson_b_inclusive_and_exclusive_cache_counts_are_told_apart_and_the_raw_ones_kept() -> None:
    said = {"gen_ai.usage.input_tokens": 12, "gen_ai.usage.cache_read.input_tokens": 1000}
    exclusive = decoded(said, scope="opentelemetry.instrumentation.bedrock")
    assert (exclusive["input_tokens"], dict(exclusive["attributes"])["gen_ai.usage.input_tokens"]) == (1012, "12")
    assert decoded({**said, "gen_ai.usage.input_tokens": 1012})["input_tokens"] == 1012
    assert decoded(usage(input=100, input_cached_tokens=90, output=5, total=105))["input_tokens"] == 100
    assert decoded(usage(input=10, input_cached_tokens=90, output=5, total=105))["input_tokens"] == 100


@pytest.mark.parametrize("sent", [12, "12", 12.0, "12.0"])
@pytest.mark.parametrize("column", list(dialects.TOKENS))
def test_lesson_c_numbers_may_be_text_and_integers_doubles(column: str, sent: Any) -> None:
    for key in dialects.TOKENS[column]:
        assert decoded({key: sent})[column] == 12, key


def test_lesson_d_every_original_is_kept_beside_the_columns() -> None:
    everything: Attributes = {}
    for _, _, attributes, _ in [*MODEL, *TOKENS, *CONTENT, *WHO]:
        everything |= attributes
    found = decoded(everything)
    moved = dict(line.split("=") for line in (found["moved_attributes"] or "").splitlines())
    assert {key for key, _ in found["attributes"]} | set(moved) == set(everything)


@pytest.mark.parametrize("prefix", [family.prefix for family in dialects.FAMILIES])
@pytest.mark.parametrize("index", ["10000", "999999999", "00", "1e9", "18446744073709551616"])
def test_lesson_e_lists_are_unflattened_with_bounded_indices_only(prefix: str, index: str) -> None:
    found = decoded({f"{prefix}{index}.message.role": "user"})
    assert found["issues"] == "index_bounded"
    assert (found["input"], found["output"], found["documents"]) == (None, None, None)
    assert len(found["attributes"]) == 1


@pytest.mark.parametrize(
    ("explicit", "kind"),
    [
        ({"langfuse.observation.type": "tool"}, K.TOOL),
        ({"openinference.span.kind": "GUARDRAIL"}, K.GUARDRAIL),
        ({"gen_ai.operation.name": "retrieval"}, K.RETRIEVER),
        ({"traceloop.span.kind": "task"}, K.CHAIN),
        ({"ai.operationId": "ai.embed.doEmbed"}, K.EMBEDDING),
    ],
)
def test_lesson_f_what_is_said_outright_beats_what_could_be_guessed(explicit: Attributes, kind: SpanKind) -> None:
    guesses = {"gen_ai.request.model": "m", "langfuse.observation.model.name": "m"}
    assert decoded({**guesses, **explicit})["kind"] == kind
    assert decoded({**explicit, **guesses})["kind"] == kind
