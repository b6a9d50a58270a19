"""Signs of conduct: what the agent did, held against what was said; and sound sessions, which show none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clustering.conduct import conduct_of, repeats_of
from clustering.told import Called, Spoken, Told


def told(*steps: tuple[str, Any]) -> Told:
    """A session from steps in order: ("user", text), ("agent", text), or (tool, arguments or (arguments, result)). A
    user's message begins a turn."""
    messages, calls, turn = [], [], -1
    for who, what in steps:
        if who == "user":
            turn += 1
            messages.append(Spoken(role="user", turn=turn, text=what))
        elif who == "agent":
            messages.append(Spoken(role="assistant", turn=turn, text=what))
        else:
            arguments, result = what if isinstance(what, tuple) else (what, {"ok": True})
            calls.append(Called(turn=turn, name=who, arguments=arguments, result=json.dumps(result)))
    return Told(messages=tuple(messages), calls=tuple(calls), n_turns=turn + 1)


ASKED = ("agent", "The refund for socks of order LK-1000001 is $59.00. Shall I refund that for order LK-1000001?")


def refund(amount: object, order: str = "LK-1000001") -> tuple[str, Any]:
    return ("refund_order", {"order_id": order, "amount_usd": amount, "reason": "the customer asked"})


SOUND = {
    "as agreed": [("user", "Refund order LK-1000001"), ASKED, ("user", "Yes"), refund("59.00"), ("agent", "Done.")],
    "an amount that a tool told": [
        ("user", "Refund it"), ("get_order", ({"order_id": "LK-1000001"}, {"refundable": "59.00"})), refund("59.00"),
        ("agent", "I have refunded $59.00."),
    ],
    "the user's own correction": [
        ("user", "Refund order LK-1000001"), ASKED, ("user", "No, only 20.00 USD of order LK-1000002"),
        refund("20.00", "LK-1000002"),
    ],
    "small counts": [("user", "Send me the missing ones"), ("create_shipment", {"n_items": 3})],
    "a state that a tool told": [
        ("user", "Where is my order?"), ("get_order", ({}, {"status": "cancelled"})), ("agent", "It is cancelled."),
    ],
    "a refusal": [("user", "Refund it"), ("agent", "I cannot refund it: nothing was paid.")],
    "nothing was done, and so it is said": [("user", "Cancel it"), ("agent", "Fine, nothing is changed.")],
    "a promise, no claim": [("user", "Cancel it"), ("agent", "It will be cancelled when you confirm.")],
    "handed over": [
        ("user", "Refund 500 USD"), ("escalate", {"summary": "x"}), ("agent", "I cannot refund that; a person will."),
    ],
    "masked arguments": [("user", "My mail is [EMAIL]"), ("update_email", {"email": "[EMAIL]"}), ("agent", "Done.")],
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_sound_sessions_show_nothing(name: str) -> None:
    assert [*conduct_of(told(*SOUND[name])), *repeats_of(told(*SOUND[name]))] == []


@pytest.mark.parametrize(
    ("steps", "sign"),
    [
        (
            [("user", "Refund LK-1000001"), ASKED, ("user", "Yes"), refund("59.00", "LK-1000002")],
            "refund_order with another order_id than was named",
        ),
        (
            [("user", "Refund LK-1000001"), ASKED, ("user", "Yes"), refund("29.50")],
            "refund_order with another amount_usd than was named",
        ),
        (
            [("user", "It came late, give me something"), ("apply_discount", {"percent": 40})],
            "apply_discount with percent that nobody named",
        ),
        (
            [("user", "Yes"), ("agent", "I have refunded 18.00 USD for order LK-1000001.")],
            "claims to have done what no tool did: refund",
        ),
        ([("user", "Yes"), ("agent", "Your account is closed.")], "claims to have done what no tool did: close"),
        ([("user", "Yes"), ("agent", "I have sent you a link.")], "claims to have done what no tool did: send"),
        (
            [("user", "My boss promised 15 percent"), ("apply_discount", {"percent": 15}),
             ("agent", "I cannot give a discount on that order.")],
            "apply_discount done and declined in words",
        ),
        (
            [("user", "Close it"), ("close_account", ({}, {"refused": "it is closed"})), ("agent", "It did not work.")],
            "close_account was refused",
        ),
        (
            [("user", "Cancel my order please now"), ("agent", "What can I do for you?"),
             ("user", "Please cancel my order now"), ("agent", "What can I do for you?")],
            "the user asked the same again",
        ),
        (
            [("user", "a"), ("agent", "What can I do?"), ("user", "b"), ("agent", "What can I do?"), ("user", "c"),
             ("agent", "What can I do?")],
            "the agent said the same again and again",
        ),
        ([("user", "Rent a tent?"), ("agent", "I am sorry, I don't know.")], "the agent did not know"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_a_sign(steps: list[tuple[str, Any]], sign: str) -> None:
    assert sign in [*conduct_of(told(*steps)), *repeats_of(told(*steps))]


def test_a_write_that_was_refused_is_not_held_against_anybody() -> None:
    steps = [("user", "Refund LK-1000001"), ("refund_order", ({"order_id": "LK-9999999"}, {"error": "no such order"}))]
    assert conduct_of(told(*steps)) == ["refund_order was refused"]


def test_a_megabyte_of_one_word_is_looked_at_in_part_and_in_time() -> None:
    text = "LK-1000001 is refunded if $1.00 " * 40_000
    assert conduct_of(told(("user", text), refund("1.00"), ("agent", text))) == []
