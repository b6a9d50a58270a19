"""Signs that a text wants to command the model: patterns over a normalised text, no model.

A *command* (override the instructions, a change of mode, the model's own prompt, markers of a chat template) blocks a
message. A *claim* (somebody promised, a staff code, somebody else's account, role play) is only flagged: honest
customers say such things too, and what they could gain is held by the tools' caps, scopes and confirmations.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from agent_runtime.records import Decision
from agent_runtime.seams import Check, Stage, Verdict

_HIDDEN: Final = dict.fromkeys(
    [*range(0x200B, 0x2010), *range(0x202A, 0x202F), 0x2060, 0xFEFF, 0x00AD, *range(0xE0000, 0xE0080)]
)
_RULES: Final = (
    r"(?:instructions?|prompts?|rules?|polic(?:y|ies)|guidelines?|restrictions?|directives?|programming|safeguards?)"
)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE | re.VERBOSE)


COMMANDS: Final[dict[str, re.Pattern[str]]] = {
    "override": _pattern(
        rf"\b(?:ignor(?:e|ing)|disregard(?:ing)?|forget|overrid(?:e|ing)|bypass(?:ing)?|neglect|drop|skip)\b"
        rf"(?:\s+(?!about\b)\S+){{0,4}}?\s+(?:previous|prior|above|earlier|preceding|all|any|your|these|those|system)"
        rf"(?:\s+\S+){{0,3}}?\s+{_RULES}\b"
        rf"|\b(?:ignore|disregard|override|bypass)\s+(?:the\s+)?(?:system|safety|content|polic\w+)\b"
        rf"|\b(?:ignore|disregard|forget)\s+(?:all|everything)\s+(?:above|before|you\s+(?:were|have\s+been)\s+told)"
    ),
    "new_instructions": _pattern(
        r"\b(?:your|the)\s+new\s+(?:instructions?|rules?|task|role|goal)\s+(?:is|are)\b"
        r"|\bnew\s+(?:system\s+)?instructions?\s*:"
        r"|\bfrom\s+now\s+on,?\s+you\s+(?:are|must|will|shall)\b"
        r"|\byou\s+are\s+now\s+(?:in\s+)?(?:an?\s+)?(?:\w+\s+)?(?:mode|dan|unrestricted|uncensored|jailbroken|admin\w*"
        r"|root|assistant|model|ai|bot)\b"
    ),
    "mode": _pattern(
        r"\b(?:developer|god|jailbreak|unrestricted|uncensored|dan|sudo)\s+mode\b"
        r"|\b(?:enable|enter|activate|switch\s+to)\s+(?:admin|debug|root|maintenance|test)\w*\s+mode\b"
        r"|\bsystem\s+override\b|\bjailbreak"
        r"|\b(?:disable|turn\s+off|lift|remove|without)\s+(?:all\s+|any\s+|your\s+|the\s+)?(?:\w+\s+)?"
        r"(?:restrictions|safeguards|guardrails|filters|safety\s+checks)\b"
    ),
    "prompt": _pattern(
        r"\b(?:reveal|show|print|repeat|output|display|leak|tell\s+me|give\s+me|what\s+(?:is|are|was|were))\b"
        r"(?:\s+\S+){0,4}?\s+(?:(?:system|initial|original|hidden|secret|developer)\s+(?:prompt|instructions?|message)"
        r"|your\s+prompt)\b"
        r"|\b(?:reveal|print|repeat|output|leak)\s+(?:me\s+)?(?:all\s+)?(?:of\s+)?your\s+(?:instructions|rules)\b"
        r"|\brepeat\s+(?:the|all|everything|every)\s+(?:\w+\s+){0,2}above\b"
    ),
    "markers": _pattern(
        r"<\|\s*(?:im_start|im_end|system|user|assistant|endoftext)[^>]{0,20}\|?>|\[/?INST\]|<</?SYS>>"
        r"|</?\s*(?:system|instructions?)\s*>|\[\s*(?:system|admin|developer)(?:\s+\w+)?\s*\]"
        r"|^\s*\#{2,}\s*(?:system|instructions?)\b"
    ),
}
CLAIMS: Final[dict[str, re.Pattern[str]]] = {
    "authority": _pattern(
        r"\b(?:manager|supervisor|boss|ceo|director|colleague|representative|employee|agent|works?\s+for\s+you)\b"
        r".{0,40}\b(?:approved|promised|authori[sz]ed|agreed|allowed|told\s+me|said\s+(?:i|it)|gave\s+me)\b"
        r"|\bstaff\s+(?:code|discount)|\bemployee\s+(?:id|code|discount)|\b(?:was|were|been)\s+promised\b"
        r"|\bthey\s+(?:told|promised)\s+me\b"
    ),
    "someone_else": _pattern(
        r"\b(?:another|other|different)\s+(?:customer|user|person|client)s?\b"
        r"|\bsomeone\s+else'?s\b|\b(?:wife|husband|friend|mother|father|partner)'?s\s+(?:account|order|booking|address)\b"
        r"|\ball\s+(?:the\s+|your\s+)?(?:customers|users)\b"
    ),
    "role_play": _pattern(
        r"\bpretend\s+(?:to\s+be|you|that\s+you)|\brole-?\s?play|\bact\s+as\s+(?:if\s+you|an?\s+(?:admin\w*|root"
        r"|developer|unrestricted))|\bhypothetically\b.{0,60}\byou\b"
    ),
    "internals": _pattern(
        r"\binternal(?:ly)?\b.{0,30}\b(?:procedures?|process(?:es)?|happens?|rules?|limits?|thresholds?)\b"
        r"|\bhow\s+do\s+(?:supervisors?|managers?)\s+decide|^\s*(?:system|developer|admin)\s*:"
    ),
}


def normalised(text: str) -> str:
    """A text as patterns see it: compatibility forms folded, hidden characters gone, straight quotes, single spaces."""
    plain = unicodedata.normalize("NFKC", text).translate(_HIDDEN).replace("’", "'")
    return re.sub(r"[ \t\r\f\v]+", " ", plain)


def signs(text: str) -> list[str]:
    """The names of the commands found in a text."""
    plain = normalised(text)
    return [name for name, pattern in COMMANDS.items() if pattern.search(plain)]


def claims(text: str) -> list[str]:
    """The names of the claims found in a text."""
    plain = normalised(text)
    return [name for name, pattern in CLAIMS.items() if pattern.search(plain)]


class Injection:
    """`input.injection`: blocks commands, flags claims."""

    name = "injection"
    stage = Stage.INPUT

    def check(self, asked: Check) -> Verdict:
        """Decides on the user's message."""
        found = signs(asked.text)
        if found:
            said = "I can't follow instructions about how I work. I'm glad to help with your orders, account or gear."
            return Verdict(decision=Decision.BLOCK, reason=", ".join(found), text=said)
        weak = claims(asked.text)
        return Verdict(decision=Decision.FLAG, reason=", ".join(weak)) if weak else Verdict()


class ActionInjection:
    """`action.injection`: blocks writes whose arguments, or what the turn has read, carry commands to the model.

    Documents and tool results are other people's text; an order in them is not the user's.
    """

    name = "injection"
    stage = Stage.ACTION

    def check(self, asked: Check) -> Verdict:
        """Decides on a call."""
        if asked.tool is None or asked.tool.startswith(("find_", "get_", "search_", "run_")):
            return Verdict()
        texts = [*_texts(asked.args), *(f"{d.title} {d.text}" for d in asked.documents)]
        for outcome in asked.outcomes:
            texts += _texts(outcome.result)
        found = sorted({sign for text in texts for sign in signs(text)})
        if not found:
            return Verdict()
        return Verdict(decision=Decision.BLOCK, reason=f"what was read carries instructions ({', '.join(found)})")


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list | tuple):
        return [text for each in value for text in _texts(each)]
    return []
