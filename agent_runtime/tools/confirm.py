"""Confirmation of irreversible actions, held outside the prompt.

A call passes when the agent's last message asked about that very action (its verb, its order, its amount), the user's
answer to it is an explicit yes without a condition, and the turn has not done it already.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from agent_runtime.records import Decision, Risk
from agent_runtime.seams import Check, MessageText, Stage, Verdict
from agent_runtime.tools.table import TOOLS, Tool, money

_YES: Final = re.compile(
    r"^\W*(?:(?:oh|well|uh+m?|hm+|ok|okay|great|perfect|thanks|thank you)\W+)*"
    r"(?:yes|yeah|yep|yup|ya|sure|correct|right|exactly|confirm(?:ed)?|i confirm|i agree|agreed|absolutely|definitely"
    r"|please do|go ahead|do it|go for it|that'?s (?:right|correct|fine)|sounds good|ok|okay|sí|si|oui|ja)\b"
    r"|\b(?:i confirm|go ahead|please proceed)\b",
    re.IGNORECASE,
)
_CLEARLY: Final = re.compile(
    r"\b(?:yes|yeah|yep|yup|confirm(?:ed)?|agreed?|go ahead|please do|do it|sí|oui|ja)\b", re.I
)
_NOT_SO: Final = re.compile(
    r"\b(?:no|not|don'?t|doesn'?t|isn'?t|won'?t|can'?t|cannot|never|wait|stop|hold on|but|except|unless|instead|rather"
    r"|first|if|as long as|provided|assuming|until|once|later|nicht|kein\w*|aber|warte\w*|wenn|pas|mais|attend\w*"
    r"|pero|espera\w*|todavía|cuando)\b",
    re.IGNORECASE,
)
_MONEY: Final = re.compile(r"\$\s?(\d[\d,]*(?:\.\d{1,2})?)")
_ORDER: Final = re.compile(r"\bLK-\d+\b", re.I)
_FREE: Final = frozenset({"reason", "summary", "priority", "item_ids"})  # of a call; no question quotes them
_SENTENCE: Final = re.compile(r"[^.!?\n]*(?:\.(?=\d)[^.!?\n]*)*(?:[.!?\n]+|$)")


def says_yes(text: str) -> bool:
    """Whether a message is an explicit, unconditional yes ("no problem, go ahead" is not: better ask again).

    A question is one only beside a clear word: "yes, when do I get it?", but not "ok, when would I get it?".
    """
    plain = text.replace("\u2019", "'")
    if not _YES.search(plain) or _NOT_SO.search(plain):
        return False
    return "?" not in plain or bool(_CLEARLY.search(plain))


def asks_about(question: str, tool: Tool, args: Mapping[str, Any]) -> bool:
    """Whether an agent's message asked the user about this very call.

    It is about the orders and amounts of the sentences that ask; where these name none, about all that it names.
    """
    low = question.lower()
    asking = " ".join(each for each in _SENTENCE.findall(question) if "?" in each)
    if not asking or not any(word in low for word in tool.asks):
        return False
    order = args.get("order_id")
    if order is None:
        return tool.name.partition("_")[2] in low  # close_account: "Shall I close this ticket?" is another matter
    amount = money(args)
    return _names(_ORDER, asking, question, lambda found: found.upper() == order) and (
        amount is None or _names(_MONEY, asking, question, lambda found: Decimal(found.replace(",", "")) == amount)
    )


def _names(pattern: re.Pattern[str], asking: str, question: str, meant: Callable[[str], bool]) -> bool:
    return any(map(meant, pattern.findall(asking) or pattern.findall(question)))


def is_confirmed(tool: Tool, args: Mapping[str, Any], transcript: Sequence[MessageText], text: str) -> bool:
    """Whether the last exchange confirms the call: `transcript` ends before `text`, the user's message."""
    return asks_about(_last_asked(transcript), tool, args) and says_yes(text)


def was_agreed(tool: Tool, args: Mapping[str, Any], transcript: Sequence[MessageText], text: str) -> bool:
    """As `is_confirmed`, also for writes that need no yes of themselves: the question has to ask for what the tool is
    named after, and to name every id, address and figure of the call."""
    if tool.asks:
        return is_confirmed(tool, args, transcript, text)
    low = _last_asked(transcript).lower()
    named = [str(value).lower() for name, value in args.items() if name not in _FREE]
    about = tool.name.partition("_")[2] in low.replace("e-mail", "email")
    return "?" in low and about and all(value in low for value in named) and says_yes(text)


def _last_asked(transcript: Sequence[MessageText]) -> str:
    return next((m.text for m in reversed(transcript) if m.role == "assistant"), "")


def _is_done(asked: Check) -> bool:
    """Whether the turn has done this already: the same action on the same order for the same amount."""
    return any(
        each.tool == asked.tool
        and not {"refused", "error"} & each.result.keys()
        and each.args.get("order_id") == asked.args.get("order_id")
        and money(each.args) == money(asked.args)
        for each in asked.outcomes
    )


class Confirmation:
    """The action guardrail `action.confirmation`; the runtime always has it, whatever others it is given."""

    name = "confirmation"
    stage = Stage.ACTION

    def check(self, asked: Check) -> Verdict:
        """Blocks an irreversible call that the user has not confirmed."""
        tool = TOOLS.get(asked.tool or "")
        if tool is None or tool.risk is not Risk.IRREVERSIBLE or not asked.parameters.require_confirmation:
            return Verdict()
        if _is_done(asked):
            return Verdict(decision=Decision.BLOCK, reason="done already: one yes is for one action")
        if is_confirmed(tool, asked.args, asked.transcript, asked.given.text):
            return Verdict(reason="the user said yes to this action")
        return Verdict(decision=Decision.BLOCK, reason="not confirmed")
