"""What a request at the model door must be, and what of it is dropped or refused (bad_inputs.md, rows 60 and 61)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.ids import TenantId
from core.records import Principal, Role
from gateway.callers import parse_baggage
from gateway.depth import MOST_DEPTH
from gateway.errors import CallFailed
from gateway.http import Message, Request
from gateway.reading import DROPPED, read_call
from gateway.records import Call, CallKind, Target, VirtualModel

MODELS = {
    "fast": VirtualModel(name="fast", kind=CallKind.CHAT, targets=(Target(upstream="u", model="m"),)),
    "embed": VirtualModel(name="embed", kind=CallKind.EMBEDDINGS, targets=(Target(upstream="u", model="e"),)),
}
PRINCIPAL = Principal(tenant=TenantId("acme"), role=Role.USER, name="agent", key_id="k1")
CHAT: dict[str, Any] = {"model": "fast", "messages": [{"role": "user", "content": "hello"}]}


async def _never() -> Message:
    raise AssertionError("the body was read already")


def request(headers: dict[str, str] | None = None) -> Request:
    """A POST with these headers."""
    pairs = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    return Request({"method": "POST", "path": "/v1/chat/completions", "headers": pairs}, _never)


def read(body: object, headers: dict[str, str] | None = None, kind: CallKind = CallKind.CHAT) -> Call:
    """The call that a body makes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_call(request(headers), raw, kind, PRINCIPAL, MODELS, {"app:shop": "sales", "key:k9": "ops"}, 7)


@pytest.mark.parametrize(
    ("change", "param", "says"),
    [
        ({"model": None}, "model", "virtual model"),
        ({"messages": CHAT["messages"] * 5_001}, "messages", "at most 5000"),
        ({"model": 3}, "model", "virtual model"),
        ({"model": "fast/../secret"}, "model", "there is no model 'fast/../secret' here; these answer chat: fast"),
        ({"model": "embed"}, "model", "answers embeddings, not chat"),
        ({"messages": None}, "messages", "at least one message"),
        ({"messages": []}, "messages", "at least one message"),
        ({"messages": ["hello"]}, "messages[0]", "with a role of"),
        ({"messages": [{"role": "root", "content": "x"}]}, "messages[0]", "with a role of"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "neither text nor a list"),
        ({"stream": "yes"}, "stream", "true or false"),
        ({"n": 1000}, "n", "from 1 to 16"),
        ({"n": True}, "n", "from 1 to 16"),
        ({"max_tokens": -1}, "max_tokens", "whole number"),
        ({"max_tokens": 1.5}, "max_tokens", "whole number"),
        ({"tools": {}}, "tools", "is a list"),
        ({"user": "a\x00b"}, "user", "control characters"),
        ({"user": 7}, "user", "is a text"),
        ({"safety_identifier": "x" * 201}, "safety_identifier", "longer than 200"),
    ],
)
def test_a_bad_field_is_named(change: dict[str, Any], param: str, says: str) -> None:
    with pytest.raises(CallFailed) as failed:
        read({**CHAT, **change})
    assert says in failed.value.message
    assert failed.value.body()["error"]["param"] == param
    assert failed.value.status == (404 if "there is no model" in says else 400)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[]", b'"x"', b"null", b'{"model": NaN}', b"[" * 5000])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(CallFailed) as failed:
        read(body)
    assert failed.value.status == 400
    assert "JSON" in failed.value.message


@pytest.mark.parametrize("name", DROPPED)
def test_where_to_ask_and_with_which_key_is_never_the_callers_to_say(name: str) -> None:
    call = read({**CHAT, name: "http://169.254.169.254/"})
    assert name not in call.body
    assert call.flags == [f"dropped:{name}"]
    assert call.model.targets == MODELS["fast"].targets


@pytest.mark.parametrize("header", ["x-assay-user", "x-assay-app", "x-assay-session", "x-assay-release"])
def test_control_characters_and_long_names_in_headers_are_refused(header: str) -> None:
    for value in ("a\x00b", "a\x1bb", "x" * 201):
        with pytest.raises(CallFailed) as failed:
            read(CHAT, {header: value})
        assert failed.value.status == 400


def test_headers_win_over_baggage_and_baggage_over_nothing() -> None:
    baggage = "assay.release=v2,session.id=s%2F1,assay.variant=treatment;prop=1,user.id=m%C3%BCller,broken"
    caller = read(CHAT, {"baggage": baggage, "x-assay-release": "v3", "x-assay-app": "shop"}).caller
    assert (caller.release, caller.session, caller.variant, caller.user) == ("v3", "s/1", "treatment", "müller")
    assert (caller.app, caller.team, caller.tenant, caller.key_id) == ("shop", "sales", "acme", "k1")


def test_the_body_names_the_user_where_no_header_does() -> None:
    assert read({**CHAT, "user": "anna"}).caller.user == "anna"
    assert read({**CHAT, "user": "anna"}, {"x-assay-user": "otto"}).caller.user == "otto"


def test_baggage_that_cannot_be_read_is_left_out() -> None:
    assert parse_baggage(b"") == {}
    assert parse_baggage(b"a=1,a=2, b = 3 ,=,c") == {"a": "1", "b": "3", "": ""}
    assert parse_baggage(b"a=" + b"x" * 9000) == {}


def test_characters_are_those_of_every_text() -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "four"}]}]
    assert read({**CHAT, "messages": parts}).n_input_characters == len("user") + len("text") + len("four")
    given = {"model": "embed", "input": ["ab", "cde"]}
    assert read(given, kind=CallKind.EMBEDDINGS).n_input_characters == 5


def test_a_fresh_answer_can_be_asked_for() -> None:
    assert read(CHAT, {"cache-control": "no-cache"}).no_cache
    assert read(CHAT, {"cache-control": "max-age=0, No-Store"}).no_cache
    assert not read(CHAT, {"cache-control": "no-transform"}).no_cache
    assert not read(CHAT).no_cache


@pytest.mark.parametrize("role", [[], {}, None, 3])
def test_a_role_of_any_type_is_refused(role: object) -> None:
    with pytest.raises(CallFailed) as caught:
        read({**CHAT, "messages": [{"role": role, "content": "x"}]})
    assert (caught.value.status, caught.value.param) == (400, "messages[0]")


def test_a_body_may_be_nested_200_deep() -> None:
    def nested(n_lists: int) -> bytes:
        return b'{"model": "fast", "messages": [{"role": "user", "content": "x"}], "a": %b1%b}' % (
            b"[" * n_lists,
            b"]" * n_lists,
        )

    assert read(nested(MOST_DEPTH - 1)).body["a"]
    for n_lists in (MOST_DEPTH, 1000):
        with pytest.raises(CallFailed, match="nested deeper than 200") as caught:
            read(nested(n_lists))
        assert caught.value.status == 400
    wide = {**CHAT, "tools": [{"type": "function", "function": {"parameters": {}}}] * 500}
    assert read(wide).body["tools"]
