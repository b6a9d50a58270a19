"""Anthropic's wire: a call in OpenAI's shape as a request to the messages API.

What cannot be said there is refused (several choices, log probabilities, audio, the functions of old); what only shapes
the sampling is left out and flagged. Since version 2026-10-21 that API takes no temperature and no top_p any more; an
upstream with `api_version: "2023-06-01"` is still sent them.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.errors import BadCall, CallFailed
from gateway.records import Call, CallKind, Target
from gateway.upstreams.anthropic_answers import AnthropicEvents, answer_of, error_of
from gateway.upstreams.anthropic_messages import messages_of
from gateway.upstreams.failures import text_in
from gateway.upstreams.wire import EventReader, Outgoing

VERSION: Final = "2026-10-21"
_LAST_THAT_SAMPLES: Final = "2023-06-01"
MAX_TOKENS: Final = 8192  # where the caller set no limit: Anthropic wants one
_JSON_ONLY: Final = "Answer with one JSON object and nothing else."
_LEFT_OUT: Final = ("frequency_penalty", "presence_penalty", "seed", "logit_bias", "prediction")
_EFFORTS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_CHOICES: Final = {"auto": "auto", "required": "any", "none": "none"}


class AnthropicWire:
    """Speaks to `BASE/v1/messages`."""

    provider = "anthropic"

    def __init__(self, api_version: str = "") -> None:
        self._version = api_version or VERSION

    def request(self, call: Call, target: Target, key: str) -> Outgoing:
        """Raises BadCall for what the messages API cannot do."""
        if call.kind is CallKind.EMBEDDINGS:
            raise BadCall("Anthropic has no embeddings; put another upstream behind this model", param="model")
        body = _body(call, target.model, samples=self._version <= _LAST_THAT_SAMPLES)
        headers = {"content-type": "application/json", "anthropic-version": self._version}
        if key:
            headers["x-api-key"] = key
        return Outgoing(path="/v1/messages", headers=headers, body=orjson.dumps(body))

    def answer(self, call: Call, body: bytes) -> dict[str, Any]:
        """The message as a chat completion. Raises CallFailed."""
        return answer_of(body, call.started_ns // 1_000_000_000)

    def reader(self, call: Call) -> EventReader:
        """A reader of the events of a message."""
        return AnthropicEvents(call.started_ns // 1_000_000_000)

    def error(self, status: int, body: bytes) -> CallFailed:
        """Reads `{"type": "error", "error": {"type", "message"}}`."""
        return error_of(status, body)


def _body(call: Call, model: str, *, samples: bool) -> dict[str, Any]:
    given = call.body
    _refuse(given)
    system, messages = messages_of(given["messages"], call.flags)
    if not messages:
        raise BadCall("Anthropic needs a message of the user or the assistant besides the system's", param="messages")
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": given.get("max_completion_tokens") or given.get("max_tokens") or MAX_TOKENS,
        "messages": messages,
    }
    if call.streamed:
        body["stream"] = True
    config, told = _output(given)
    if config:
        body["output_config"] = config
    if told:
        system.append(told)
    if system:
        body["system"] = "\n\n".join(system)
    stop = given.get("stop")
    if stop:
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    user = text_in(given.get("safety_identifier")) or text_in(given.get("user"))
    if user:
        body["metadata"] = {"user_id": user[:256]}
    body |= _tools(given)
    body |= _sampling(call, samples)
    return body


def _refuse(given: dict[str, Any]) -> None:
    if (given.get("n") or 1) != 1:
        raise BadCall("Anthropic gives one choice; send n=1 or ask as many times as you need", param="n")
    for name in ("logprobs", "top_logprobs", "functions", "function_call", "audio"):
        if given.get(name):
            raise BadCall(f"Anthropic knows no {name}; leave it out or use a model of another provider", param=name)
    modalities = given.get("modalities")
    if isinstance(modalities, list) and any(each != "text" for each in modalities):
        raise BadCall("Anthropic answers in text only", param="modalities")


def _sampling(call: Call, samples: bool) -> dict[str, Any]:
    given, found = call.body, {}
    left_out = [name for name in _LEFT_OUT if given.get(name)]
    for name in ("temperature", "top_p"):
        value = given.get(name)
        if value is None:
            continue
        if not samples:
            left_out.append(name)
        elif isinstance(value, int | float):
            found[name] = min(value, 1)  # OpenAI's temperatures go up to 2
    for name in left_out:
        if f"dropped:{name}" not in call.flags:
            call.flags.append(f"dropped:{name}")
    return found


def _output(given: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """`output_config`, and what the system prompt has to say because there is no setting for it."""
    config: dict[str, Any] = {}
    effort = _EFFORTS.get(text_in(given.get("reasoning_effort")))
    if effort:
        config["effort"] = effort
    wanted = given.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind in (None, "text"):
        return config, ""
    if kind == "json_object":
        return config, _JSON_ONLY
    named = wanted.get("json_schema") if isinstance(wanted, dict) else None
    schema = named.get("schema") if isinstance(named, dict) else None
    if kind != "json_schema" or not isinstance(schema, dict):
        raise BadCall(
            "response_format is text, json_object or a json_schema with a schema in it", param="response_format"
        )
    config["format"] = {"type": "json_schema", "schema": _closed(schema)}
    return config, ""


def _closed(schema: Any) -> Any:
    """The schema with every object closed, as Anthropic wants it."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: value if name in ("enum", "const", "default") else _closed(value) for name, value in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        found.setdefault("additionalProperties", False)
    return found


def _tools(given: dict[str, Any]) -> dict[str, Any]:
    listed = given.get("tools") or []
    if not isinstance(listed, list):
        raise BadCall("tools is a list", param="tools")
    tools = [_tool(each, n) for n, each in enumerate(listed)]
    if not tools:
        return {}
    choice = _choice(given.get("tool_choice"))
    if given.get("parallel_tool_calls") is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    return {"tools": tools} | ({} if choice == {"type": "auto"} else {"tool_choice": choice})


def _tool(given: object, n: int) -> dict[str, Any]:
    function = (
        given.get("function") if isinstance(given, dict) and given.get("type", "function") == "function" else None
    )
    if not isinstance(function, dict) or not text_in(function.get("name")):
        raise BadCall("Anthropic is given tools of the type function, with a name", param=f"tools[{n}]")
    schema = function.get("parameters")
    found: dict[str, Any] = {
        "name": function["name"],
        "input_schema": schema if isinstance(schema, dict) and schema else {"type": "object", "properties": {}},
    }
    if text_in(function.get("description")):
        found["description"] = function["description"]
    if function.get("strict") is True:
        found["strict"] = True
        found["input_schema"] = _closed(found["input_schema"])
    return found


def _choice(given: object) -> dict[str, Any]:
    if given is None:
        return {"type": "auto"}
    if isinstance(given, str) and given in _CHOICES:
        return {"type": _CHOICES[given]}
    function = given.get("function") if isinstance(given, dict) else None
    if isinstance(function, dict) and text_in(function.get("name")):
        return {"type": "tool", "name": function["name"]}
    raise BadCall("tool_choice is auto, none, required or one function by its name", param="tool_choice")
