"""One question to a model with one structured answer: supervisor, planner, critic; or plain text: the summariser.

A single request needs no agent loop, so it is made directly; an answer that does not fit is asked for once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from opentelemetry.util.types import AttributeValue
from pydantic import BaseModel, ValidationError
from pydantic_ai import ModelSettings, ToolDefinition
from pydantic_ai.direct import model_request
from pydantic_ai.exceptions import AgentRunError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters

from agent_runtime.errors import ModelFailed
from agent_runtime.limits import Spending
from agent_runtime.models import Models
from agent_runtime.records import Release
from agent_runtime.seams import MessageText
from agent_runtime.telemetry import Telemetry, text_message

A = TypeVar("A", bound=BaseModel)
_ATTEMPTS = 2


@dataclass(frozen=True, kw_only=True)
class Question(Generic[A]):
    """Who is asked, what it must give, and how it is told; made once."""

    agent: str
    instructions: str
    tool: str
    answer: type[A]
    what: str
    parameters: ModelRequestParameters = field(init=False)

    def __post_init__(self) -> None:
        schema = self.answer.model_json_schema()
        definition = ToolDefinition(name=self.tool, description=self.what, parameters_json_schema=schema, kind="output")
        made = ModelRequestParameters(output_mode="tool", output_tools=[definition], allow_text_output=False)
        object.__setattr__(self, "parameters", made)


@dataclass(frozen=True, kw_only=True)
class Asker:
    """Shared by all turns."""

    models: Models
    telemetry: Telemetry

    async def ask(
        self,
        question: Question[A],
        transcript: Sequence[MessageText],
        text: str,
        release: Release,
        spending: Spending,
        more: str = "",
    ) -> A:
        """Gives the answer; `more` is added to the instructions.

        Raises ModelFailed when the model gives none that fits, LimitReached.
        """
        attributes: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": question.agent,
        }
        with self.telemetry.span(f"invoke_agent {question.agent}", attributes) as span:
            messages = conversation(transcript, text, f"Agent: {question.agent}\n{question.instructions}{more}")
            for _ in range(_ATTEMPTS):
                spending.step()
                response = await self._request(messages, question.parameters, release)
                spending.answered(response)
                found = _read(question, response)
                if found is not None:
                    span.set_attribute("gen_ai.output.messages", text_message("assistant", found.model_dump_json()))
                    return found
            raise ModelFailed(f"the {question.agent} gave no usable answer in {_ATTEMPTS} attempts")

    async def summarise(self, text: str, release: Release, spending: Spending | None = None) -> str:
        """Gives a shorter text. Raises ModelFailed, LimitReached."""
        if spending is not None:
            spending.step()
        attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "summariser"}
        with self.telemetry.span("invoke_agent summariser", attributes):
            messages = conversation((), text, "Agent: summariser\nSummarise the conversation; keep ids and amounts.")
            response = await self._request(messages, ModelRequestParameters(), release)
            if spending is not None:
                spending.answered(response)
            found = "".join(part.content for part in response.parts if isinstance(part, TextPart)).strip()
            if not found:
                raise ModelFailed("the summariser gave no text")
            return found

    async def _request(
        self, messages: list[ModelMessage], parameters: ModelRequestParameters, release: Release
    ) -> ModelResponse:
        try:
            return await model_request(
                self.models.of(release),
                messages,
                model_settings=ModelSettings(temperature=release.parameters.temperature),
                model_request_parameters=parameters,
                instrument=self.telemetry.instrumentation,
            )
        except AgentRunError as error:
            raise ModelFailed(f"the model gave no answer: {error}") from error


def conversation(transcript: Sequence[MessageText], text: str, instructions: str) -> list[ModelMessage]:
    """The session as plain messages, with the new one last."""
    messages: list[ModelMessage] = []
    for earlier in transcript:
        if earlier.role == "assistant":
            messages.append(ModelResponse(parts=[TextPart(earlier.text)]))
        elif earlier.role == "user":
            messages.append(ModelRequest(parts=[UserPromptPart(earlier.text)]))
    messages.append(ModelRequest(parts=[UserPromptPart(text)], instructions=instructions))
    return messages


def _read(question: Question[A], response: ModelResponse) -> A | None:
    for part in response.parts:
        if isinstance(part, ToolCallPart) and part.tool_name == question.tool:
            try:
                return question.answer.model_validate_json(part.args_as_json_str())
            except ValidationError:
                return None
    return None
