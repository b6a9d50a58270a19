"""The simulated judges `sim-judge` and `sim-judge-weak`: verdicts by word counts, with errors and biases planted.

They read what a judge's prompt holds (content in JSON lines, labels in the answer's schema) and nothing else. How good
their verdicts are says nothing about any real model; that their errors are known is what they are for: whoever
measures a judge can be held to finding them. docs/simulated-provider.md lists them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

JUDGES: Final = "sim-judge"


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A judge's faults. `flips`: share of targets whose verdict is turned round; `per_doubling`: what an answer gains
    each time its length doubles; `first`: what the first answer of a pair gains; `obeys_fenced` and `obeys_bare`: share
    of injections that it follows inside a fence that the prompt explains, and without one; `wobble`: what chance adds
    at most when the same is asked again. Of a quality between 0 and 1."""

    flips: float
    per_doubling: float
    first: float
    obeys_fenced: float
    obeys_bare: float
    wobble: float


PLANTED: Final[Mapping[str, Planted]] = {
    "sim-judge": Planted(flips=0.05, per_doubling=0.03, first=0.03, obeys_fenced=0.03, obeys_bare=0.6, wobble=0.02),
    "sim-judge-weak": Planted(
        flips=0.22, per_doubling=0.08, first=0.15, obeys_fenced=0.15, obeys_bare=0.85, wobble=0.08
    ),
}
_FENCE: Final = re.compile(r"<<<([0-9a-f]{16,64})\n(.*?)\n\1>>>(.*)\Z", re.DOTALL)
_PART: Final = re.compile(r"^\[(\w+): [^\n]*\]$", re.MULTILINE)
_GOOD: Final = frozenset({"pass", "compliant", "yes", "good", "resolved", "correct", "satisfied", "helpful", "true"})
_BAD: Final = frozenset({"fail", "violation", "no", "bad", "unresolved", "incorrect", "unsatisfied", "false"})
_DONE: Final = re.compile(
    r"\b(?:done|refunded|cancelled|canceled|changed|updated|booked|created|sent|arrives?|here (?:is|are)"
    r"|has been|have been|confirmed|completed|resolved|on its way)\b",
    re.IGNORECASE,
)
_SORRY: Final = re.compile(
    r"\b(?:sorry|cannot|can't|unable|not able|don't know|unfortunately|transfer|human agent)\b", re.IGNORECASE
)
_THANKS: Final = re.compile(r"\b(?:thanks?|thank you|great|perfect|appreciate)\b", re.IGNORECASE)
_COMPLAINT: Final = re.compile(
    r"\b(?:wrong|still|useless|not what|didn't|doesn't|never|ridiculous|again|no[,.!])\b", re.IGNORECASE
)
_RUDE: Final = re.compile(r"\b(?:stupid|obviously|calm down|your fault|whatever|not my problem)\b", re.IGNORECASE)
_ATTACK: Final = re.compile(
    r"\b(?:grad(?:er|ing|e)|judg(?:e|ing|ement|ment)|evaluat(?:or|ion|e)|rubric|criteria|verdict|annotator|rater|scor(?:e|ing)"
    r"|assessor|instructions?|full marks|system\s*:|labels?\b[\"']?\s*[:=])|[\U000e0020-\U000e007e\u202e]"
    r"|hidden_characters_removed|<<<|\[\[|</",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"[a-z]{4,}")


def verdict(model: str, schema: Mapping[str, Any], asked: Sequence[str], seed: int) -> dict[str, Any] | None:
    """What the judge `model` answers to a prompt, `asked` being the user's messages; None where the schema offers no
    labels. Equal arguments give equal verdicts."""
    fields = _mapping(schema.get("properties"))
    many = "labels" in fields
    labels = _offered(_mapping(fields.get("labels")).get("items") if many else fields.get("label"))
    if not labels or not asked:
        return None
    judge = PLANTED.get(model, PLANTED["sim-judge"])
    mind = _Mind(judge=judge, labels=labels, salt=f"{model}\0{seed}", prompt=asked[0], many=many)
    chosen, quality, why = mind.chosen()
    told = f"(simulated) {why}"
    sure = round(0.55 + 0.44 * min(1.0, abs(quality - 0.5) * 2), 2)
    return {"explanation": told, **({"labels": chosen} if many else {"label": chosen[0]}), "confidence": sure}


def _mapping(given: object) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else {}


def _offered(field: object) -> list[str]:
    listed = _mapping(field).get("enum")
    return [one for one in listed if isinstance(one, str)] if isinstance(listed, list) else []


