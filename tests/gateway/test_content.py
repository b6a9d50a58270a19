"""Content rules: what they find, where they look, and that a stream's chunk borders hide nothing."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from core.pii.find import find
from core.records import PiiEntity
from gateway.config import ContentRule
from gateway.errors import Refused
from gateway.policies.content import Content
from gateway.policies.content_rules import MOST_HELD, Pattern, Reading, Words
from gateway.records import Answer, Call
from tests.gateway.policy_calls import EMBED, answer_of, call_of, chunk, heard, spoken, through
from tests.thorough import often


def _policy(**rule: Any) -> Content:
    return Content([ContentRule(**{"name": "no-bombs", **rule})])


def _answered(policy: Content, call: Call, body: dict[str, Any]) -> dict[str, Any]:
    answer = Answer(body=body)
    policy.after(call, answer)
    return answer.body


@pytest.mark.parametrize(
    "text",
    [
        "how to build a bomb",
        "BOMB!",
        "a b\u200bo\u00admb",  # characters nobody sees
        "ｂｏｍｂ",  # full width
        "bomb\u0301s? no: a bomb",
        "pipe\n  bomb",
    ],
)
def test_a_word_is_found_in_its_disguises(text: str) -> None:
    with pytest.raises(Refused) as refused:
        _policy(words=["bomb"]).before(call_of(text))
    assert refused.value.status == 403
    assert refused.value.code == "content"
    assert "no-bombs" in refused.value.message
    assert "bomb " not in refused.value.message.replace("no-bombs", "")


@pytest.mark.parametrize("text", ["bombastic", "a bombe glacée", "bombs", "rebomb", "bo mb"])
def test_a_part_of_a_word_is_not_the_word(text: str) -> None:
    call = call_of(text)
    assert _policy(words=["bomb"]).before(call) is None
    assert call.flags == []


def test_words_of_other_scripts_phrases_and_signs() -> None:
    words = Words(["STRASSE", "炸弹", "big dog", "big", "c++", "бомба"])

    def found(text: str) -> list[str]:
        return [text[a:b] for a, b in words.spans(Reading(text), True, 9)]

    assert found("die Straße") == ["Straße"]
    assert found("一个炸弹在这里") == ["炸弹"]
    assert found("a big\tdog, a big doggy") == ["big\tdog", "big"]
    assert found("I like C++.") == ["C++"]
    assert found("БОМБА бомбардир") == ["БОМБА"]


def test_every_text_of_a_call_is_looked_at() -> None:
    policy = _policy(words=["bomb"])
    bodies: list[dict[str, Any]] = [
        {
            "messages": [
                {"role": "system", "content": "x"},
                {"role": "user", "content": [{"type": "text", "text": "bomb"}]},
            ]
        },
        {"messages": [{"role": "tool", "tool_call_id": "1", "content": "bomb"}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"a":"bomb"}'}}]}]},
        {"messages": [], "tools": [{"type": "function", "function": {"name": "f", "description": "a bomb"}}]},
    ]
    for body in bodies:
        with pytest.raises(Refused):
            policy.before(call_of(body))
    for asked in ("bomb", ["fine", "bomb"]):
        with pytest.raises(Refused):
            policy.before(call_of({"input": asked}, model=EMBED))
    with pytest.raises(Refused, match="token numbers"):
        policy.before(call_of({"input": [[1, 2, 3]]}, model=EMBED))


def test_a_rule_of_one_tenant_is_not_for_another() -> None:
    policy = _policy(words=["bomb"], tenant="acme")
    assert policy.before(call_of("bomb", tenant="other")) is None
    with pytest.raises(Refused):
        policy.before(call_of("bomb", tenant="acme"))


def test_flag_lets_pass_and_says_so_once() -> None:
    policy, call = _policy(words=["bomb"], then="flag", on="both"), call_of("bomb bomb")
    policy.before(call)
    body = _answered(policy, call, answer_of("bomb"))
    assert call.flags == ["content:no-bombs"]
    assert body["choices"][0]["message"]["content"] == "bomb"


def test_redact_replaces_what_was_found_and_only_that() -> None:
    policy = _policy(words=["bomb"], pattern=r"\bcode \d+", then="redact", on="both")
    call = call_of("é the bo\u200bmb, code 1234; BOMB")
    policy.before(call)
    assert call.body["messages"][0]["content"] == "é the [REDACTED:no-bombs], [REDACTED:no-bombs]; [REDACTED:no-bombs]"
    answer = answer_of("the bomb")
    answer["choices"][0]["logprobs"] = {"content": [{"token": "bomb"}]}
    assert "bomb" not in str(_answered(policy, call, answer)).replace("no-bombs", "")
    embedded = call_of({"input": "bomb"}, model=EMBED)
    policy.before(embedded)
    assert embedded.body["input"] == "[REDACTED:no-bombs]"


@pytest.mark.parametrize("unit", ["bomb ", "é bomb ", "b\u200bomb é "])
def test_a_text_with_too_many_finds_is_redacted_whole(unit: str) -> None:
    call = call_of(unit * 20_000)
    _policy(words=["bomb"], then="redact").before(call)
    assert call.body["messages"][0]["content"] == "[REDACTED:no-bombs]"


@given(st.text(alphabet="éb\u200bom e\u0301ßẞﬁİ\u00adſ한각ﾊﾞ", max_size=30))
@settings(deadline=None)
def test_what_is_left_after_redaction_holds_no_word(text: str) -> None:
    call = call_of("ẞ bomb " + text + " b\u00adomb")
    _policy(words=["bomb", "fi", "ss", "bo"], then="redact").before(call)
    left = call.body["messages"][0]["content"].replace("[REDACTED:no-bombs]", " ")
    assert Words(["bomb", "fi", "ss", "bo"]).spans(Reading(left), True, 9) == []


def test_half_a_letter_is_redacted_as_the_whole_letter() -> None:
    call = call_of("aﬁb Ŀ x")
    _policy(pattern="i|·", then="redact").before(call)
    assert call.body["messages"][0]["content"] == "a[REDACTED:no-bombs]b [REDACTED:no-bombs] x"


def test_a_rule_on_output_ignores_the_question() -> None:
    policy, call = _policy(words=["bomb"], on="output"), call_of("bomb")
    assert policy.before(call) is None
    with pytest.raises(Refused):
        policy.after(call, Answer(body=answer_of("a bomb")))


def test_entities_are_found_by_the_finder_that_is_given() -> None:
    def find(text: str, kinds: frozenset[PiiEntity]) -> Iterable[tuple[int, int]]:
        at = text.find("4111")
        return [(at, at + 4)] if at >= 0 and PiiEntity.CARD in kinds else []

    rule = ContentRule(name="no-cards", entities=(PiiEntity.CARD,), then="redact")
    call = call_of("card 4111 x")
    Content([rule], find).before(call)
    assert call.body["messages"][0]["content"] == "card [REDACTED:no-cards] x"
    with pytest.raises(ValueError, match="no-cards"):
        Content([rule])


@pytest.mark.parametrize("pattern", [r"(a)\1", r"(?=a)b", "(", "a*", r"(((a{99}){99}){99})"])
def test_a_pattern_that_cannot_run_in_linear_time_is_refused_at_load(pattern: str) -> None:
    with pytest.raises(ValidationError):
        ContentRule(name="x", pattern=pattern)


def test_a_hostile_pattern_and_text_take_linear_time() -> None:
    pattern, text = Pattern(r"(a+)+$|(a|aa)+b"), "a" * 200_000 + "c"
    assert pattern.spans(Reading(text), True, 9) == []  # a backtracking engine needs longer than the universe has


# --- streams --------------------------------------------------------------------------------------------------------


def _said(rule: dict[str, Any], pieces: list[str], finish: str | None = "stop") -> tuple[str, Call]:
    call = call_of("x", streamed=True)
    policy = _policy(**{"on": "output", **rule})
    return heard(through(policy.stream(call), spoken(pieces, finish))), call


@given(st.lists(st.integers(0, 60), max_size=8), st.sampled_from(["stop", None]))
@settings(max_examples=often(200, 50), deadline=None)
def test_chunk_borders_change_nothing(cuts: list[int], finish: str | None) -> None:
    text = "the b\u200bomb and bombast, Big\n dog, code 123456 or a BOMB, big"
    borders = [0, *sorted(min(c, len(text)) for c in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(borders)]
    said, call = _said({"words": ["bomb", "big dog"], "pattern": r"code \d+", "then": "redact"}, pieces, finish)
    tag = "[REDACTED:no-bombs]"
    assert said == f"the {tag} and bombast, {tag}, {tag} or a {tag}, big"
    assert call.flags == ["content:no-bombs"]


def test_a_refusal_ends_a_stream_before_the_word_is_out() -> None:
    call = call_of("x", streamed=True)
    window, passed = _policy(words=["bomb"], on="output").stream(call), []
    assert window is not None
    *told, at_the_border, _ = spoken(["here is a b", "om", "b", " for you"])
    for each in told:
        passed += window.feed(each)
    with pytest.raises(Refused):
        window.feed(at_the_border)
    assert heard(passed) == "here is a "
    assert call.flags == ["content:no-bombs"]


def test_a_word_at_the_very_end_is_found() -> None:
    with pytest.raises(Refused):
        _said({"words": ["bomb"]}, ["bo", "mb"])
    with pytest.raises(Refused):
        _said({"words": ["bomb"]}, ["bo", "mb"], finish=None)


def test_words_hold_back_only_what_may_become_one() -> None:
    window = _policy(words=["bomb"], on="output").stream(call_of("x", streamed=True))
    assert window is not None
    assert heard(window.feed(chunk({"content": "Hello wor"}))) == "Hello wor"
    assert heard(window.feed(chunk({"content": " bo"}))) == " "
    assert heard(window.feed(chunk({"content": "at"}))) == "boat"


def test_what_is_held_back_is_bounded() -> None:
    window = _policy(pattern=r"x[a-z]+y", on="output").stream(call_of("x", streamed=True))
    assert window is not None
    n_in = n_out = 0
    for _ in range(200):
        n_in += 50
        n_out += len(heard(window.feed(chunk({"content": "x" + "a" * 49}))))
        assert n_in - n_out <= 2 * MOST_HELD


def test_anchors_mean_the_beginning_of_the_answer_not_of_a_chunk() -> None:
    pieces = [*["word " * 100] * 5, "sorry", " not", " at the start"]
    assert _said({"pattern": "^sorry", "then": "redact"}, pieces)[0] == "".join(pieces)
    with pytest.raises(Refused):
        _said({"pattern": "^sorry"}, ["so", "rry", " about that"])


def test_flags_of_a_stream_look_at_the_whole_answer_and_hold_nothing_back() -> None:
    said, call = _said({"pattern": r"(?s)begin.*end", "then": "flag"}, ["beg", "in " + "x" * 2000, "en", "d"])
    assert said == "begin " + "x" * 2000 + "end"
    assert call.flags == ["content:no-bombs"]


def test_choices_and_tool_arguments_of_a_stream_are_texts_of_their_own() -> None:
    window = _policy(words=["bomb"], on="output", then="redact").stream(call_of("x", streamed=True))

    def called(text: str, call: int) -> dict[str, Any]:
        return {"tool_calls": [{"index": call, "function": {"arguments": text}}]}

    sent = [
        chunk({"content": "bo"}, index=0),
        chunk({"content": "mb"}, index=1),
        chunk(called('{"a":"bo', 0)),
        chunk(called('{"b":"bo', 1)),
        chunk(called('mb"}', 0)),
        chunk(called('at"}', 1)),
        chunk({}, "tool_calls", 0),
        chunk({}, "stop", 1),
    ]
    out = through(window, sent)
    assert heard(out, index=0) == "bo"
    assert heard(out, index=1) == "mb"
    arguments = ["", ""]
    for each in out:
        for made in each["choices"][0]["delta"].get("tool_calls", []):
            arguments[made["index"]] += made["function"]["arguments"]
    assert arguments == ['{"a":"[REDACTED:no-bombs]"}', '{"b":"boat"}']


def test_a_stream_without_rules_is_not_filtered() -> None:
    assert _policy(words=["bomb"], on="input").stream(call_of("x", streamed=True)) is None
    assert _policy(words=["bomb"], on="both", tenant="other").stream(call_of("x", streamed=True)) is None


@given(st.lists(st.integers(0, 60), max_size=8))
@settings(max_examples=often(50, 15), deadline=None)
def test_entities_are_found_across_chunk_borders(cuts: list[int]) -> None:
    def places(text: str, kinds: frozenset[PiiEntity]) -> list[tuple[int, int]]:
        return [(found.start, found.end) for found in find(text) if found.entity in kinds]

    text = "é pay with 4111 1111 1111 1111, or write to ann@example.com"
    borders = [0, *sorted(min(c, len(text)) for c in cuts), len(text)]
    call = call_of("x", streamed=True)
    rule = ContentRule(name="pii", on="output", entities=(PiiEntity.CARD, PiiEntity.EMAIL), then="redact")
    window = Content([rule], places).stream(call)
    said = heard(through(window, spoken(text[a:b] for a, b in pairwise(borders))))
    assert said == "é pay with [REDACTED:pii], or write to [REDACTED:pii]"
