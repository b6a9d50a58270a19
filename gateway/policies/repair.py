"""Structured output that is not quite what was asked for: mended where it is clear, flagged where it is not.

Who asked for JSON (`response_format` json_object or json_schema, tools with `strict`) gets JSON: an answer that is
nearly that is mended, checked and flagged `repaired`. What cannot be mended, or does not fit the schema, passes as it
came, flagged `json_invalid`; so do arguments of other tool calls that are not JSON. A call of a tool that is there
twice is flagged `tool_call_repeated`. Streams are not held back: they are flagged when they are over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway.config import RepairConfig
from gateway.policies.json_fitting import fits
from gateway.policies.json_mending import mended, parsed
from gateway.records import Answer, Call, CallKind
from gateway.streams import MOST_KEPT


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """What a call asked for. `schema` None: no JSON. `strict`: the parameters of strict tools by name."""

    schema: dict[str, Any] | None
    strict: dict[str, Any] = field(default_factory=dict)
    tools: bool = False


class Repair:
    """The policy."""

    name = "repair"

    def __init__(self, config: RepairConfig) -> None:
        self._enabled = config.enabled

    def before(self, call: Call) -> Answer | None:
        """Notes what was asked for."""
        if self._enabled and call.kind is CallKind.CHAT:
            asked = _asked(call.body)
            if asked.tools or asked.schema is not None:
                call.state[self.name] = asked
        return None

    def after(self, call: Call, answer: Answer) -> None:
        """Mends a whole answer."""
        asked: _Asked | None = call.state.pop(self.name, None)
        if asked is None or answer.from_cache:
            return
        for choice in answer.body.get("choices") or ():
            message = choice.get("message")
            if isinstance(message, dict):
                _check(call, asked, message, mend=True)

    def stream(self, call: Call) -> None:
        """Nothing: what a stream said is read from the call when it is over."""

    def done(self, call: Call) -> None:
        """Looks at what a stream said."""
        asked: _Asked | None = call.state.pop(self.name, None)
        if asked is None or not call.streamed or call.status != 200 or call.aborted:
            return
        for message in call.output:
            if len(str(message.get("content") or "")) < MOST_KEPT:  # else the door may have left text out
                _check(call, asked, message, mend=False)


def _asked(body: dict[str, Any]) -> _Asked:
    schema: dict[str, Any] | None = None
    format_ = body.get("response_format")
    if isinstance(format_, dict) and format_.get("type") == "json_object":
        schema = {"type": "object"}
    elif isinstance(format_, dict) and format_.get("type") == "json_schema":
        told = (format_.get("json_schema") or {}).get("schema")
        schema = told if isinstance(told, dict) else {}
    tools = body.get("tools")
    functions = [each.get("function") for each in tools if isinstance(each, dict)] if isinstance(tools, list) else []
    strict = {
        str(function.get("name")): function.get("parameters")
        for function in functions
        if isinstance(function, dict) and function.get("strict") is True
    }
    return _Asked(schema=schema, strict=strict, tools=bool(functions))


def _check(call: Call, asked: _Asked, message: dict[str, Any], *, mend: bool) -> None:
    calls = [each for each in message.get("tool_calls") or () if isinstance(each, dict)]
    content = message.get("content")
    if asked.schema is not None and isinstance(content, str) and content and not calls:
        message["content"] = _checked(call, content, asked.schema, mend=mend)
    seen = set()
    for each in calls:
        function = each.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
            continue
        name, arguments = str(function.get("name")), function["arguments"]
        if (name, arguments) in seen:
            _flag(call, "tool_call_repeated")
        seen.add((name, arguments))
        strict = name in asked.strict
        function["arguments"] = _checked(call, arguments, asked.strict.get(name), mend=mend and strict)


def _checked(call: Call, text: str, schema: Any, *, mend: bool) -> str:
    """The text, or the mended one."""
    try:
        fitting = fits(parsed(text), schema)
    except ValueError:
        made = mended(text) if mend else None
        if made is not None and fits(parsed(made), schema):
            _flag(call, "repaired")
            return made
        fitting = False
    if not fitting:
        _flag(call, "json_invalid")
    return text


def _flag(call: Call, flag: str) -> None:
    if flag not in call.flags:
        call.flags.append(flag)
