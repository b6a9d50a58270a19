"""Signs that a text wants to command the model: patterns over a normalised text, no model.

A *command* (override the instructions, a change of mode, the model's own prompt, markers of a chat template) blocks a
message. A *claim* (somebody promised, a staff code, somebody else's account, role play) is only flagged: honest
customers say such things too, and what they could gain is held by the tools' caps, scopes and confirmations.

Commands to forget the instructions are known in eleven languages and inside base64. Other wordings, spelt-out or
swapped letters and other languages are not: patterns find what they were written for.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from agent_runtime.records import Decision
from agent_runtime.seams import Check, Stage, Verdict
from agent_runtime.tools.confirm import was_agreed
from agent_runtime.tools.table import TOOLS

_HIDDEN: Final = frozenset("\u034f\u115f\u1160\u3164\uffa0")  # nothing is seen of them, though they are letters
# Letters of other scripts, and the Latin ones that they look like.
_ALIKE: Final = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u04bb\u04cf\u03b1\u03bf\u03c1\u03bd\u03b9\u03ba\u03c4",
    "aeopcyxijsdhlaopvikt",
)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_RULES: Final = (
    r"(?:instructions?|prompts?|rules?|polic(?:y|ies)|guidelines?|restrictions?|directives?|programming|safeguards?)"
)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE | re.VERBOSE)


# "Ignore the instructions": German, Dutch, French; Spanish, Portuguese, Italian; Chinese, Japanese, Korean; Russian.
_ELSEWHERE: Final = (
    r"\b(?:ignoriere?n?|vergiss|missachte|negeer|vergeet)\b(?:\s+\S+){0,4}?\s+(?:anweisung\w*|instruktion\w*|vorgaben"
    r"|regeln|instructies|regels)\b"
    r"|\b(?:ignore|oublie)[sz]?\s+(?:(?:toutes?|tes)\b(?:\s+\S+){0,3}?\s+(?:instructions|consignes|r[eè]gles)"
    r"|les\s+(?:instructions|consignes|r[eè]gles)\s+(?:pr[eé]c[eé]dentes|ci-dessus))\b"
    r"|\b(?:ignor[ae]d?|olvid[ae]d?|esque[cç]a|dimentica)\b(?:\s+\S+){0,2}?\s+(?:todas?|tus|suas|tutte|tue)\b"
    r"(?:\s+\S+){0,2}?\s+(?:instrucciones|reglas|instru[cç][oõ]es|regras|istruzioni|regole)\b"
    r"|(?:忽略|无视|無視|忘记|忘記).{0,12}(?:指令|指示|规则|規則|提示)|(?:指示|命令|ルール).{0,6}(?:無視|忘れて)"
    r"|(?:지시|명령|규칙).{0,8}(?:무시|잊어)"
    r"|\b(?:игнорируй\w*|забудь\w*)(?:\s+\S+){0,4}?\s+(?:инструкци\w*|указани\w*|правил\w*)"
)

COMMANDS: Final[dict[str, re.Pattern[str]]] = {
    "override_elsewhere": _pattern(_ELSEWHERE),
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
    plain = unicodedata.normalize("NFKC", text)
    if not plain.isascii():
        plain = "".join(char for char in plain if not _is_hidden(char)).replace("’", "'")
    return re.sub(r"[ \t\r\f\v]+", " ", plain)


def _is_hidden(char: str) -> bool:
    return char in _HIDDEN or unicodedata.category(char) in ("Cf", "Mn", "Me")


def _readings(text: str) -> list[str]:
    """A text and what else a model may read in it: look-alikes as Latin letters, base64 as what it says."""
    plain = normalised(text)
    found = [plain] if plain.isascii() else [plain, _latin(plain)]
    for piece in _BASE64.findall(plain):
        try:
            said = base64.b64decode(piece + "=" * (-len(piece) % 4), altchars=b"-_" if {*"-_"} & {*piece} else None)
            found.append(normalised(said.decode()))
        except (binascii.Error, UnicodeDecodeError):
            continue  # a long word
    return found


def _latin(plain: str) -> str:
    """Lower case, without accents, look-alikes as the letters that they look like."""
    bare = unicodedata.normalize("NFKD", plain.lower())
    return "".join(char for char in bare if not unicodedata.combining(char)).translate(_ALIKE)


def signs(text: str) -> list[str]:
    """The names of the commands found in a text."""
    readings = _readings(text)
    return [name for name, pattern in COMMANDS.items() if any(map(pattern.search, readings))]


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
    """`action.injection`: blocks writes whose arguments carry commands to the model; where the session has read such,
    every write needs the user's own yes to a question that named it.

    Documents and tool results are other people's text; an order in them is not the user's. A person may always be
    called.
    """

    name = "injection"
    stage = Stage.ACTION

    def check(self, asked: Check) -> Verdict:
        """Decides on a call."""
        if asked.tool is None or asked.tool.startswith(("find_", "get_", "search_", "run_")):
            return Verdict()
        found = _found(_texts(asked.args))
        if found:
            return Verdict(decision=Decision.BLOCK, reason=f"the arguments carry instructions ({found})")
        texts = [f"{d.title} {d.text}" for d in asked.documents]
        texts += [earlier.text for earlier in asked.transcript if earlier.role == "tool"]
        for outcome in asked.outcomes:
            texts += _texts(outcome.result)
        found = _found(texts)
        if not found:
            return Verdict()
        why = f"what was read carries instructions ({found})"
        if asked.tool == "escalate":
            return Verdict(decision=Decision.FLAG, reason=f"{why}; a person may always be called")
        if was_agreed(TOOLS[asked.tool], asked.args, asked.transcript, asked.given.text):
            return Verdict(decision=Decision.FLAG, reason=f"{why}; the user said yes to this very action")
        again = "ask the user about this very action, and do it after a plain yes"
        return Verdict(decision=Decision.BLOCK, reason=f"{why}; {again}")


def _found(texts: Iterable[str]) -> str:
    return ", ".join(sorted({sign for text in texts for sign in signs(text)}))


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list | tuple):
        return [text for each in value for text in _texts(each)]
    return []
