"""One model's requests through pydantic-ai: the form of the answer, tries again, and replies read up to a limit."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import httpx2
from pydantic_ai.direct import model_request
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelAuthenticationError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelQuotaExceededError,
)
from pydantic_ai.messages import ModelRequest, ModelResponse, SystemPromptPart, ToolCallPart, UserPromptPart
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from clustering.model import ModelAccess, Question

_ANSWER: Final = "answer"  # the name of the schema, and of the tool that is its form
_ABOUT: Final = "The answer."
_MOST_TOKENS: Final = 400
_MOST_SAID: Final = 200
_LONGEST_PAUSE_S: Final = 30.0
_AGAIN: Final = frozenset({408, 409, 425, 429, 529})
_LIKE_A_KEY: Final = re.compile(r"\b(?:sk|pk|api|key)[-_][\w*.-]{8,}", re.IGNORECASE)


class Form(StrEnum):
    """How the answer's form is asked for: the API's JSON schema, a call of the one tool, or words alone."""

    NATIVE = "native"
    TOOL = "tool"
    TEXT = "text"


_NEXT: Final = {Form.NATIVE: Form.TOOL, Form.TOOL: Form.TEXT}  # where a server refuses the first
_NAMED_IN_REFUSAL: Final = {
    Form.NATIVE: ("response_format", "json_schema", "output_config", "output_format", "structured output", "schema"),
    Form.TOOL: ("tool", "function"),
}


@dataclass(frozen=True, kw_only=True)
class Said:
    """What came of one question: a reply, or why none; `final` where no other question would fare better."""

    reply: str | None = None
    cost_usd: float | None = None
    failed: str | None = None
    final: bool = False


@dataclass(kw_only=True)
class Line:
    """A model with the form in which its server takes a structured answer."""

    access: ModelAccess
    model: Model
    form: Form

    async def ask(self, question: Question) -> Said:
        """Asks until there is a reply or no hope of one."""
        n_tried = 0
        while True:
            form = self.form
            try:
                async with asyncio.timeout(self.access.timeout_s):
                    return _said(await self._once(question, form))
            except Exception as error:  # SDKs let errors of their own parsers through
                if _refuses(error, form):
                    self.form = _NEXT[form] if self.form is form else self.form
                    continue
                final = isinstance(error, ModelAuthenticationError | ModelNotFoundError | ModelQuotaExceededError)
                pause_s = None if final or n_tried >= len(self.access.pauses_s) else self._pause_s(error, n_tried)
                if pause_s is None:
                    return Said(failed=f"the model could not be asked: {plainly(error, self.access.key)}", final=final)
            n_tried += 1
            await asyncio.sleep(pause_s)

    async def _once(self, question: Question, form: Form) -> ModelResponse:
        messages = [ModelRequest(parts=[SystemPromptPart(question.instructions), UserPromptPart(question.text)])]
        return await model_request(
            self.model,
            messages,
            model_settings=_settings(self.model),
            model_request_parameters=_parameters(form, dict(question.schema)),
        )

    def _pause_s(self, error: Exception, n_tried: int) -> float | None:
        """Seconds before the next try; None where none is worth it."""
        if isinstance(error, ModelHTTPError) and error.status_code not in _AGAIN and error.status_code < 500:
            return None
        asked_s = error.retry_after if isinstance(error, ModelAPIError) else None
        if asked_s is not None and asked_s > _LONGEST_PAUSE_S:
            return None
        return max(asked_s or 0.0, self.access.pauses_s[n_tried])


@asynccontextmanager
async def opened(access: ModelAccess, most_reply: int) -> AsyncIterator[Line]:
    """A line to a model for as long as the block lasts. Follows no redirect, asks for no compression and stops reading
    a reply after `most_reply` bytes."""

    async def cap(response: httpx2.Response) -> None:
        if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise ValueError("the reply is compressed, which was not asked for")
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Capped(response.stream, most_reply)

    async with httpx2.AsyncClient(
        timeout=httpx2.Timeout(access.timeout_s, connect=5.0),
        limits=httpx2.Limits(max_connections=access.concurrency),
        headers={"accept-encoding": "identity"},
        follow_redirects=False,
        event_hooks={"response": [cap]},
    ) as http:
        model = _model(access, http)
        native = model.profile.get("supports_json_schema_output", False)
        yield Line(access=access, model=model, form=Form.NATIVE if native else Form.TOOL)


def plainly(error: Exception, key: str) -> str:
    """An error on one line, cut, without the key and what looks like one: servers quote requests in their errors."""
    said = f"{type(error).__name__}: {error}"
    said = said.replace(key, "[KEY]") if len(key) >= 8 else said
    return " ".join(_LIKE_A_KEY.sub("[KEY]", said).split())[:_MOST_SAID]


def _model(access: ModelAccess, http: httpx2.AsyncClient) -> Model:
    client: dict[str, Any] = {"http_client": http, "max_retries": 0, "timeout": access.timeout_s, "api_key": access.key}
    if access.provider == "anthropic":
        from anthropic import AsyncAnthropic
        from pydantic_ai.models.anthropic import AnthropicModel
        from pydantic_ai.providers.anthropic import AnthropicProvider

        asked = AsyncAnthropic(base_url=access.url, **client)
        return AnthropicModel(access.name, provider=AnthropicProvider(anthropic_client=asked))
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(openai_client=AsyncOpenAI(base_url=access.url, **client))
    return OpenAIChatModel(access.name, provider=provider)


def _settings(model: Model) -> ModelSettings:
    """A model that always reasons takes no temperature, is asked to reason little and is given room for it."""
    if model.profile.get("thinking_always_enabled", False):
        return ModelSettings(max_tokens=8 * _MOST_TOKENS, thinking="low")
    if model.profile.get("anthropic_disallows_sampling_settings", False):
        return ModelSettings(max_tokens=_MOST_TOKENS)
    return ModelSettings(temperature=0.0, max_tokens=_MOST_TOKENS)


def _parameters(form: Form, schema: dict[str, Any]) -> ModelRequestParameters:
    match form:
        case Form.NATIVE:
            wanted = OutputObjectDefinition(json_schema=schema, name=_ANSWER, description=_ABOUT, strict=True)
            return ModelRequestParameters(output_mode="native", output_object=wanted)
        case Form.TOOL:
            tool = ToolDefinition(name=_ANSWER, parameters_json_schema=schema, description=_ABOUT, kind="output")
            return ModelRequestParameters(output_mode="tool", output_tools=[tool], allow_text_output=False)
        case Form.TEXT:
            return ModelRequestParameters(output_mode="text")


def _said(response: ModelResponse) -> Said:
    calls = [part for part in response.parts if isinstance(part, ToolCallPart) and part.tool_name == _ANSWER]
    reply = calls[0].args_as_json_str() if calls and calls[0].args else response.text or ""
    return Said(reply=reply, cost_usd=_cost_usd(response))


def _cost_usd(response: ModelResponse) -> float | None:
    try:
        found = float(response.cost().total_price)
    except (LookupError, ValueError, ArithmeticError, AssertionError):  # not on the price list, or no usage told
        return None
    return found if 0 <= found < 100 else None  # a server that says more miscounts


def _refuses(error: Exception, form: Form) -> bool:
    """Whether a server said that it does not take this form of a structured answer."""
    if form not in _NEXT or not isinstance(error, ModelHTTPError) or error.status_code not in (400, 404, 422, 501):
        return False
    said = f"{error.body} {error}".lower()
    return any(name in said for name in _NAMED_IN_REFUSAL[form])


class _Capped(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, most: int) -> None:
        self._stream = stream
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > self._most:
                raise ValueError(f"the reply is larger than {self._most:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
