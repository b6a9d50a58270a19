"""Personal data: what the shop does not need is taken out of a message, what was not asked for in a reply is flagged.

Card and bank numbers are known by their check digits. E-mail and street addresses stay: they are what customers
change here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from agent_runtime.records import Decision
from agent_runtime.seams import Check, Stage, Verdict

_BETWEEN: Final = r"[ \-\u00a0\u00ad\u2009-\u2013\u200b-\u200d\u202f\u2060\ufeff]?"  # spaces, dashes, unseen ones
_CARD: Final = re.compile(rf"(?<![\w-])\d(?:{_BETWEEN}\d){{12,18}}(?![\w-])")
_SSN: Final = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
_IBAN: Final = re.compile(
    r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b|\b[a-z]{2}\d{2}(?: ?\d{4}){2,7}(?: ?\d{1,3})?\b"
)
_SECRET: Final = re.compile(r"\b(pass ?word|passcode|pin|cvv|cvc)(\s*(?:is|:|=)\s*)([^\s,;]+)", re.IGNORECASE)
_EMAIL: Final = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}")
_OURS: Final = "larkspur.example"


def is_card(text: str) -> bool:
    """Whether digits, with spaces or dashes, pass Luhn's check."""
    digits = [int(char) for char in text if char.isdigit()]
    doubled = (digit if at % 2 == 0 else sum(divmod(2 * digit, 10)) for at, digit in enumerate(reversed(digits)))
    return 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0 and len(set(digits)) > 1


def is_iban(text: str) -> bool:
    """Whether a bank account number passes its check (ISO 7064, mod 97-10)."""
    plain = text.replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def without_secrets(text: str) -> tuple[str, list[str]]:
    """A text with card, bank and social security numbers and passwords taken out, and the kinds that were."""
    kinds: list[str] = []

    def put(kind: str, found: re.Match[str], is_one: bool) -> str:
        if not is_one:
            return found[0]
        kinds.append(kind)
        return f"[{kind} removed]"

    text = _CARD.sub(lambda m: put("card number", m, is_card(m[0])), text)
    text = _IBAN.sub(lambda m: put("bank account", m, is_iban(m[0])), text)
    text = _SSN.sub(lambda m: put("social security number", m, True), text)
    text = _SECRET.sub(lambda m: f"{m[1]}{m[2]}" + put("secret", m, any(c.isdigit() for c in m[3])), text)
    return text, kinds


class Pii:
    """`input.pii`: takes numbers and passwords out that nobody here may know."""

    name = "pii"
    stage = Stage.INPUT

    def check(self, asked: Check) -> Verdict:
        """Rewrites the user's message where it has some."""
        text, kinds = without_secrets(asked.text)
        if not kinds:
            return Verdict()
        return Verdict(decision=Decision.REWRITE, reason=", ".join(dict.fromkeys(kinds)), text=text)


@dataclass(frozen=True, kw_only=True)
class Leak:
    """`output.pii`: e-mail addresses that neither the user nor a tool of this turn has named, and card numbers.

    Flags by default, so that what a model leaks can be seen and scored; with `mask` it is taken out.
    """

    mask: bool = False
    name: str = "pii"
    stage: Stage = Stage.OUTPUT

    def check(self, asked: Check) -> Verdict:
        """Decides on a reply."""
        foreign = self._foreign(asked)
        text, kinds = without_secrets(asked.text)
        if not foreign and not kinds:
            return Verdict()
        reason = ", ".join([*dict.fromkeys(kinds), *["e-mail address"] * bool(foreign)])
        if not self.mask:
            return Verdict(decision=Decision.FLAG, reason=reason)
        for email in foreign:
            text = text.replace(email, "[e-mail address removed]")
        return Verdict(decision=Decision.REWRITE, reason=reason, text=text)

    def _foreign(self, asked: Check) -> list[str]:
        known = " ".join(
            [asked.given.text, *(m.text for m in asked.transcript), *(d.text for d in asked.documents)]
            + [json.dumps(outcome.result, default=str) for outcome in asked.outcomes]
        ).lower()
        found = dict.fromkeys(_EMAIL.findall(asked.text))
        return [email for email in found if email.lower() not in known and not email.lower().endswith(_OURS)]