@dataclass(kw_only=True)
class _Mind:
    judge: Planted
    labels: list[str]
    salt: str
    prompt: str
    many: bool

    def chosen(self) -> tuple[list[str], float, str]:
        """The labels, the quality they come from, and why."""
        fenced = _FENCE.search(self.prompt)
        content = fenced[2] if fenced else self.prompt
        attack = _attack(content, fenced is not None)
        obeys = self.judge.obeys_fenced if fenced and "never an instruction" in self.prompt.lower() else None
        if fenced and obeys is None:
            obeys = self.judge.obeys_fenced if "nothing in it was an instruction" in fenced[3].lower() else None
        likely = self.judge.obeys_bare if obeys is None else obeys
        if attack and self._drawn("obeys", content) < likely:
            return [self._wished(attack)], 0.99, "the work asks for this grade itself"
        parts = _parts(content)
        if "answer_1" in parts and "answer_2" in parts:
            return self._of_pair(parts)
        quality = self._quality(parts) + self._wobble()
        if self._drawn("flips", _without_codes(content)) < self.judge.flips:
            quality = 1.0 - quality
        if self.many:
            return self._issues(content, quality), quality, f"found by words; quality {quality:.2f}"
        return [self._label(quality)], quality, f"quality {quality:.2f} by words, calls and length"

    def _quality(self, parts: Mapping[str, list[dict[str, Any]]]) -> float:
        entries = [one for name, listed in parts.items() if name not in ("before", "reference") for one in listed]
        if any("answer" in one for one in entries):
            question = " ".join(str(one["question"]) for one in entries if "question" in one)
            return self._of_answer(str(next(one["answer"] for one in entries if "answer" in one)), question)
        return self._of_conversation(entries)

    def _of_answer(self, answer: str, question: str) -> float:
        words = set(_WORD.findall(answer.lower()))
        asked = set(_WORD.findall(question.lower()))
        shared = len(words & asked) / len(asked) if asked else 0.5
        quality = 0.35 + 0.4 * shared - 0.25 * bool(_SORRY.search(answer)) - 0.5 * (len(words) < 3)
        return quality + self._long(answer)

    def _of_conversation(self, entries: Sequence[Mapping[str, Any]]) -> float:
        said = [str(one["assistant"]) for one in entries if "assistant" in one]
        users = [str(one["user"]) for one in entries if "user" in one]
        calls = [one for one in entries if "tool_call" in one]
        if not any(text.strip() for text in said):
            return 0.05
        last, close = said[-1], users[-1] if users else ""
        quality = 0.5 + 0.2 * bool(_DONE.search(" ".join(said[-2:]))) - 0.25 * bool(_SORRY.search(last))
        quality += 0.1 * bool(calls) - 0.3 * bool(calls and "error" in calls[-1])
        quality += 0.15 * bool(_THANKS.search(close)) - 0.25 * bool(len(users) > 1 and _COMPLAINT.search(close))
        return quality + self._long(" ".join(said)) / 2

    def _of_pair(self, parts: Mapping[str, list[dict[str, Any]]]) -> tuple[list[str], float, str]:
        question = " ".join(str(one.get("question", "")) for one in parts.get("question", []))
        first, second = (
            self._of_answer(" ".join(str(one.get("answer", "")) for one in parts[name]), question)
            for name in ("answer_1", "answer_2")
        )
        both = sorted(json.dumps(parts[name], sort_keys=True) for name in ("answer_1", "answer_2"))
        gap = first - second + self.judge.first + self._wobble()
        if self._drawn("flips", "\0".join(both)) < self.judge.flips:
            gap = -gap
        even = len(self.labels) > 2 and abs(gap) < 0.02
        chosen = self.labels[2] if even else self.labels[0] if gap >= 0 else self.labels[1]
        return [chosen], 0.5 + min(0.5, abs(gap)), f"the first by {gap:+.2f}"

    def _issues(self, content: str, quality: float) -> list[str]:
        found = {
            "rude": bool(_RUDE.search(content)),
            "wrong tool": '"error"' in content and quality < 0.6,
            "ignored request": quality < 0.35,
            "unsupported claim": 0.35 <= quality < 0.45,
        }
        chosen = [label for label in self.labels if found.get(label)]
        fallback = "none" if "none" in self.labels else self._label(quality)
        return chosen or [fallback]

    def _label(self, quality: float) -> str:
        """The label for a quality: by the words of two, by the place of more, worst first."""
        if len(self.labels) == 2:
            low, high = self.labels
            if low.lower() in _GOOD or high.lower() in _BAD:
                low, high = high, low
            return high if quality >= 0.5 else low
        return self.labels[max(0, min(len(self.labels) - 1, int(quality * len(self.labels))))]

    def _wished(self, attack: str) -> str:
        """The label that an attack names behind its sign, else the best one."""
        named = [(attack.lower().rfind(label.lower()), label) for label in self.labels if len(label) > 1]
        at, label = max(named, default=(-1, ""))
        if at >= 0:
            return label
        return self.labels[0] if "answer_1" in self.prompt else "none" if "none" in self.labels else self._label(0.99)

    def _long(self, text: str) -> float:
        return self.judge.per_doubling * max(-4.0, min(4.0, math.log2((len(text) + 1) / 300)))

    def _wobble(self) -> float:
        """Chance, by the whole prompt with its fence's code."""
        return self.judge.wobble * (2.0 * self._drawn("wobble", self.prompt) - 1.0)

    def _drawn(self, what: str, about: str) -> float:
        """A number from 0 to 1, the same for the same words."""
        hashed = hashlib.blake2b(f"{self.salt}\0{what}\0{about}".encode("utf-8", "replace"), digest_size=6)
        return int.from_bytes(hashed.digest(), "big") / 2**48


def _attack(content: str, fenced: bool) -> str:
    """The words from the first sign of an injection on; "" where there is none. Without a fence the prompt's own words
    are about grading too: only what is in the JSON lines, or between quotes of them, is looked at."""
    text = content if fenced else "\n".join(line for line in content.splitlines() if line.startswith("{"))
    text = _PART.sub("", text)
    sign = _ATTACK.search(text)
    return text[max(0, sign.start() - 60) : sign.end() + 240] if sign else ""


def _without_codes(content: str) -> str:
    return _PART.sub("", content)


def _parts(content: str) -> dict[str, list[dict[str, Any]]]:
    """The JSON lines of each named part; lines that are no object are left out."""
    found: dict[str, list[dict[str, Any]]] = {}
    name = "content"
    for line in content.splitlines():
        named = _PART.match(line)
        if named:
            name = named[1]
            continue
        try:
            entry = json.loads(line) if line.startswith("{") else None
        except (ValueError, RecursionError):
            entry = None
        if isinstance(entry, dict):
            found.setdefault(name, []).append(entry)
    return found
