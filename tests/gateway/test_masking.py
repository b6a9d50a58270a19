"""Masking of calls: what a model is sent, what its caller gets back, whole and streamed."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.pii.find import find
from core.records import PiiEntity
from gateway.chain import Chain
from gateway.config import MaskingConfig
from gateway.errors import Refused
from gateway.policies.masking import Masking
from gateway.records import Answer, Call
from tests.gateway.policy_calls import EMBED, answer_of, call_of, chunk, heard, spoken, through
from tests.thorough import often

EMAIL, PHONE, CARD, IBAN = "ann.lee@example.org", "+1 415 555 2671", "4111 1111 1111 1111", "DE89370400440532013000"
SECRET = "sk-proj-a1B2c3D4e5F6g7H8i9J0k1L2"
VALUES = (EMAIL, PHONE, CARD, IBAN, SECRET)
IMAGE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUA4111111111111111"


def policy(**config: Any) -> Masking:
    return Masking(MaskingConfig(**config))


def masked(body: dict[str, Any] | str, **config: Any) -> Call:
    call = call_of(copy.deepcopy(body))
    assert policy(**config).before(call) is None
    return call


def answered(call: Call, answer: dict[str, Any], **config: Any) -> dict[str, Any]:
    whole = Answer(body=answer)
    policy(**config).after(call, whole)
    message: dict[str, Any] = whole.body["choices"][0]["message"]
    return message


# --- requests -------------------------------------------------------------------------------------------------------


def everything() -> dict[str, Any]:
    """A body with a value in each place where one can be."""
    parameters = {"type": "object", "properties": {"to": {"type": "string", "default": EMAIL, "description": PHONE}}}
    arguments = json.dumps({"to": EMAIL, "card": 4111111111111111, "note": f"call {PHONE}\nnow"})
    return {
        "user": EMAIL,
        "metadata": {"phone": 4155552671, "password": "Tr0ub4dor&3", EMAIL: "x", "contact": PHONE},
        "tools": [{"type": "function", "function": {"name": "mail", "description": IBAN, "parameters": parameters}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"description": CARD}}},
        "messages": [
            {"role": "system", "content": f"You answer {EMAIL}.", "name": "agent"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": f"Charge {CARD}"},
                    {"type": "image_url", "image_url": {"url": IMAGE}},
                    {"type": "input_audio", "input_audio": {"data": SECRET, "format": "wav"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "mail", "arguments": arguments}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": json.dumps({"iban": IBAN, "api_key": SECRET})},
            {"role": "user", "content": f"My key is {SECRET} and {EMAIL} again."},
        ],
    }


def test_every_text_of_a_body_is_masked_and_binary_parts_are_left() -> None:
    call = masked(everything())
    body = call.body
    assert body["messages"][1]["content"][1]["image_url"]["url"] == IMAGE
    assert body["messages"][1]["content"][2]["input_audio"]["data"] == SECRET
    body["messages"][1]["content"] = body["messages"][1]["content"][:1]
    sent = json.dumps(body)
    assert not [value for value in (*VALUES, "4155552671", "4111111111111111", "Tr0ub4dor") if value in sent]
    assert body["metadata"] == {
        "phone": "<PHONE_1>",
        "password": "<SECRET_1>",
        "<EMAIL_1>": "x",
        "contact": "<PHONE_2>",
    }
    assert body["messages"][0]["content"] == "You answer <EMAIL_1>."
    arguments = json.loads(body["messages"][2]["tool_calls"][0]["function"]["arguments"])
    assert arguments == {"to": "<EMAIL_1>", "card": "<CARD_2>", "note": "call <PHONE_2>\nnow"}
    assert json.loads(body["messages"][3]["content"]) == {"iban": "<IBAN_1>", "api_key": "<SECRET_2>"}
    assert body["messages"][4]["content"] == "My key is <SECRET_2> and <EMAIL_1> again."
    assert call.masked == {"email": 1, "phone": 2, "card": 2, "iban": 1, "secret": 2}


def test_a_conversation_that_grows_keeps_the_numbers_of_its_beginning() -> None:
    messages = [{"role": "user", "content": f"{value} or {n}@example.com"} for n, value in enumerate(VALUES)]
    before: list[Any] = []
    for n in range(1, len(messages) + 1):
        now = masked({"messages": messages[:n], "user": "Ann", "stop": [PHONE]}).body["messages"]
        assert now[: len(before)] == before
        before = now


def test_a_placeholder_that_the_caller_wrote_is_given_to_no_value_and_comes_back_as_it_was() -> None:
    call = masked(f"Write <EMAIL_1> and email\\_2 to {EMAIL}, never to EMAIL_1.")
    assert call.body["messages"][0]["content"] == "Write <EMAIL_1> and email\\_2 to <EMAIL_3>, never to EMAIL_1."
    answer = answered(call, answer_of("<EMAIL_1>, EMAIL_2, <EMAIL_3>"))
    assert answer["content"] == f"<EMAIL_1>, EMAIL_2, {EMAIL}"


def test_what_json_escapes_hide_is_masked() -> None:
    hidden = '{"to": "ann.lee\\u0040example.org", "n": "4111\\u00201111\\u00201111\\u00201111"}'
    content = masked(hidden).body["messages"][0]["content"]
    assert json.loads(content) == {"to": "<EMAIL_1>", "n": "<CARD_1>"}


def test_a_name_gets_a_placeholder_of_letters_digits_and_underscores() -> None:
    body = {"messages": [{"role": "user", "name": EMAIL, "content": "hi"}]}
    assert masked(body).body["messages"][0]["name"] == "EMAIL_1"


@pytest.mark.parametrize(("given", "expected"), [(EMAIL, "<EMAIL_1>"), ([f"to {EMAIL}", "b"], ["to <EMAIL_1>", "b"])])
def test_the_input_of_embeddings_is_masked(given: Any, expected: Any) -> None:
    call = call_of({"input": given}, model=EMBED)
    masking = policy()
    masking.before(call)
    assert call.body["input"] == expected
    whole = Answer(body={"data": [{"embedding": [0.5]}]})
    masking.after(call, whole)
    assert whole.body == {"data": [{"embedding": [0.5]}]}


def test_tokens_and_numbers_of_parameters_stay() -> None:
    body = {"input": [4111111111111111, 7], "seed": 4111111111111111, "logit_bias": {"4111111111111111": 1}}
    call = call_of(body, model=EMBED)
    policy().before(call)
    assert call.body["input"] == [4111111111111111, 7]
    assert call.body["seed"] == 4111111111111111


def test_a_clean_body_is_left_alone_and_remembered() -> None:
    masking = policy()
    for _ in range(2):
        call = call_of("Where is my parcel?")
        masking.before(call)
        assert call.body["messages"][0]["content"] == "Where is my parcel?"
        assert not call.masked
        assert masking.stream(call) is None


def test_modes_entities_and_tenants() -> None:
    text = f"{EMAIL} {CARD}"
    assert masked(text, mode="off").body["messages"][0]["content"] == text
    assert masked(text, entities=("card",)).body["messages"][0]["content"] == f"{EMAIL} <CARD_1>"
    assert masked(text, off_for_tenants=("acme",)).body["messages"][0]["content"] == text
    assert masked(text, off_for_tenants=("else",)).body["messages"][0]["content"] == "<EMAIL_1> <CARD_1>"


def test_a_policy_that_breaks_refuses_the_call() -> None:
    masking = policy()
    call = call_of({"messages": [{"role": "user", "content": EMAIL}], "metadata": {1: EMAIL}})
    call.body["metadata"] = _Broken(call.body["metadata"])
    with pytest.raises(Refused, match="masking broke"):
        Chain([masking]).before(call)


class _Broken(dict[str, Any]):
    def items(self) -> Any:
        raise MemoryError("on purpose")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"messages": [{"role": "user", "content": text * (2_000_000 // len(text))}]}, id=text)
        for text in (
            "a@b.co ",
            "@",
            "4111 1111 1111 111 ",
            "1.2.3. ",
            "1 ",
            "id 12345678 ",
            "ghp_",
            "eyJ",
            "\\u0041",
            "-",
        )
    ]
    + [
        pytest.param({"messages": [{"role": "user", "content": "hello there"}] * 20_001}, id="messages"),
        pytest.param({"messages": [{"content": [{"type": "text", "text": "hello there"}] * 20_001}]}, id="parts"),
        pytest.param({"metadata": {f"key_of_{n}": "a" for n in range(20_001)}}, id="keys"),
        pytest.param({"metadata": {"a": [1] * 500_001}}, id="numbers"),
        pytest.param({"messages": [{"content": f"{EMAIL} {'_1 ' * 700_000}"}]}, id="underscores"),
    ],
)
def test_a_call_with_too_much_to_look_at_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="send less") as refused:
        policy().before(call_of(body))
    assert (refused.value.status, refused.value.code) == (413, "masking_too_much")


def test_much_of_what_people_send_is_not_too_much() -> None:
    said = f"{EMAIL} {'Where is my blue jacket? ' * 160_000}"  # 4 MB
    assert masked(said).masked == {"email": 1}
    assert masked({"messages": [{"role": "user", "content": f"{EMAIL} and {n}"} for n in range(5_000)]}).masked
    assert not masked({"input": [1234] * 300_000}).masked


def test_backslashes_without_end_take_no_longer_than_other_text() -> None:
    assert masked("\\" * 1_000_000 + f" \\u0041 {EMAIL}").masked == {"email": 1}


def test_deep_nesting_is_masked_without_recursion() -> None:
    deep: Any = EMAIL
    for _ in range(5_000):
        deep = [deep]
    call = call_of({"messages": [{"role": "user", "content": "x", "more": deep}]})
    policy().before(call)
    inner = call.body["messages"][0]["more"]
    while isinstance(inner, list):
        inner = inner[0]
    assert inner == "<EMAIL_1>"


# --- answers --------------------------------------------------------------------------------------------------------


def test_every_text_of_an_answer_is_restored_and_the_masked_answer_is_not_touched() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEab12\n-----END PRIVATE KEY-----"
    call = masked(f"{EMAIL} {PHONE} {key}")
    made = answer_of(
        "<EMAIL_1> has <phone_1>",
        refusal="not <EMAIL_1>",
        reasoning_content="EMAIL_1?",
        tool_calls=[{"id": "c", "type": "function", "function": {"name": "m", "arguments": '{"a": "<SECRET_1>"}'}}],
        annotations=[{"text": "<EMAIL_1>"}],
    )
    before = copy.deepcopy(made)
    message = answered(call, made)
    assert made == before
    assert message["content"] == f"{EMAIL} has {PHONE}"
    assert (message["refusal"], message["reasoning_content"]) == (f"not {EMAIL}", f"{EMAIL}?")
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"a": key}
    assert message["annotations"] == [{"text": EMAIL}]


def test_a_json_answer_stays_json() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEab12\n-----END PRIVATE KEY-----"
    body = {"messages": [{"role": "user", "content": key}], "response_format": {"type": "json_object"}}
    assert json.loads(answered(masked(body), answer_of('{"key": "<SECRET_1>"}'))["content"]) == {"key": key}


_PARTS = st.sampled_from([*VALUES, "hello", "<EMAIL_1>", "EMAIL_2", "{", "}", '"', "\\", "\n", "at 12:30", "é", "日本"])
_SAID = st.lists(_PARTS, max_size=6).map(" and ".join)


@given(st.lists(_SAID, min_size=1, max_size=4))
@settings(max_examples=often(150, 75), deadline=None)
def test_masking_and_restoring_is_identity_and_no_value_is_sent(texts: list[str]) -> None:
    call = masked({"messages": [{"role": "user", "content": text} for text in texts]})
    for text, message in zip(texts, call.body["messages"], strict=True):
        assert not [value for value in VALUES if value in message["content"]]
        assert not [one for one in find(message["content"]) if one.entity is not PiiEntity.SECRET]
        assert answered(call, answer_of(message["content"]))["content"] == text


# --- streams --------------------------------------------------------------------------------------------------------

SAID = r"Dear <EMAIL_1>, **\<PHONE\_1\>** or <email_1>; a < b. EMAIL_1"
HEARD = f"Dear {EMAIL}, **{PHONE}** or {EMAIL}; a < b. {EMAIL}"


def test_every_split_of_a_stream_is_restored() -> None:
    masking, call = policy(), masked(f"{EMAIL} {PHONE}")
    assert answered(call, answer_of(SAID))["content"] == HEARD
    for at in range(len(SAID) + 1):
        assert heard(through(masking.stream(call), spoken([SAID[:at], SAID[at:]]))) == HEARD
    chunks = through(masking.stream(call), spoken(list(SAID)))
    assert heard(chunks) == HEARD
    assert chunks[-1]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop"}
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}


def test_a_stream_that_breaks_off_gives_up_what_it_held() -> None:
    masking, call = policy(), masked(EMAIL)
    chunks = through(masking.stream(call), spoken(["to <EMAIL_1"], finish=None))
    assert heard(chunks) == f"to {EMAIL}"
    assert chunks[-1]["id"] == "chatcmpl-1"


def test_choices_and_tool_calls_are_restored_each_by_itself() -> None:
    masking, call = policy(), masked(f"{EMAIL} {PHONE}")
    first, second = '{"to": "<EMAIL_1>"}', '{"n":"\\u003cPHONE_1\\u003e"}'
    chunks = [
        chunk({"role": "assistant", "content": None}, index=0),
        chunk({"role": "assistant", "content": ""}, index=1),
        chunk(
            {"tool_calls": [{"index": n, "id": f"c{n}", "function": {"name": "f", "arguments": ""}} for n in (0, 1)]}
        ),
    ]
    for one, other, text in zip(first.ljust(40), second.ljust(40), "\\<EMAIL\\_1\\>".ljust(40), strict=True):
        calls = [{"index": 1, "function": {"arguments": other}}, {"index": 0, "function": {"arguments": one}}]
        chunks += [chunk({"tool_calls": calls}), chunk({"content": text}, index=1)]
    chunks += [chunk({}, "tool_calls"), chunk({"content": "PHONE_1"}, "stop", index=1)]
    passed = through(masking.stream(call), chunks)
    arguments = {0: "", 1: ""}
    for each in passed:
        for choice in each["choices"]:
            for tool in choice["delta"].get("tool_calls", ()):
                arguments[tool["index"]] += tool["function"]["arguments"]
    assert json.loads(arguments[0]) == {"to": EMAIL}
    assert json.loads(arguments[1]) == {"n": PHONE}
    assert heard(passed, index=1).split() == [EMAIL, *PHONE.split()]
    ends = [choice["finish_reason"] for each in passed for choice in each["choices"] if choice["finish_reason"]]
    assert ends == ["tool_calls", "stop"]


def test_usage_passes() -> None:
    masking, call = policy(), masked(EMAIL)
    last = {"id": "x", "choices": [], "usage": {"total_tokens": 1}}
    assert through(masking.stream(call), [last]) == [last]
    held = {**chunk({"content": "<"}), "usage": {"total_tokens": 1}}
    assert through(masking.stream(call), [held])[0]["usage"] == {"total_tokens": 1}


# --- personal information that the model made up ----------------------------------------------------------------------

MADE_UP = [
    ("Write to bob@corp.example, or call +44 20 7946 0958 (office).", "Write to [EMAIL], or call [PHONE] (office)."),
    ("Your card 5500 0055 5555 5559 and <EMAIL_1>.", f"Your card [CARD] and {EMAIL}."),
    ("Phone: 467 3395 or 9472 7916 office", "Phone: [PHONE] or [PHONE] office"),
    ("pay GB82 WEST 1234 5698 7654 32 today", "pay [IBAN] today"),
    ("at 203.0.113.7 or 2001:db8:85a3::8a2e:370:7334", "at [IP] or [IP]"),
    ('the password: "a(b)[c]:D1;<e>|" and more', 'the password: "[SECRET]" and more'),
    ("-----BEGIN PRIVATE KEY-----\nMIIEab12" + "Zx9/" * 400 + "\n-----END PRIVATE KEY-----\nkept", "[SECRET]\nkept"),
    ("eyJhbGciOiJIUzI1NiJ9." + "aB3" * 300 + "." + "cD4" * 20 + " kept", "[SECRET] kept"),
    (
        f"You said {EMAIL} and <EMAIL_1>; in 2024 we met 3 times.",
        f"You said {EMAIL} and {EMAIL}; in 2024 we met 3 times.",
    ),
    ("Authorization: Bearer a1B2c3D4e5F6g7H8i9J0 end", "Authorization: Bearer [SECRET] end"),
    ("postgres://app:s3cr3t,x@db.example.com:5432/x", "postgres://app:[SECRET]@db.example.com:5432/x"),
    ('{"phone": 4155552671, "text": "phone 4155552671"}', '{"phone": "[PHONE]", "text": "phone [PHONE]"}'),
]


@pytest.mark.parametrize(("said", "expected"), MADE_UP)
def test_what_the_model_made_up_is_masked_however_it_is_split(said: str, expected: str) -> None:
    masking, call = policy(output="mask"), masked(EMAIL, output="mask")
    assert answered(call, answer_of(said), output="mask")["content"] == expected
    step = max(1, len(said) // 150)
    for at in range(0, len(said) + 1, step):
        assert heard(through(masking.stream(call), spoken([said[:at], said[at:]]))) == expected, at
    for size in (1, 3, 7):
        pieces = [said[n : n + size] for n in range(0, len(said), size)]
        assert heard(through(masking.stream(call), spoken(pieces))) == expected


def test_what_was_masked_in_the_answer_is_counted_and_its_tokens_are_left_out() -> None:
    masking, call = policy(output="mask"), masked("hello", output="mask")
    whole = Answer(body=answer_of("bob@corp.example"))
    whole.body["choices"][0]["logprobs"] = {"content": [{"token": "bob@corp.example"}]}
    masking.after(call, whole)
    masking.done(call)
    assert "corp" not in json.dumps(whole.body)
    assert call.masked == {"email": 1}
    assert call.flags == ["output_masked"]
    assert not call.state


def test_a_span_holds_what_the_model_made_up_masked_too() -> None:
    masking, call = policy(output="mask"), call_of(f"I am {EMAIL}.")
    masking.before(call)
    call.output = [{"role": "assistant", "content": f"Dear <EMAIL_1>, call {PHONE}."}]
    masking.done(call)
    assert call.output == [{"role": "assistant", "content": "Dear <EMAIL_1>, call [PHONE]."}]
    assert not call.masked.get("phone")


def test_without_being_asked_answers_keep_what_models_make_up() -> None:
    call = masked(EMAIL)
    assert answered(call, answer_of("bob@corp.example"))["content"] == "bob@corp.example"


def test_little_is_held_back_and_what_has_no_end_is_dropped() -> None:
    masking, call = policy(output="mask"), masked("hello", output="mask")
    passed = masking.stream(call)
    assert passed is not None
    assert heard(passed.feed(chunk({"content": "plain words of a sentence, "}))) == "plain words of a sentence, "
    assert heard(passed.feed(chunk({"content": "x" * 1000}))) == "x" * 744
    endless = through(masking.stream(call), spoken(["eyJhbGciOiJIUzI1NiJ9.aB3x.", *["aB3x" * 50] * 100, " kept"]))
    assert heard(endless) == "[SECRET] kept"
