"""Confirmation of irreversible actions, held outside the prompt.

A call passes when the agent's last message asked about that very action (its verb, its order, its amount) and the
user's answer to it is an explicit yes without a condition.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
_NOT_SO: Final = re.compile(
    r"\b(?:no|not|don'?t|doesn'?t|isn'?t|won'?t|never|wait|stop|hold on|but|except|unless|only if|instead|rather"
    r"|first)\b",
    re.IGNORECASE,
)
_MONEY: Final = re.compile(r"\$\s?(\d[\d,]*(?:\.\d{1,2})?)")


def says_yes(text: str) -> bool:
    """Whether a message is an explicit, unconditional yes ("no problem, go ahead" is not: better ask again)."""
    return bool(_YES.search(text)) and not _NOT_SO.search(text)


def asks_about(question: str, tool: Tool, args: Mapping[str, Any]) -> bool:
    """Whether an agent's message asked the user about this very call."""
    low = question.lower()
    if "?" not in question or not any(word in low for word in tool.asks):
        return False
    if "order_id" in args and str(args["order_id"]).lower() not in low:
        return False
    amount = money(args)
    named = {Decimal(found.replace(",", "")) for found in _MONEY.findall(question)}
    return amount is None or amount in named


def is_confirmed(tool: Tool, args: Mapping[str, Any], transcript: Sequence[MessageText], text: str) -> bool:
    """Whether the last exchange confirms the call: `transcript` ends before `text`, the user's message."""
    question = next((m.text for m in reversed(transcript) if m.role == "assistant"), "")
    return asks_about(question, tool, args) and says_yes(text)


class Confirmation:
    """The action guardrail `action.confirmation`; the runtime always has it, whatever others it is given."""

    name = "confirmation"
    stage = Stage.ACTION

    def check(self, asked: Check) -> Verdict:
        """Blocks an irreversible call that the user has not confirmed."""
        tool = TOOLS.get(asked.tool or "")
        if tool is None or tool.risk is not Risk.IRREVERSIBLE or not asked.parameters.require_confirmation:
            return Verdict()
        if is_confirmed(tool, asked.args, asked.transcript, asked.given.text):
            return Verdict(reason="the user said yes to this action")
        return Verdict(decision=Decision.BLOCK, reason="not confirmed")
