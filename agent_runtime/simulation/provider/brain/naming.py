"""The simulated namer `sim-namer`: a title and a sentence for a group of conversations, from the words it is told.

It reads what a namer's prompt holds (JSON lines, the group's words first) and nothing else, so its titles are no better
than those words: they show the way that a model's title takes, not what a model is worth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

NAMERS: Final = "sim-namer"
_WORDS: Final = "words_of_this_group"
_MOST: Final = 3


def named(schema: Mapping[str, Any], asked: Sequence[str]) -> dict[str, Any] | None:
    """What a namer answers to a prompt, `asked` being the user's messages; None where no title is asked for or no words
    are told."""
    fields = schema.get("properties")
    if not isinstance(fields, Mapping) or "title" not in fields or not asked:
        return None
    words = _told(asked[0])[:_MOST]
    if not words:
        return None
    title = " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    answer = {"title": title[:1].upper() + title[1:], "sentence": f"(simulated) Users speak of {title}."}
    return {name: answer[name] for name in answer if name in fields}


def _told(prompt: str) -> list[str]:
    """The words of the first JSON line that has them."""
    for line in prompt.splitlines():
        try:
            entry = json.loads(line) if line.startswith("{") else None
        except (ValueError, RecursionError):
            continue
        told = entry.get(_WORDS) if isinstance(entry, dict) else None
        if isinstance(told, list):
            return [one for one in told if isinstance(one, str)]
    return []
