"""Every text of a request's body, in an order that a growing conversation keeps; and the texts of an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any, Final, NamedTuple

from core.pii.find import Allowance, TooMuch
from core.pii.keys import KEY_TAIL, label_of
from gateway.masking.placeholders import Placeholders, written_names
from gateway.masking.texts import Place, TextMasker

# A call with more to look at would keep all others waiting.
MOST_STEPS: Final = 50_000
MOST_TEXTS: Final = 20_000
MOST_PARTS: Final = 500_000  # of maps and lists, whatever they are: a call for embeddings may hold 300,000 tokens
_UNDERSCORES_A_STEP: Final = 4
# Before the messages: what stays the same from call to call of a conversation.
_FIRST: Final = ("user", "safety_identifier", "prompt_cache_key", "metadata", "tools", "functions", "response_format")
_THEN: Final = ("messages", "input", "prompt")
_SKIPPED: Final = frozenset({"model"})
_FREE: Final = ("metadata",)  # maps whose keys are the caller's own words, and whose numbers may be anything
_SHORTEST: Final = 6  # characters that a text has at least to be something
_SHORTEST_NUMBER: Final = 10**6

# Words of OpenAI's own, as keys and values, which need no look.
_WORDS: Final = frozenset(
    (
        *("content", "arguments", "function", "tool_calls", "tool_call_id", "description", "parameters", "properties"),
        *("required", "additionalProperties", "strict", "default", "schema", "json_schema", "refusal", "image_url"),
        *("system", "developer", "assistant", "detail", "string", "object", "number", "integer", "boolean", "format"),
        *("reasoning_content", "input_audio"),
    )
)

_TEXT, _JSON, _NAME = Place(), Place(in_json=True), Place(bare=True)


class Slot(NamedTuple):
    """A text in a body: `holder[key]`, or the key itself of a map when `is_key`."""

    holder: Any
    key: Any
    text: str
    place: Place
    is_key: bool = False


def slots(body: dict[str, Any]) -> Iterator[Slot]:
    """The texts of a request's body, in order. Binary parts of messages (images, sound, files) are left out. Raises
    TooMuch."""
    parts = Allowance(MOST_PARTS)
    rest = [name for name in body if name not in (*_FIRST, *_THEN, *_SKIPPED)]
    for name in (*_FIRST, *_THEN, *rest):
        value = body.get(name)
        if isinstance(value, str):
            yield Slot(body, name, value, _TEXT)
        elif isinstance(value, dict | list):
            yield from _inside(value, parts, free=name in _FREE)


def _inside(value: Any, parts: Allowance, *, free: bool) -> Iterator[Slot]:
    """The texts of a part of the body, without recursion: how deep it is nested is the caller's choice."""
    todo: list[tuple[Any, str]] = [(value, "")]
    while todo:
        holder, parent = todo.pop()
        parts.spend(len(holder))
        below: list[tuple[Any, str]] = []
        for key, one in holder.items() if isinstance(holder, dict) else enumerate(holder):
            named = key if isinstance(key, str) else parent
            if isinstance(key, str) and key not in _WORDS and len(key) >= _SHORTEST:
                yield Slot(holder, key, key, _TEXT, is_key=True)
            if isinstance(one, str):
                if len(one) >= _SHORTEST and one not in _WORDS and not _binary(parent, named, one):
                    yield Slot(holder, key, one, _place(named[-KEY_TAIL:], free))
            elif isinstance(one, dict | list):
                below.append((one, named))
            elif free and isinstance(one, int) and abs(one) >= _SHORTEST_NUMBER:
                yield Slot(holder, key, str(one), _place(named[-KEY_TAIL:], free))
        todo += reversed(below)


@lru_cache(maxsize=4096)
def _place(key: str, free: bool) -> Place:
    if key == "arguments" and not free:
        return _JSON
    if key == "name" and not free:
        return _NAME
    label = label_of(key)
    return Place(label=label) if label else _TEXT


def _binary(parent: str, key: str, text: str) -> bool:
    if key == "url" or key == "file_data" or key == "image_url":
        return text.startswith("data:") and ";base64," in text[:120]
    return parent == "input_audio" and key == "data"


def mask(body: dict[str, Any], masker: TextMasker) -> Placeholders | None:
    """Replaces what is personal in `body`, in place. None: there is nothing. Raises TooMuch."""
    allowance = Allowance(MOST_STEPS)
    texts = list(islice(slots(body), MOST_TEXTS + 1))
    if len(texts) > MOST_TEXTS:
        raise TooMuch
    hits = [slot for slot in texts if masker.suspect(slot.text, slot.place.label, allowance)]
    if not hits:
        return None
    allowance.spend(sum(slot.text.count("_") for slot in texts) // _UNDERSCORES_A_STEP)
    taken = frozenset(name for slot in texts for name in written_names(slot.text))
    placeholders = Placeholders(taken)
    renamed: list[tuple[Slot, str]] = []
    for slot in hits:
        masked = masker.masked(slot.text, slot.place, placeholders, allowance)
        if slot.is_key:
            renamed.append((slot, masked))
        else:
            slot.holder[slot.key] = masked
    for slot, masked in renamed:  # only now: until then values are put under the old keys
        slot.holder[masked] = slot.holder.pop(slot.key)
    return placeholders


# --- answers --------------------------------------------------------------------------------------------------------

Change = Callable[[str, Place], str]
_KEPT: Final = frozenset({"role", "type", "id", "finish_reason", "index", "object"})


def changed_message(message: dict[str, Any], change: Change, content: Place = _TEXT) -> dict[str, Any]:
    """A copy of an answer's message with `change` applied to each of its texts; `content` is the place of the content
    (inside JSON when a JSON answer was asked for)."""
    return {
        key: change(value, content) if key == "content" and isinstance(value, str) else _changed(value, key, change)
        for key, value in message.items()
    }


def _changed(value: Any, key: str, change: Change) -> Any:
    if isinstance(value, str):
        return value if key in _KEPT else change(value, _place_in_answer(key))
    if isinstance(value, dict):
        return {name: _changed(one, name, change) for name, one in value.items()}
    if isinstance(value, list):
        return [_changed(one, key, change) for one in value]
    return value


def _place_in_answer(key: str) -> Place:
    return _JSON if key == "arguments" else _NAME if key == "name" else _TEXT
