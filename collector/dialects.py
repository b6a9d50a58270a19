"""The six dialects of agent telemetry as one table: which attribute fills which column of `store.schema.SPANS`.

Dialects: OpenTelemetry GenAI (new and old names), OpenInference, OpenLLMetry (Traceloop), Vercel `ai.*`, Langfuse,
pydantic-ai and Logfire. This module is data: the compiled scanner, `collector.unflatten` and the reference
normaliser in the tests all read it. Adding a dialect costs a line per column here.

How the tables are read
-----------------------
* `TEXT[column]` lists attribute keys in order of priority; the first whose canonical text is not empty wins.
  A key that starts with `resource:` is looked up among the resource's attributes.
* A span that carries an indexed family (`FAMILIES`) or one of the `FLAG_KEYS` is *flagged*: `collector.unflatten.fill`
  then answers the columns that come from several attributes or from inside a JSON text, and they replace what
  `TEXT` and `TOKENS` gave. A flagged span moves nothing (see `MOVED`).
* Comparison of values (`KIND`, `PROVIDER_ALIASES`, `PRIORITY`) is on the value with ASCII letters lower-cased.
* An attribute whose key is in `NEVER` is stored like any other, and never fills a column or decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from core.records import SpanKind, TargetKind

RESOURCE: Final = "resource:"

TEXT: Final[dict[str, tuple[str, ...]]] = {
    "app": (
        "assay.app",
        "app.name",
        "resource:assay.app",
        "resource:openinference.project.name",
        "resource:service.name",
    ),
    "release": (
        "assay.release",
        "langfuse.release",
        "resource:assay.release",
        "resource:langfuse.release",
        "resource:service.version",
    ),
    "variant": (
        "assay.variant",
        "app.variant",
        "feature_flag.result.variant",
        "feature_flag.variant",
        "resource:assay.variant",
    ),
    "environment": (
        "assay.environment",
        "deployment.environment.name",
        "deployment.environment",
        "langfuse.environment",
        "resource:deployment.environment.name",
        "resource:deployment.environment",
        "resource:langfuse.environment",
    ),
    # session.id first: the gateway stamps it on every span through baggage, and it is what a release was assigned to;
    # a framework's own conversation id may be new for every run (pydantic-ai) or be on some spans only.
    "session_id": (
        "session.id",
        "langfuse.session.id",
        "gen_ai.conversation.id",
        "traceloop.association.properties.session_id",
        "ai.telemetry.metadata.sessionId",
        "ai.telemetry.metadata.session_id",
        "ai.settings.context.sessionId",  # Vercel AI SDK 7: the runtime context; on roots and steps only
        "ai.settings.context.session_id",
        "resource:session.id",
    ),
    "user_id": (
        "langfuse.user.id",
        "user.id",
        "enduser.id",
        "gen_ai.user",
        "llm.user",
        "traceloop.association.properties.user_id",
        "ai.telemetry.metadata.userId",
        "ai.telemetry.metadata.user_id",
        "ai.settings.context.userId",
        "ai.settings.context.user_id",
        "resource:user.id",
    ),
    "provider": (
        "gen_ai.provider.name",
        "gen_ai.system",
        "llm.provider",
        "llm.system",
        "ai.model.provider",
    ),
    "model_request": (
        "gen_ai.request.model",
        "llm.request.model_name",
        "llm.request.model",
        "ai.model.id",
        "langfuse.observation.model.name",
        "model_name",
    ),
    "model_response": (
        "gen_ai.response.model",
        "llm.response.model_name",
        "llm.response.model",
        "llm.model_name",
        "embedding.model_name",
        "reranker.model_name",
        "ai.response.model",
        "langfuse.observation.model.name",
        "model",
    ),
    "response_id": ("gen_ai.response.id", "llm.response.id", "ai.response.id", "response_id"),
    "finish_reasons": (
        "gen_ai.response.finish_reasons",
        "gen_ai.response.finish_reason",
        "gen_ai.response.stop_reason",
        "gen_ai.finishReason",
        "llm.finish_reason",
        "llm.response.finish_reason",
        "llm.response.stop_reason",
        "ai.response.finishReason",
        "ai.finishReason",
        "anthropic.message.stop_reason",  # the Anthropic SDK's own spans
    ),
    "agent_name": (
        "gen_ai.agent.name",
        "agent.name",
        "agent_name",
        "ai.telemetry.functionId",
        "graph.node.name",
    ),
    "agent_id": ("gen_ai.agent.id", "agent.id", "graph.node.id"),
    "agent_version": ("gen_ai.agent.version", "agent.version", "traceloop.entity.version"),
    "workflow_name": ("gen_ai.workflow.name", "traceloop.workflow.name", "langfuse.trace.name", "workflow_name"),
    "tool_name": (
        "gen_ai.tool.name",
        "tool.name",
        "ai.toolCall.name",
        "tool_call.function.name",
        "mcp.tool.name",
    ),
    "tool_call_id": ("gen_ai.tool.call.id", "tool_call.id", "ai.toolCall.id", "tool.id"),
    "prompt_name": (
        "gen_ai.prompt.name",
        "langfuse.observation.prompt.name",
        "traceloop.prompt.key",
        "prompt.id",
        "prompt.name",
        "ai.telemetry.metadata.langfusePrompt",
    ),
    "prompt_version": (
        "gen_ai.prompt.version",
        "langfuse.observation.prompt.version",
        "traceloop.prompt.version",
        "llm.prompt_template.version",
        "prompt.version",
    ),
    "query_text": (
        "gen_ai.retrieval.query.text",
        "gen_ai.memory.query.text",
        "reranker.query",
        "db.vector.query.text",
    ),
    "documents": (
        "gen_ai.retrieval.documents",
        "gen_ai.memory.records",
        "db.query.result",
    ),
    "tags": ("tag.tags", "langfuse.trace.tags", "langfuse.tags", "logfire.tags"),
    "metadata": ("metadata", "langfuse.observation.metadata", "langfuse.trace.metadata"),
    "error_type": ("error.type", "exception.type"),
    "level": ("langfuse.observation.level", "logfire.level_num"),
    "input": (
        "gen_ai.input.messages",
        "gen_ai.tool.call.arguments",
        "ai.prompt.messages",
        "ai.prompt",
        "ai.toolCall.args",
        "langfuse.observation.input",
        "pydantic_ai.all_messages",
        "all_messages_events",
        "tool_arguments",
        "traceloop.entity.input",
        "input.value",
        "ai.value",
        "ai.values",
        "llm.prompts",
        "gen_ai.prompt",
        "gen_ai.content.prompt",
        "mlflow.spanInputs",
        "gcp.vertex.agent.llm_request",
        "gcp.vertex.agent.tool_call_args",
        "lk.user_input",
        "lk.function_tool.arguments",
        "raw_input",
        "request_data",
        "langfuse.trace.input",
        "input",
    ),
    "output": (
        "gen_ai.output.messages",
        "gen_ai.tool.call.result",
        "ai.response.text",
        "ai.response.object",
        "ai.response.toolCalls",
        "ai.result.text",
        "ai.result.object",
        "ai.result.toolCalls",
        "ai.toolCall.result",
        "langfuse.observation.output",
        "final_result",
        "tool_response",
        "traceloop.entity.output",
        "output.value",
        "llm.completions",
        "gen_ai.completion",
        "gen_ai.content.completion",
        "mlflow.spanOutputs",
        "gcp.vertex.agent.llm_response",
        "gcp.vertex.agent.tool_response",
        "lk.response.text",
        "lk.function_tool.output",
        "response_data",
        "langfuse.trace.output",
        "output",
    ),
}

TOKENS: Final[dict[str, tuple[str, ...]]] = {
    "input_tokens": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.token_count.prompt",
        "ai.usage.inputTokens",
        "ai.usage.promptTokens",
        "ai.usage.tokens",
        "llm.usage.prompt_tokens",
    ),
    "output_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
        "ai.usage.outputTokens",
        "ai.usage.completionTokens",
        "llm.usage.completion_tokens",
    ),
    "total_tokens": (
        "gen_ai.usage.total_tokens",
        "llm.token_count.total",
        "llm.usage.total_tokens",
        "ai.usage.totalTokens",
        "ai.usage.tokens",
    ),
    "cache_read_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.cache_read_tokens",
        "gen_ai.usage.details.cache_read_tokens",
        "gen_ai.usage.details.cache_read_input_tokens",
        "gen_ai.usage.input_cached_tokens",
        "llm.token_count.prompt_details.cache_read",
        "ai.usage.cachedInputTokens",
        "ai.usage.inputTokenDetails.cacheReadTokens",
    ),
    "cache_write_tokens": (
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_write_tokens",
        "gen_ai.usage.details.cache_write_tokens",
        "gen_ai.usage.details.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write",
        "ai.usage.inputTokenDetails.cacheWriteTokens",
    ),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "gen_ai.usage.details.reasoning_tokens",
        "llm.token_count.completion_details.reasoning",
        "ai.usage.reasoningTokens",
        "ai.usage.outputTokenDetails.reasoningTokens",
    ),
    "audio_input_tokens": (
        "gen_ai.usage.audio.input_tokens",
        "gen_ai.usage.details.input_audio_tokens",
        "llm.token_count.prompt_details.audio",
    ),
    "audio_output_tokens": (
        "gen_ai.usage.audio.output_tokens",
        "gen_ai.usage.details.output_audio_tokens",
        "llm.token_count.completion_details.audio",
    ),
}

COST: Final[tuple[str, ...]] = ("gen_ai.usage.cost", "llm.cost.total", "gen_ai.usage.total_cost", "operation.cost")

# Time to the first token or chunk: key and the factor that makes it milliseconds.
TTFT: Final[tuple[tuple[str, float], ...]] = (
    ("gen_ai.response.time_to_first_chunk", 1000.0),
    ("gen_ai.client.operation.time_to_first_chunk", 1000.0),  # Vercel AI SDK 7
    ("gen_ai.server.time_to_first_token", 1000.0),
    ("ai.response.msToFirstChunk", 1.0),
    ("ai.stream.msToFirstChunk", 1.0),
)


@dataclass(frozen=True, kw_only=True)
class KindRule:
    """One way to know a span's kind from attribute `key`: by its exact value, by the start of its value, or because
    it is there at all with a text that is not empty. Tried in that order; no answer means the next rule."""

    key: str
    exact: Mapping[str, SpanKind] = field(default_factory=dict)
    prefixes: tuple[tuple[str, SpanKind], ...] = ()
    present: SpanKind | None = None


# Order: what a person or vendor SDK said outright, then operations, then what can be guessed from other attributes
# ("explicit vendor attribute beats heuristic"). No rule matching means SpanKind.SPAN.
KIND: Final[tuple[KindRule, ...]] = (
    # A copy Logfire sends when a span starts, so that it shows early: it must not count as a second model call.
    KindRule(key="logfire.span_type", exact={"pending_span": SpanKind.SPAN}),
    KindRule(
        key="langfuse.observation.type",
        exact={
            "generation": SpanKind.LLM,
            "embedding": SpanKind.EMBEDDING,
            "agent": SpanKind.AGENT,
            "tool": SpanKind.TOOL,
            "chain": SpanKind.CHAIN,
            "retriever": SpanKind.RETRIEVER,
            "guardrail": SpanKind.GUARDRAIL,
            "evaluator": SpanKind.EVALUATOR,
        },
    ),
    KindRule(
        key="openinference.span.kind",
        exact={
            "llm": SpanKind.LLM,
            "embedding": SpanKind.EMBEDDING,
            "chain": SpanKind.CHAIN,
            "retriever": SpanKind.RETRIEVER,
            "reranker": SpanKind.RERANKER,
            "tool": SpanKind.TOOL,
            "agent": SpanKind.AGENT,
            "guardrail": SpanKind.GUARDRAIL,
            "evaluator": SpanKind.EVALUATOR,
            "prompt": SpanKind.PROMPT,
        },
    ),
    KindRule(
        key="gen_ai.operation.name",
        exact={
            "chat": SpanKind.LLM,
            "text_completion": SpanKind.LLM,
            "generate_content": SpanKind.LLM,
            "image_generation": SpanKind.LLM,
            "embeddings": SpanKind.EMBEDDING,
            "retrieval": SpanKind.RETRIEVER,
            "execute_tool": SpanKind.TOOL,
            "execute_task": SpanKind.CHAIN,  # OpenLLMetry's LangGraph nodes
            "agent_step": SpanKind.CHAIN,  # Vercel AI SDK 7
            "create_agent": SpanKind.AGENT,
            "invoke_agent": SpanKind.AGENT,
            "invoke_workflow": SpanKind.WORKFLOW,
            "plan": SpanKind.PLAN,
            "search_memory": SpanKind.MEMORY,
            "create_memory": SpanKind.MEMORY,
            "update_memory": SpanKind.MEMORY,
            "upsert_memory": SpanKind.MEMORY,
            "delete_memory": SpanKind.MEMORY,
            "create_memory_store": SpanKind.MEMORY,
            "delete_memory_store": SpanKind.MEMORY,
        },
    ),
    KindRule(
        key="traceloop.span.kind",
        exact={
            "workflow": SpanKind.WORKFLOW,
            "task": SpanKind.CHAIN,
            "agent": SpanKind.AGENT,
            "tool": SpanKind.TOOL,
        },
    ),
    KindRule(
        key="llm.request.type",
        exact={
            "chat": SpanKind.LLM,
            "completion": SpanKind.LLM,
            "rerank": SpanKind.RERANKER,
            "embedding": SpanKind.EMBEDDING,
        },
    ),
    KindRule(
        key="ai.operationId",
        exact={
            "ai.generatetext.dogenerate": SpanKind.LLM,
            "ai.streamtext.dostream": SpanKind.LLM,
            "ai.generateobject.dogenerate": SpanKind.LLM,
            "ai.streamobject.dostream": SpanKind.LLM,
            "ai.embed.doembed": SpanKind.EMBEDDING,
            "ai.embedmany.doembed": SpanKind.EMBEDDING,
            "ai.rerank.dorerank": SpanKind.RERANKER,
            "ai.toolcall": SpanKind.TOOL,
        },
        prefixes=(("ai.", SpanKind.CHAIN),),
    ),
    KindRule(
        key="operation.name",  # "ai.generateText.doGenerate <functionId>"
        prefixes=(
            ("ai.generatetext.dogenerate", SpanKind.LLM),
            ("ai.streamtext.dostream", SpanKind.LLM),
            ("ai.generateobject.dogenerate", SpanKind.LLM),
            ("ai.streamobject.dostream", SpanKind.LLM),
            ("ai.embed.doembed", SpanKind.EMBEDDING),
            ("ai.embedmany.doembed", SpanKind.EMBEDDING),
            ("ai.rerank.dorerank", SpanKind.RERANKER),
            ("ai.toolcall", SpanKind.TOOL),
            ("ai.", SpanKind.CHAIN),
        ),
    ),
    KindRule(
        key="logfire.msg_template",  # the OpenAI Agents SDK under Logfire says its span types here only
        exact={
            "agent run: {name!r}": SpanKind.AGENT,
            "function: {name}": SpanKind.TOOL,
            "guardrail {name!r} {triggered=}": SpanKind.GUARDRAIL,
            "openai agents trace: {name}": SpanKind.WORKFLOW,
            "chat completion with {gen_ai.request.model!r}": SpanKind.LLM,
        },
    ),
    KindRule(
        key="genkit:metadata:subtype",
        exact={
            "model": SpanKind.LLM,
            "embedder": SpanKind.EMBEDDING,
            "retriever": SpanKind.RETRIEVER,
            "reranker": SpanKind.RERANKER,
            "tool": SpanKind.TOOL,
            "evaluator": SpanKind.EVALUATOR,
            "flow": SpanKind.WORKFLOW,
        },
    ),
    KindRule(key="gen_ai.evaluation.name", present=SpanKind.EVALUATOR),
    KindRule(key="gen_ai.tool.name", present=SpanKind.TOOL),
    KindRule(key="langfuse.observation.model.name", present=SpanKind.LLM),
    KindRule(key="gen_ai.request.model", present=SpanKind.LLM),
)

# Columns that hold the winning attribute whole. When the winner is a span attribute (not a resource's) with a string
# value and the span is not flagged, the attribute leaves the stored map and `moved_attributes` says so.
MOVED: Final[frozenset[str]] = frozenset({"input", "output", "documents", "query_text"})


@dataclass(frozen=True, kw_only=True)
class Family:
    """Attributes `prefix` + index + rest, e.g. `llm.input_messages.0.message.role`, which together fill `column`.

    A digit must follow the prefix (`gen_ai.prompt.name` is not of a family). An empty `column` means the family is
    bounded and kept among the attributes, and fills nothing. Among families of one column the first listed wins.
    """

    prefix: str
    column: str


# OpenInference's annotations, which become scores of the span, its trace or its session.
ANNOTATIONS: Final[dict[str, TargetKind]] = {
    "annotations.": TargetKind.SPAN,
    "evaluations.": TargetKind.SPAN,
    "trace.annotations.": TargetKind.TURN,
    "session.annotations.": TargetKind.SESSION,
}

FAMILIES: Final[tuple[Family, ...]] = (
    Family(prefix="llm.input_messages.", column="input"),
    Family(prefix="gen_ai.prompt.", column="input"),
    Family(prefix="llm.prompts.", column="input"),  # OpenInference: texts of the completions API
    Family(prefix="llm.output_messages.", column="output"),
    Family(prefix="gen_ai.completion.", column="output"),
    Family(prefix="llm.choices.", column="output"),
    Family(prefix="retrieval.documents.", column="documents"),
    Family(prefix="reranker.output_documents.", column="documents"),
    Family(prefix="llm.tools.", column=""),
    Family(prefix="embedding.embeddings.", column=""),
    *(Family(prefix=prefix, column="") for prefix in ANNOTATIONS),
)
MAX_INDEX: Final = 9_999  # an index above it is not followed: the attribute stays as it is, issue `index_bounded`
MAX_ATTRIBUTES: Final = 1_024  # of one span; those after are counted as dropped, issue `attributes_truncated`
MAX_INDICES: Final = 1_024  # distinct indices of one family in one span that are followed

# Beside the families, keys whose meaning is inside a JSON text or depends on another attribute.
FLAG_KEYS: Final[frozenset[str]] = frozenset(
    {
        "traceloop.entity.name",  # names the agent, tool or workflow, as traceloop.span.kind says
        "langfuse.observation.usage_details",
        "langfuse.observation.cost_details",
        "langfuse.observation.completion_start_time",
        "langfuse.observation.status_message",  # where the span's status has none
        "ai.response.providerMetadata",
        "ai.telemetry.metadata.langfusePrompt",  # a prompt as JSON: its name and version
        "llm.cost.prompt",  # added to llm.cost.completion where there is no total
        "llm.cost.completion",
        "ai.prompt",  # Vercel: {"system", "prompt"} or {"system", "messages"}
        "ai.prompt.messages",
        "pydantic_ai.new_message_index",  # where this turn starts in pydantic_ai.all_messages
        "events",  # Logfire: old GenAI events as one JSON attribute
        "name",  # Logfire: names the tool or agent, as logfire.msg_template says
    }
)
# Keys of TEXT["input"] and TEXT["output"] that win over a family; those listed after them give way to it.
BEFORE_FAMILIES: Final[frozenset[str]] = frozenset(
    {
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "gen_ai.retrieval.documents",
    }
)

# Never honoured: a sender must not choose who sees a trace (CVE-class exposure at peers), nor its tenant.
NEVER: Final[frozenset[str]] = frozenset(
    {
        "langfuse.trace.public",
        "langfuse.public",
        "tenant",
        "tenant.id",
        "tenant_id",
        "assay.tenant",
        "assay.tenant_id",
        "service.namespace",
    }
)


@dataclass(frozen=True, kw_only=True)
class Priority:
    """An attribute that marks a span which backpressure never sheds; `values` empty means any value does."""

    key: str
    values: frozenset[str] = frozenset()


PRIORITY_KEYS: Final[tuple[Priority, ...]] = (
    Priority(key="openinference.span.kind", values=frozenset({"guardrail", "evaluator"})),
    Priority(key="langfuse.observation.type", values=frozenset({"guardrail", "evaluator"})),
    Priority(key="logfire.msg_template", values=frozenset({"guardrail {name!r} {triggered=}"})),
    Priority(key="gen_ai.evaluation.name"),
    Priority(key="aws.bedrock.guardrail.id"),
    Priority(key="genkit:metadata:subtype", values=frozenset({"evaluator"})),
)
PRIORITY_EVENTS: Final[frozenset[str]] = frozenset({"gen_ai.evaluation.result"})

# Lower-cased provider as sent -> the name of the GenAI conventions. Anything else is kept as it is.
PROVIDER_ALIASES: Final[dict[str, str]] = {
    "openai": "openai",
    "openai.responses": "openai",
    "openai.chat": "openai",
    "openai.completion": "openai",
    "openai.embedding": "openai",
    "anthropic": "anthropic",
    "anthropic.messages": "anthropic",
    "az.ai.openai": "azure.ai.openai",
    "az.ai.inference": "azure.ai.inference",
    "azure": "azure.ai.openai",
    "azure_openai": "azure.ai.openai",
    "azure-openai.chat": "azure.ai.openai",
    "azure.chat": "azure.ai.openai",
    "azure.responses": "azure.ai.openai",
    "aws": "aws.bedrock",
    "bedrock": "aws.bedrock",
    "amazon-bedrock": "aws.bedrock",
    "aws_bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google.generative-ai": "gcp.gemini",
    "vertex_ai": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "google.vertex.chat": "gcp.vertex_ai",
    "xai": "x_ai",
    "xai.chat": "x_ai",
    "xai.responses": "x_ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "mistral.chat": "mistral_ai",
    "cohere.chat": "cohere",
    "groq.chat": "groq",
    "deepseek.chat": "deepseek",
    "watsonx": "ibm.watsonx.ai",
}


@dataclass(frozen=True, kw_only=True)
class CacheRule:
    """An instrumentation whose input tokens exclude those read from or written to a cache.

    `scope` is the instrumentation scope's name; `providers` (normalised) empty means every provider."""

    scope: str
    providers: frozenset[str] = frozenset()


# Input tokens are stored inclusive (GenAI conventions). Where a rule matches, cache_read + cache_write are added once;
# the raw numbers stay among the attributes. Langfuse usage details and Vercel's Anthropic metadata say it themselves
# and are settled in collector/unflatten.py.
EXCLUSIVE_CACHE: Final[tuple[CacheRule, ...]] = (
    CacheRule(scope="opentelemetry.instrumentation.bedrock"),  # traceloop/openllmetry issue 4449
)
