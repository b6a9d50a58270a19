"""Reads the thought that a model writes beside its tool calls; what is missing stays missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_THOUGHT: Final = re.compile(
    r"^\s*Thought:\s*(?P<text>.*?)\s*(?:\((?P<more>[^()]*)\))?\s*$", re.IGNORECASE | re.MULTILINE
)
_CONFIDENCE: Final = re.compile(r"confidence\s*[:=]?\s*(\d+(?:\.\d+)?)\s*(%?)", re.IGNORECASE)
_ALTERNATIVES: Final = re.compile(r"alternatives?\s*[:=]?\s*([^;()]+)", re.IGNORECASE)
_MOST: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Thought:
    """`confidence` is 0..1, None when the model gave none."""

    text: str = ""
    confidence: float | None = None
    alternatives: tuple[str, ...] = ()


def read_thought(text: str, *, marked: bool = False) -> Thought:
    """Gives what can be read of `Thought: ... (confidence 0.83; alternatives: a, b)`.

    Other text is a thought, too, unless it has to be `marked`.
    """
    found = _THOUGHT.search(text[: 4 * _MOST])
    if marked and not found:
        return Thought()
    said = found["text"] if found else text.strip()
    more = (found["more"] or "") if found else ""
    confidence = _CONFIDENCE.search(more)
    value = None
    if confidence:
        value = float(confidence[1]) / (100 if confidence[2] else 1)
    alternatives = _ALTERNATIVES.search(more)
    names = tuple(n.strip() for n in alternatives[1].split(",") if n.strip()) if alternatives else ()
    return Thought(
        text=said[:_MOST], confidence=value if value is not None and 0 <= value <= 1 else None, alternatives=names[:8]
    )
