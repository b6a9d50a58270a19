"""Routing by complexity: a name that stands for two models, a cheap one for easy calls and a strong one for the others.

The score is a sum of what can be seen of a call without asking anybody; it is a rule of thumb, and nothing was learned:
it does not know whether the cheap model would have been good enough. Compare the two models' scores in an experiment
before you trust a threshold; the span of a call says what was chosen and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.config import RoutingConfig
from gateway.policies.content_rules import compiled
from gateway.records import Answer, Call, VirtualModel

_MOST_READ: Final = 4_000  # characters at either end of the last user message; of all others only the length counts
_STEPS: Final = compiled(
    r"(?i)\b(?:step[- ]by[- ]step|first\b.{1,200}\bthen|compare|contrast|prove|derive|analy[sz]e|explain why"
    r"|trade-?offs?|pros and cons|design|refactor|debug|optimi[sz]e|plan|strategy|evaluate|critique"
    r"|summari[sz]e .{1,40}\band)\b"
)
_CODE: Final = compiled(
    r"(?m)```|\bdef \w+\(|\bclass \w+[:({]|\bfunction \w*\(|=>|#include|\bSELECT\b.{1,80}\bFROM\b|</\w+>"
    r"|;[ \t]*$|\bTraceback\b"
)
_MATH: Final = compiled(r"\\(?:frac|int|sum)|\b(?:integral|equation|theorem|derivative|probability)\b|[∑∫√≤≥]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Complexity:
    """0 (easy) to 1, and what made it so, the heaviest reason first."""

    score: float
    reasons: tuple[str, ...]


def complexity(body: Mapping[str, Any]) -> Complexity:
    """How complex a chat call looks."""
    messages = [each for each in body.get("messages") or () if isinstance(each, dict)]
    asked = [each for each in messages if each.get("role") == "user"]
    n_characters = sum(_length(each.get("content")) for each in messages)
    text = _text(asked[-1].get("content")) if asked else ""
    read = (text if len(text) <= 2 * _MOST_READ else text[:_MOST_READ] + "\n" + text[-_MOST_READ:]).encode(
        "utf-8", "replace"
    )
    n_tools = len(body.get("tools") or body.get("functions") or ())
    parts = {
        "long": 0.5 * min(1.0, n_characters / 12_000),
        "long_question": 0.25 * min(1.0, len(text) / 2_000),
        "turns": 0.2 * min(1.0, max(0, len(asked) - 1) / 8),
        "tools": (0.15 + 0.15 * min(1.0, n_tools / 8)) if n_tools else 0.0,
        "steps": 0.2 * min(2, len({found.lower() for found in _STEPS.findall(read)})),
        "code": 0.3 if _CODE.search(read) else 0.0,
        "math": 0.2 if _MATH.search(read) else 0.0,
        "questions": 0.1 * min(3, max(0, read.count(b"?") - 1)),
        "structured": 0.15 if _structured(body.get("response_format")) else 0.0,
        "reasoning": 0.5 if body.get("reasoning_effort") in ("medium", "high", "xhigh") else 0.0,
        "not_text": 0.2 if _holds_more_than_text(asked) else 0.0,
    }
    weighed = sorted(((weight, name) for name, weight in parts.items() if weight >= 0.05), reverse=True)
    return Complexity(score=min(1.0, sum(parts.values())), reasons=tuple(name for _, name in weighed))


class Routing:
    """The policy. A call comes with a model of the routed name; what a budget put in its place stays."""

    name = "routing"

    def __init__(self, rules: Mapping[str, RoutingConfig], models: Mapping[str, VirtualModel]) -> None:
        self._rules = rules
        self._models = models

    def before(self, call: Call) -> Answer | None:
        """Chooses; a flag says what, and `call.state` keeps score and reasons."""
        rule = self._rules.get(call.model.name)
        if rule is None:
            return None
        found = complexity(call.body)
        easy = found.score < rule.threshold
        call.model = self._models[rule.simple if easy else rule.complex]
        call.flags.append("routed:simple" if easy else "routed:complex")
        call.state[self.name] = found
        return None

    def after(self, call: Call, answer: Answer) -> None:
        """Nothing."""

    def stream(self, call: Call) -> None:
        """Nothing."""

    def done(self, call: Call) -> None:
        """Nothing is kept."""


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "\n".join(str(part.get("text") or "") for part in parts if isinstance(part, dict))


def _length(content: Any) -> int:
    return len(content) if isinstance(content, str) else len(_text(content))


def _structured(asked: Any) -> bool:
    return isinstance(asked, dict) and asked.get("type") == "json_schema"


def _holds_more_than_text(messages: list[dict[str, Any]]) -> bool:
    contents = [each["content"] for each in messages if isinstance(each.get("content"), list)]
    return any(isinstance(part, dict) and part.get("type") != "text" for content in contents for part in content)
