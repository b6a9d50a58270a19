"""What was said, in one text, of an input or output that may be plain words, JSON messages, or the beginning of either.

Lists get the first 500 characters of a root's input. When those are messages in JSON the end is usually missing, so
what is readable is found by its keys and not by parsing.
"""

from __future__ import annotations

import json
import re
from typing import Final

from dashboard.parts.messages import Message, PartKind, messages_of

_TOKEN: Final = re.compile(r'"(?P<key>role|content|text|name)"\s*:\s*"(?P<value>(?:[^"\\]|\\.)*)(?P<end>"?)', re.DOTALL)
_MESSAGES: Final = re.compile(r'^\s*(\{"messages"\s*:\s*)?\[?\s*\{.{0,200}?"role"\s*:', re.DOTALL)


def gist(value: object, *, answer: bool = False) -> str:
    """The words of the last user message, else of the last message that has words, else the tools it calls.

    Of an `answer` that repeats the conversation before it, the last message counts whoever said it.
    What is not messages is returned as it is. The result is data: show it as plain text.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        return _of_messages(messages_of(value), answer) or json.dumps(value, ensure_ascii=False, default=str)
    if not value.lstrip().startswith(("[", "{")):
        return value
    return _of_messages(messages_of(value), answer) or _of_beginning(value) or value


def _of_messages(messages: list[Message], answer: bool) -> str:
    said = [(message.role, _words(message)) for message in messages]
    spoken = [(role, words) for role, words in said if words]
    if not spoken:
        names = [part.name for message in messages for part in message.parts if part.kind is PartKind.TOOL_CALL]
        return f"→ {', '.join(name or 'tool' for name in names)}" if names else ""
    asked = [words for role, words in spoken if role in ("user", "human")]
    return asked[-1] if asked and not answer else spoken[-1][1]


def _words(message: Message) -> str:
    texts = [part.content for part in message.parts if part.kind is PartKind.TEXT and isinstance(part.content, str)]
    return "\n".join(texts).strip()


def _of_beginning(text: str) -> str:
    if not _MESSAGES.match(text):
        return ""
    role, asked, spoken, called = "", "", "", ""
    for token in _TOKEN.finditer(text):
        value = _unescaped(token["value"]) + ("" if token["end"] else "…")
        match token["key"]:
            case "role":
                role = value
            case "name":
                called = f"→ {value}"
            case _ if role in ("user", "human"):
                asked = value
            case _:
                spoken = value
    return asked or spoken or called


def _unescaped(text: str) -> str:
    """The characters that a piece of a JSON string spells; a cut escape at its end is left out."""
    for cut in range(7):
        try:
            return str(json.loads(f'"{text[: len(text) - cut]}"', strict=False))
        except ValueError:
            continue
    return text
