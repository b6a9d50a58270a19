"""Whether a message is the shop's business. Trades of others are blocked, what has no word of ours is flagged."""

from __future__ import annotations

import re
from typing import Final

from agent_runtime.records import Decision
from agent_runtime.retrieval.words import terms
from agent_runtime.seams import Check, Stage, Verdict

# What is asked of a general assistant: none of it can be meant for a shop for outdoor gear.
_OTHER_TRADES: Final = re.compile(
    r"\b(?:write|compose|draft)\s+(?:me\s+)?(?:a|an|my|some)\s+(?:\w+\s+){0,2}(?:poem|song|essay|story|sonnet|script"
    r"|program|function|code|homework|thesis|cover letter)\b"
    r"|\b(?:python|javascript|java|sql|regex|bash)\s+(?:code|script|function|program|query)\b"
    r"|\b(?:medical|legal|tax|investment|financial)\s+advice\b|\bwhich\s+(?:stocks?|shares|crypto\w*)\b"
    r"|\bwho\s+should\s+i\s+vote\b|\b(?:build|make)\s+(?:a\s+)?(?:bomb|weapon|explosives?)\b"
    r"|\bsolve\s+(?:this|the|my)\s+(?:equation|integral|homework)\b|\btranslate\s+(?:this|the following)\b",
    re.IGNORECASE,
)
_OURS: Final = frozenset(
    terms(
        "order orders parcel package delivery deliver delivered shipping ship shipped address return returns refund "
        "money payment pay paid card gift discount coupon price match cancel account email mail password login sign "
        "close warranty repair ticket broken defect product item items gear tent stove headlamp lamp watch filter "
        "jacket boots backpack pack sleeping bag chair store shop policy policies rules points loyalty trail rental "
        "rent exchange size colour color stock help person human agent support customer duties international privacy "
        "data final sale bulk group quote damaged late cost free invoice receipt tracking status bought purchase "
        "battery charge pair sync clean wash gps water lost missing wrong arrive where"
    )
)
_SHORT: Final = 2  # words: an answer to a question of ours


class Scope:
    """`input.scope`: blocks other trades, flags a first message without a word of the shop."""

    name = "scope"
    stage = Stage.INPUT

    def check(self, asked: Check) -> Verdict:
        """Decides on the user's message."""
        words = set(terms(asked.text))
        about_us = bool(words & _OURS) or bool(re.search(r"\b(?:LK|RT|TK|GEAR)-\w+", asked.text))
        if _OTHER_TRADES.search(asked.text) and not re.search(r"\b(?:LK|RT|TK|GEAR)-\w+", asked.text):
            said = "I only help with Larkspur: orders, refunds, your account, gear and our policies."
            return Verdict(decision=Decision.BLOCK, reason="another trade", text=said)
        if about_us or asked.transcript or len(words) <= _SHORT:
            return Verdict()
        return Verdict(decision=Decision.FLAG, reason="no word of the shop")
