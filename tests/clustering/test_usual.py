"""What is usual in an app, and what of a session is not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustering.told import Asked, Called, Spoken, Told
from clustering.usual import FEWEST, Usual, facts_of, unusual, usual_from, usual_of

SHELF = (("policy-returns", 1),)


def refunded(number: int = 0, *, asked: bool = True, ms: float = 900.0, words: int = 20, model: str = "m-1") -> Told:
    """A refund, with or without the question before it."""
    question = [
        Spoken(role="user", turn=0, text="Refund my order"),
        Spoken(role="assistant", turn=0, text="Shall I refund your order? " + "so " * (words - 5)),
        Spoken(role="user", turn=1, text="Yes, please."),
    ]
    turn = 1 if asked else 0
    messages = question if asked else question[:1]
    answer = Spoken(role="assistant", turn=turn, text="Refunded. " + "so " * (words - 1))
    return Told(
        messages=(*messages, answer),
        calls=(Called(turn=turn, name="refund_order", arguments={"order_id": "LK-1"}, result='{"ok": true}'),),
        models=(Asked(turn=0, asked="m-1", answered=model, duration_ms=ms + number % 7 * 20, input_tokens=800),),
        n_turns=turn + 1,
        release="v1",
    )


def answered(number: int = 0, *, cites: bool = True, text: int = 1) -> Told:
    """An answer from a document."""
    said = "Thirty days. [policy-returns]" if cites else "Thirty days, they say."
    return Told(
        messages=(Spoken(role="user", turn=0, text="How long?"), Spoken(role="assistant", turn=0, text=said)),
        calls=(Called(turn=0, name="search", arguments={}, result="{}"),),
        models=(Asked(turn=0, asked="m-1", answered="m-1", duration_ms=600.0 + number % 5 * 10, input_tokens=500),),
        retrieved=(("policy-returns",),),
        texts=(("policy-returns", text),),
        n_turns=1,
        release="v1",
    )


def learned(*others: Told) -> Usual:
    """From forty sessions of both kinds, and others."""
    sound = [refunded(number) for number in range(40)] + [answered(number) for number in range(40)]
    return usual_of(facts_of(one) for one in [*sound, *others])


def signs(one: Told, usual: Usual | None = None) -> list[str]:
    return unusual(facts_of(one), usual or learned(one))


def test_what_is_usual_is_no_sign() -> None:
    usual = learned()
    assert [signs(refunded(number), usual) + signs(answered(number), usual) for number in range(7)] == [[]] * 7


@pytest.mark.parametrize(
    ("one", "sign"),
    [
        (refunded(asked=False), "refund_order without asking first"),
        (refunded(ms=2_400.0), "models answer much more slowly than usual"),
        (refunded(words=100), "replies are much longer than usual"),
        (refunded(model="m-1-mini"), "answered by the model m-1-mini which is unusual"),
        (answered(cites=False), "answers name no source where others do"),
        (answered(text=2), "found another text of policy-returns than is usual"),
        (replace(refunded(), n_turns=12), "far more turns than usual"),
    ],
)
def test_what_is_not_usual_is_a_sign(one: Told, sign: str) -> None:
    assert signs(one) == [sign]


def test_a_task_that_takes_longer_is_compared_with_its_like() -> None:
    long = [replace(answered(number), models=(Asked(turn=0, duration_ms=6_000.0 + number),)) for number in range(20)]
    other = [replace(one, calls=(Called(turn=0, name="render", result="{}"),)) for one in long]
    usual = learned(*other)
    assert "models answer much more slowly than usual" not in unusual(facts_of(other[3]), usual)
    assert "models answer much more slowly than usual" in unusual(facts_of(long[3]), usual)


def test_another_model_is_usual_in_a_release_that_has_it() -> None:
    canary = [replace(refunded(number, model="m-2"), release="v2") for number in range(FEWEST)]
    assert signs(canary[0], learned(*canary)) == []


def test_few_sessions_tell_nothing() -> None:
    few = [facts_of(refunded(number)) for number in range(FEWEST - 1)]
    odd = facts_of(refunded(asked=False, ms=9_000.0))
    assert unusual(odd, usual_of(few)) == []
    assert unusual(odd, usual_from(None)) == []


def test_what_was_kept_is_what_was_learned() -> None:
    usual = learned(answered(text=2))
    kept = usual_from(json.loads(json.dumps(usual.as_json())))
    assert all(
        unusual(facts_of(one), kept) == unusual(facts_of(one), usual)
        for one in (refunded(asked=False), answered(text=2), refunded(ms=2_400.0), answered())
    )


@given(st.permutations(list(range(12))))
def test_the_order_of_sessions_does_not_matter(order: list[int]) -> None:
    some = [refunded(number) for number in range(6)] + [answered(number, text=number % 2) for number in range(6)]
    facts = [facts_of(one) for one in some]
    assert usual_of(facts[at] for at in order).asked == usual_of(facts).asked
    assert usual_of(facts[at] for at in order).levels == usual_of(facts).levels
