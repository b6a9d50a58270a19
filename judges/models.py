"""A judge's model behind pydantic-ai, and the three ways in which a structured verdict is asked for."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import httpx2
from pydantic_ai.direct import model_request
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from judges.prompt import SCHEMA_NAME, Prompt
from judges.reach import Access
from judges.records import JudgeSpec, ModelRef

_ABOUT: Final = "The verdict on the content, by the rubric."
_MOST_QUOTED: Final = 2_000  # characters of a reply that is asked to be repaired


class Mode(StrEnum):
    """How the answer's form is asked for: the API's JSON schema, a call of the one tool `verdict`, or words alone. The
    tool does nothing: it is the form of the answer."""

    NATIVE = "native"
    TOOL = "tool"
    TEXT = "text"


NEXT: Final = {Mode.NATIVE: Mode.TOOL, Mode.TOOL: Mode.TEXT}  # where a server refuses the first


def make_model(
    ref: ModelRef, access: Access, http: httpx2.AsyncClient, timeout_s: float, *, batches: bool = False
) -> Model:
    """A model on our HTTP client, without retries of its own. With `batches` OpenAI's is asked over its responses API,
    whose batches pydantic-ai speaks. Raises InvalidInput: no key, no such provider."""
    base_url, key = access.base_url(ref), access.key(ref)
    client: dict[str, Any] = {"http_client": http, "max_retries": 0, "timeout": timeout_s, "api_key": key}
    if ref.provider == "anthropic":
        from anthropic import AsyncAnthropic
        from pydantic_ai.models.anthropic import AnthropicModel
        from pydantic_ai.providers.anthropic import AnthropicProvider

        asked = AsyncAnthropic(base_url=base_url, **client)
        return AnthropicModel(ref.model, provider=AnthropicProvider(anthropic_client=asked))
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(openai_client=AsyncOpenAI(base_url=base_url, **client))
    return (OpenAIResponsesModel if batches else OpenAIChatModel)(ref.model, provider=provider)


def first_mode(model: Model) -> Mode:
    """The API's own schema where the model is known to take one, else the tool."""
    return Mode.NATIVE if model.profile.get("supports_json_schema_output", False) else Mode.TOOL


async def request(
    model: Model, spec: JudgeSpec, mode: Mode, messages: list[ModelMessage], prompt: Prompt, key: str | None = None
) -> ModelResponse:
    """One request, named by `key`. Raises what pydantic-ai does."""
    settings = settings_of(spec, model)
    if key is not None:
        settings["extra_headers"] = {"Idempotency-Key": key}
    return await model_request(
        model, messages, model_settings=settings, model_request_parameters=parameters_of(mode, prompt)
    )


def settings_of(spec: JudgeSpec, model: Model) -> ModelSettings:
    """What is asked of a model of a judge. One that always reasons takes no temperature and is asked to reason little:
    what it reasons is output that is paid for and counts against the limit."""
    if model.profile.get("thinking_always_enabled", False):
        return ModelSettings(max_tokens=spec.max_output_tokens, thinking="low")
    if model.profile.get("anthropic_disallows_sampling_settings", False):
        return ModelSettings(max_tokens=spec.max_output_tokens)
    return ModelSettings(temperature=spec.temperature, max_tokens=spec.max_output_tokens)


def opening(prompt: Prompt) -> list[ModelMessage]:
    """The first question."""
    return [ModelRequest(parts=[SystemPromptPart(prompt.instructions), UserPromptPart(prompt.text)])]


def repairing(prompt: Prompt, reply: str, question: str) -> list[ModelMessage]:
    """The one further question, behind the reply that could not be read."""
    said = ModelResponse(parts=[TextPart(reply.strip()[:_MOST_QUOTED] or "(nothing)")])
    return [*opening(prompt), said, ModelRequest(parts=[UserPromptPart(question)])]


def text_of(response: ModelResponse) -> str:
    """What a model said: the arguments of its calls of `verdict` where it made any, else its text or its refusal."""
    calls = [part for part in response.parts if isinstance(part, ToolCallPart) and part.tool_name == SCHEMA_NAME]
    if calls:
        return "\n".join(part.args_as_json_str() if part.args else "" for part in calls)
    return response.text or str((response.provider_details or {}).get("refusal", ""))


def parameters_of(mode: Mode, prompt: Prompt) -> ModelRequestParameters:
    """The form in which an answer is asked for."""
    match mode:
        case Mode.NATIVE:
            wanted = OutputObjectDefinition(
                json_schema=prompt.schema, name=SCHEMA_NAME, description=_ABOUT, strict=True
            )
            return ModelRequestParameters(output_mode="native", output_object=wanted)
        case Mode.TOOL:
            tool = ToolDefinition(
                name=SCHEMA_NAME, parameters_json_schema=prompt.schema, description=_ABOUT, kind="output"
            )
            return ModelRequestParameters(output_mode="tool", output_tools=[tool], allow_text_output=False)
        case Mode.TEXT:
            return ModelRequestParameters(output_mode="text")
