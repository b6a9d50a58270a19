"""The spans of a turn: a root `invoke_agent`, a `chat` per agent message, an `execute_tool` per tool call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from server.importers import genai
from server.importers.genai import Value
from server.importers.messages import Message, ModelCall, Step, ToolCall, Turn

# The provider prefixes of LiteLLM model names that occur in the benchmarks -> gen_ai.provider.name.
PROVIDERS: Final[dict[str, str]] = {
    "azure": "azure.ai.openai",
    "ollama": "ollama",
    "ollama_chat": "ollama",
    "anthropic": "anthropic",
    "gemini": "gcp.gemini",
    "vertex_ai": "gcp.vertex_ai",
    "bedrock": "aws.bedrock",
    "openai": "openai",
    "xai": "x_ai",
    "deepseek": "deepseek",
    "openrouter": "openrouter",
}
_STATUS_CHARS: Final = 300


def user_attributes(turn: Turn) -> dict[str, Value]:
    """The user's part as `assay.user.*`; sums over a session's turns are exact."""
    user = turn.user
    return {
        "assay.user.cost_usd": math.fsum(user.costs_usd) if user.costs_usd else None,
        "assay.user.input_tokens": user.input_tokens or None,
        "assay.user.output_tokens": user.output_tokens or None,
        "assay.user.n_tool_calls": len(user.calls) or None,
        "assay.user.tool_calls": genai.json_text(list(user.calls)) if user.calls else None,
        "assay.user.closing_message": turn.closing,
    }


def spans_of(
    turn: Turn,
    *,
    namespace: tuple[str, ...],
    agent: str,
    agent_version: str,
    model: str,
    common: Mapping[str, Value],
    root: Mapping[str, Value],
    cut_short: str | None,
) -> list[Span]:
    """Root first, then the steps in order. `cut_short` names the error that ended the turn, if one did."""
    trace_id = genai.identifier(16, *namespace, str(turn.index), "trace")
    root_id = genai.identifier(8, *namespace, str(turn.index), "turn")
    top = genai.span(
        trace_id=trace_id,
        span_id=root_id,
        parent_id=None,
        name=f"invoke_agent {agent}",
        kind=genai.INTERNAL,
        start_ns=turn.start_ns,
        end_ns=turn.end_ns,
        values={
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": agent,
            "gen_ai.agent.version": agent_version,
            **common,
            "gen_ai.input.messages": _input(turn),
            "gen_ai.output.messages": _output(turn),
            "error.type": cut_short,
            **root,
        },
        error=f"the turn has no reply: {cut_short}" if cut_short else None,
    )
    return [top, *(_step(turn, step, namespace, trace_id, root_id, model, common) for step in turn.steps)]


def _step(
    turn: Turn,
    step: Step,
    namespace: tuple[str, ...],
    trace_id: bytes,
    root_id: bytes,
    model: str,
    common: Mapping[str, Value],
) -> Span:
    match step:
        case ModelCall():
            provider, name = provider_and_model(model)
            return genai.span(
                trace_id=trace_id,
                span_id=genai.identifier(8, *namespace, str(step.index), "chat"),
                parent_id=root_id,
                name=f"chat {name}",
                kind=genai.CLIENT,
                start_ns=step.start_ns,
                end_ns=step.message.at_ns,
                values=_chat_values(turn, step, provider, name, common),
            )
        case ToolCall():
            failed = step.result is not None and step.result.result is not None and step.result.result.is_error
            text = step.result.text if step.result else None
            return genai.span(
                trace_id=trace_id,
                span_id=genai.identifier(8, *namespace, str(step.index), "tool", str(step.position)),
                parent_id=root_id,
                name=f"execute_tool {step.call.name}",
                kind=genai.INTERNAL,
                start_ns=step.start_ns,
                end_ns=step.end_ns,
                values=_tool_values(step, common, failed),
                error=(text or "")[:_STATUS_CHARS] if failed else None,
            )


def _chat_values(
    turn: Turn, step: ModelCall, provider: str, model: str, common: Mapping[str, Value]
) -> dict[str, Value]:
    said = step.message
    unpriced = said.cost_usd == 0 and bool(said.input_tokens)
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
        "gen_ai.response.finish_reasons": [said.finish_reason] if said.finish_reason else None,
        "gen_ai.usage.input_tokens": said.input_tokens,
        "gen_ai.usage.output_tokens": said.output_tokens,
        "gen_ai.usage.cost": said.cost_usd if said.has_usage else None,
        **common,
        "gen_ai.input.messages": genai.messages(turn.history[: step.n_history]),
        "gen_ai.output.messages": genai.messages([assistant_message(said, said.finish_reason or "stop")]),
        "assay.cost_zero_in_source": True if unpriced else None,
        "assay.retries": genai.json_text(list(said.retries)) if said.retries else None,
    }


def _input(turn: Turn) -> str | None:
    texts = [genai.message("user", [genai.text_part(text)]) for text in turn.user.texts]
    return genai.messages(texts) if texts else None


def _output(turn: Turn) -> str | None:
    said = [step.message for step in turn.steps if isinstance(step, ModelCall) and step.message.text]
    if not said:
        return None
    parts = [genai.text_part(said[-1].text or "")]
    return genai.messages([genai.message("assistant", parts, said[-1].finish_reason or "stop")])


def provider_and_model(name: str) -> tuple[str, str]:
    """('azure.ai.openai', 'gpt-4o') for 'azure/gpt-4o'; a name without a known prefix is OpenAI's if it looks so."""
    prefix, slash, rest = name.partition("/")
    if slash and prefix in PROVIDERS:
        return PROVIDERS[prefix], rest
    if name.startswith(("gpt-", "ft:gpt-", "o1", "o3", "o4")):
        return "openai", name
    return ("anthropic" if name.startswith("claude") else "unknown"), name


def assistant_message(message: Message, finish_reason: str | None) -> str:
    """An agent's message with its reasoning, text and tool calls; a finish reason makes it an output message."""
    parts: list[dict[str, object]] = []
    if message.reasoning:
        parts.append({"type": "reasoning", "content": message.reasoning})
    if message.text:
        parts.append(genai.text_part(message.text))
    for call in message.calls:
        parts.append({"type": "tool_call", "id": call.id, "name": call.name, "arguments": genai.parsed(call.arguments)})
    return genai.message("assistant", parts, finish_reason)


def _tool_values(step: ToolCall, common: Mapping[str, Value], failed: bool) -> dict[str, Value]:
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": step.call.name,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": step.call.id,
        "gen_ai.tool.call.arguments": step.call.arguments,
        "gen_ai.tool.call.result": step.result.text if step.result else None,
        **common,
        "error.type": "tool_error" if failed else None,
        "assay.result_missing": True if step.result is None else None,
    }
