"""From the body of a request to a Call: what must be there, what is dropped, and which model is meant."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

import orjson

from core.records import Principal
from gateway import callers
from gateway.depth import MOST_DEPTH, is_too_deep
from gateway.errors import BadCall, UnknownModel
from gateway.http import Request
from gateway.records import Call, Caller, CallKind, Target, VirtualModel

# Where clients of other gateways say whom to ask and with which key. Here the configuration says it, and nobody else.
DROPPED: Final = (
    "api_base", "base_url", "api_key", "api_version", "api_type", "azure_endpoint", "custom_llm_provider",
    "deployment_id", "extra_body", "extra_headers", "extra_query", "headers", "model_list", "fallbacks", "num_retries",
    "organization", "proxy", "timeout", "mock_response",
)  # fmt: skip
_ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
MOST_CHOICES: Final = 16
MOST_MESSAGES: Final = 5_000
IMAGE_CHARACTERS: Final = 3000  # an image in the body is a long text and some 700 tokens


def read_call(
    request: Request,
    body: bytes,
    kind: CallKind,
    principal: Principal,
    models: Mapping[str, VirtualModel],
    team_of: Mapping[str, str],
    now_ns: int,
) -> Call:
    """The call that a request makes. `models` are those that the caller may use, `team_of` names teams by "app:NAME"
    and "key:ID". Raises BadCall or UnknownModel."""
    given = _object(body)
    dropped = [f"dropped:{name}" for name in DROPPED if given.pop(name, None) is not None]
    asked = given.get("model")
    if not isinstance(asked, str) or not asked:
        raise BadCall("model is missing; send the name of a virtual model, see GET /v1/models", param="model")
    if kind is CallKind.CHAT:
        _check_chat(given)
        n_characters = _length(given["messages"]) + _length(given.get("tools"))
    else:
        n_characters = _length(_checked_input(given))
        if given.get("stream"):
            raise BadCall("embeddings are not streamed; leave stream out", param="stream")
    call = Call(
        id=f"call_{secrets.token_hex(12)}",
        kind=kind,
        caller=_caller(request, given, principal, team_of),
        asked=asked[: callers.MOST],
        model=_model(asked, kind, models),
        body=given,
        streamed=bool(given.get("stream")),
        started_ns=now_ns,
        no_cache=_wants_fresh(request.headers.get(b"cache-control", b"").lower()),
        n_input_characters=n_characters,
        flags=dropped,
    )
    options = given.get("stream_options")
    call.state["wants_usage"] = isinstance(options, dict) and bool(options.get("include_usage"))
    return call


def unread_call(request: Request, kind: CallKind, principal: Principal, now_ns: int) -> Call:
    """A call that was refused before it could be read, for its span: what its headers say, and nothing of its body."""
    try:
        said = callers.told(request)
    except BadCall:
        said = {}
    nobody = Target(upstream="", model="")
    return Call(
        id=f"call_{secrets.token_hex(12)}",
        kind=kind,
        caller=Caller(
            tenant=principal.tenant,
            key_id=principal.key_id or "",
            parent=request.headers.get(b"traceparent", b"").decode("latin-1"),
            **said,
        ),
        asked="",
        model=VirtualModel(name="", kind=kind, targets=(nobody,)),
        body={},
        streamed=False,
        started_ns=now_ns,
    )


def _wants_fresh(cache_control: bytes) -> bool:
    return b"no-cache" in cache_control or b"no-store" in cache_control


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadCall(f"the body is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise BadCall('the body is not a JSON object; send {"model": ..., "messages": [...]}')
    if is_too_deep(given, body):
        raise BadCall(f"the body is nested deeper than {MOST_DEPTH} lists and objects; send a flatter one")
    return given


def _check_chat(given: dict[str, Any]) -> None:
    messages = given.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadCall("messages is missing or empty; send a list with at least one message", param="messages")
    if len(messages) > MOST_MESSAGES:
        raise BadCall(f"messages has {len(messages)} of at most {MOST_MESSAGES}; send fewer", param="messages")
    for n, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            said = f"messages[{n}] is no message: an object with a role of {', '.join(sorted(_ROLES))}"
            raise BadCall(said, param=f"messages[{n}]")
        if not isinstance(message.get("content"), str | list | None):
            raise BadCall(f"messages[{n}].content is neither text nor a list of parts", param=f"messages[{n}].content")
    if not isinstance(given.get("stream"), bool | None):
        raise BadCall("stream is true or false", param="stream")
    for name, low, high in (("n", 1, MOST_CHOICES), ("max_tokens", 1, 10**7), ("max_completion_tokens", 1, 10**7)):
        value = given.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high):
            raise BadCall(f"{name} is a whole number from {low} to {high}", param=name)
    if not isinstance(given.get("tools"), list | None):
        raise BadCall("tools is a list", param="tools")


def _checked_input(given: dict[str, Any]) -> object:
    found = given.get("input")
    if isinstance(found, str | list) and found:
        return found
    raise BadCall("input is missing or empty; send a text or a list of texts", param="input")


def _length(value: object) -> int:
    """Characters of all texts in a part of the body."""
    if isinstance(value, str):
        return IMAGE_CHARACTERS if value[:5] == "data:" and ";base64," in value[:100] else len(value)
    if isinstance(value, dict):
        return sum(map(_length, value.values()))
    if isinstance(value, list):
        return sum(map(_length, value))
    return 1 if isinstance(value, int) else 0


def _caller(request: Request, given: dict[str, Any], principal: Principal, team_of: Mapping[str, str]) -> Caller:
    said = callers.told(request)
    for name in ("safety_identifier", "user"):
        value = given.get(name)
        if value is not None and not isinstance(value, str):
            raise BadCall(f"{name} is a text", param=name)
        if value:
            callers.checked(value, name)
            said["user"] = said["user"] or value
    key_id = principal.key_id or ""
    return Caller(
        tenant=principal.tenant,
        key_id=key_id,
        team=team_of.get(f"key:{key_id}") or team_of.get(f"app:{said['app']}", ""),
        parent=request.headers.get(b"traceparent", b"").decode("latin-1"),
        **said,
    )


def _model(asked: str, kind: CallKind, models: Mapping[str, VirtualModel]) -> VirtualModel:
    found = models.get(asked)
    if not models:
        said = "this gateway has no model for you yet; docs/gateway-config.md says how its file names them"
        raise UnknownModel(said, param="model")
    if found is None:
        names = ", ".join(sorted(name for name, model in models.items() if model.kind is kind)[:10]) or "none"
        raise UnknownModel(f"there is no model {asked[:80]!r} here; these answer {kind.value}: {names}", param="model")
    if found.kind is not kind:
        raise BadCall(f"the model {asked!r} answers {found.kind.value}, not {kind.value}", param="model")
    return found
