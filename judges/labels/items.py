"""Items to label that come from elsewhere: checked, and shown as a judge is shown its content. Pure.

{"answer", "question"?}; {"answer_a", "answer_b", "question"?} for a pair; or {"messages": [{"role", "text"}, ...]}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.errors import InvalidInput, TooLarge
from evaluators.records import Message, Trajectory
from judges import content
from judges.content import Content

MOST_CHARACTERS: Final = 200_000  # of an item, over all its texts
MOST_MESSAGES: Final = 2_000
_ROLES: Final = ("user", "assistant", "system")
_SHAPES: Final = (
    frozenset({"answer"}),
    frozenset({"answer", "question"}),
    frozenset({"answer_a", "answer_b"}),
    frozenset({"answer_a", "answer_b", "question"}),
    frozenset({"messages"}),
)


def checked(said: Mapping[str, Any]) -> dict[str, Any]:
    """The text of an item when it has one of the shapes. Raises InvalidInput, TooLarge."""
    if frozenset(said) not in _SHAPES:
        known = "answer, question; answer_a, answer_b, question; or messages"
        raise InvalidInput(f"an item's content has {known}, not {', '.join(map(str, said))[:120]}", field="content")
    messages = said.get("messages", [])
    if not isinstance(messages, list) or len(messages) > MOST_MESSAGES:
        raise InvalidInput(f"messages are a list of at most {MOST_MESSAGES:,}", field="content")
    for one in messages:
        if not isinstance(one, dict) or set(one) != {"role", "text"} or one["role"] not in _ROLES:
            raise InvalidInput(f"a message has a role ({', '.join(_ROLES)}) and a text", field="content")
    texts = [one["text"] for one in messages] + [said[name] for name in said if name != "messages"]
    if not all(isinstance(text, str) for text in texts):
        raise InvalidInput("an item's texts are text", field="content")
    if sum(map(len, texts)) > MOST_CHARACTERS:
        raise TooLarge(f"an item has at most {MOST_CHARACTERS:,} characters", field="content")
    return dict(said)


def content_of(said: Mapping[str, Any]) -> Content:
    """The item as it is shown."""
    if "messages" in said:
        found = [Message(role=one["role"], text=one["text"], turn=at) for at, one in enumerate(said["messages"])]
        return content.of_session(Trajectory(messages=tuple(found)))
    if "answer_a" in said:
        return content.of_pair(said["answer_a"], said["answer_b"], said.get("question", ""))
    return content.of_text(said["answer"], said.get("question", ""))
