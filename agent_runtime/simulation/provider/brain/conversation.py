"""The conversation folded into what is wanted now: an act, what is known for it, and whether the user agreed to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from agent_runtime.simulation.proposal import Message
from agent_runtime.simulation.provider.brain import words
from agent_runtime.simulation.provider.brain.questions import Question, question_in
from agent_runtime.simulation.provider.brain.understanding import Understood, content_words, understand
from agent_runtime.simulation.provider.brain.words import Act

_TALK: Final = frozenset({Act.GREET, Act.THANKS, Act.BYE})
_NOT_THE_USER: Final = (
    "Validation feedback:",
    "Fix the errors and try again",
    "Please include your response in a tool call",
)
_ABOUT_ORDERS: Final = frozenset(
    {Act.STATUS, Act.CANCEL, Act.ORDER_ADDRESS, Act.REFUND, Act.DISCOUNT, Act.RETURN, Act.CANCEL_RETURN}
)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user wants. `said` is all she said about it, the last text last; `agreed` to our question about it."""

    act: Act | None = None
    said: str = ""
    order_id: str | None = None
    item_ids: tuple[str, ...] = ()
    return_id: str | None = None
    sku: str | None = None
    email: str | None = None
    address: str | None = None
    amount_usd: str | None = None
    percent: int | None = None
    reason: str | None = None
    agreed: bool = False
    declined: bool = False
    asked: Question | None = None
    last: Understood = field(default_factory=lambda: understand(""))


def wish_of(messages: Sequence[Message]) -> Wish:
    """Folds the messages, oldest first. Tool results are not read here: they never change what the user wants."""
    wish, asked = Wish(), None
    for message in messages:
        if message.role == "assistant" and message.text and not message.calls:
            asked = question_in(message.text)
            if asked is None:
                wish = Wish(order_id=_only_order(message.text) or wish.order_id)
        elif message.role == "user" and not message.text.startswith(_NOT_THE_USER):
            wish = replace(_heard(wish, understand(message.text), asked), asked=asked)
    return wish


def _only_order(text: str) -> str | None:
    """The order that a reply of ours speaks of, if it is one."""
    numbers = {number for number, _ in words.ORDER_ID.findall(text)}
    return f"LK-{numbers.pop()}" if len(numbers) == 1 else None


def _heard(wish: Wish, told: Understood, asked: Question | None) -> Wish:
    """What is wanted after the user said `told` in answer to `asked`."""
    if asked is None:
        return _new(wish, told)
    if asked.confirms is not None:
        return _confirmed(wish, told, asked)
    if told.act in (None, *_TALK) or told.act is wish.act or _only_answers(told, wish):
        declined = told.no and not (told.order_ids or told.email or told.address or told.act)
        return replace(_merged(wish, told), declined=declined)
    return _new(wish, told)


def _confirmed(wish: Wish, told: Understood, asked: Question) -> Wish:
    about = replace(wish, act=asked.confirms, order_id=asked.order_id or wish.order_id)
    about = replace(about, amount_usd=asked.amount_usd or wish.amount_usd)
    other_order = bool(told.order_ids) and told.order_ids[-1] != about.order_id
    if told.yes and not other_order and told.act in (None, about.act, Act.STATUS, *_TALK):
        return replace(about, agreed=True, declined=False, last=told)
    if other_order and told.act in (None, about.act, Act.STATUS):
        return replace(_merged(replace(about, amount_usd=None, item_ids=()), told), said=told.text)
    if told.act is Act.GREET and not told.no:
        return _new(Wish(), told)
    if told.question and not told.no and told.act in (None, Act.STATUS):  # neither a yes nor a no
        return _asked_back(about, told)
    if told.act in (None, Act.STATUS, *_TALK):
        return replace(about, declined=True, last=told)
    if told.act is about.act and told.no and not _names_more(told):
        return replace(about, declined=True, last=told)
    if told.act is about.act:
        return _merged(replace(about, amount_usd=None), told)
    return _new(replace(wish, order_id=about.order_id), told)


def _asked_back(about: Wish, told: Understood) -> Wish:
    """A question is answered where it is about an order, of the one spoken of unless it names another thing; any other
    has ours asked again."""
    if told.act is None:
        return replace(about, agreed=False, declined=False, last=told)
    asked = _new(about, told)
    return asked if content_words(told.text) else replace(asked, order_id=asked.order_id or about.order_id)


def _names_more(told: Understood) -> bool:
    return bool(told.item_ids or told.amount_usd or words.WHOLE.search(told.text) or " only" in told.text.lower())


def _only_answers(told: Understood, wish: Wish) -> bool:
    """Whether words that could be a wish of their own are the answer to what we asked ("the late one, LK-10231")."""
    if wish.act is None or told.act in (Act.INJECTION, Act.PERSON):
        return False
    if told.act in (Act.STATUS, Act.ACCOUNT):
        return True
    if wish.act in (Act.ORDER_ADDRESS, Act.ADDRESS) and told.act in (Act.ADDRESS, Act.ORDER_ADDRESS):
        return told.address is not None
    return wish.act in (Act.DIAGNOSE, Act.TICKET) and told.act in (Act.DIAGNOSE, Act.HELP)


def _merged(wish: Wish, told: Understood) -> Wish:
    return replace(
        wish,
        said=f"{wish.said}\n{told.text}".strip(),
        order_id=told.order_ids[-1] if told.order_ids else wish.order_id,
        item_ids=told.item_ids or wish.item_ids,
        return_id=told.return_ids[-1] if told.return_ids else wish.return_id,
        sku=told.sku or wish.sku,
        email=told.email or wish.email,
        address=told.address or wish.address,
        amount_usd=told.amount_usd or wish.amount_usd,
        percent=told.percent if told.percent is not None else wish.percent,
        reason=told.reason or wish.reason,
        agreed=False,
        declined=False,
        last=told,
    )


def _new(wish: Wish, told: Understood) -> Wish:
    """A wish of its own. "Cancel it" is about the order spoken of before; an order named by its pieces is not."""
    act = told.act
    if act is None and told.order_ids:
        act = Act.STATUS
    same = wish.order_id if act in _ABOUT_ORDERS and words.PRONOUN.search(told.text) else None
    return _merged(Wish(act=act, order_id=same), told)
