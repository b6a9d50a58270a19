"""Content rules on a streamed answer: text is held back only as long as it may yet become what a rule looks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from gateway.policies.content_rules import MOST_HELD, Reading, Span

_SEEN: Final = 64  # characters already passed on that rules may still look back at
_MOST_FLAGGED: Final = 1 << 20  # characters of an answer that rules which only flag look at


class StreamedRule(Protocol):
    """A rule as a stream needs it."""

    @property
    def name(self) -> str:
        """What the rule is called."""

    @property
    def then(self) -> str:
        """refuse, flag or redact."""

    def spans(self, reading: Reading, begins: bool) -> list[Span]:
        """Where it finds something."""

    def held_from(self, text: str) -> int:
        """From where on the text's end must wait for what follows."""


Found = Callable[[Any], None]  # notes that a rule found something; raises Refused if it refuses


class _Mark(NamedTuple):
    start: int
    end: int
    tag: str


class Window:
    """The end of one text of a stream: what was passed on last, and what is held back."""

    def __init__(self, rules: Sequence[StreamedRule], found: Found) -> None:
        self._acting = [rule for rule in rules if rule.then != "flag"]
        self._flagging = [rule for rule in rules if rule.then == "flag"]
        self._found = found
        self._text = ""
        self._sent = 0  # of _text
        self._begins = True  # _text begins where the stream's text does
        self._all: list[str] = []
        self._n_all = 0

    def feed(self, piece: str, last: bool = False) -> str:
        """The text that may be passed on now. Raises Refused through `found`."""
        self._keep(piece, last)
        if not self._acting:
            return piece
        self._text += piece
        if len(self._text) == self._sent:
            return ""
        marks, hold = self._marks(last)
        for mark in sorted(marks, reverse=True):
            if mark.start < hold < mark.end:
                hold = mark.start
        passed = self._pass(sorted(marks), max(hold, self._sent, 0 if last else len(self._text) - 2 * MOST_HELD))
        if (drop := self._sent - _SEEN) > 0:
            self._text, self._sent, self._begins = self._text[drop:], self._sent - drop, False
        return passed

    def _marks(self, last: bool) -> tuple[list[_Mark], int]:
        text, marks = self._text, []
        hold, reading = len(text), Reading(self._text)
        for rule in self._acting:
            for start, end in rule.spans(reading, self._begins):
                open_ended = not last and end == len(text) and len(text) - start < 2 * MOST_HELD
                if open_ended:  # what follows decides whether and how far it matches
                    hold = min(hold, start)
                elif end > self._sent:
                    self._found(rule)
                    marks.append(_Mark(start, end, f"[REDACTED:{rule.name}]"))
            if not last:
                hold = min(hold, rule.held_from(text))
        return marks, hold

    def _pass(self, marks: list[_Mark], hold: int) -> str:
        parts, at = [], self._sent
        for start, end, tag in marks:
            if start >= hold:
                break
            if end > at:
                parts += [self._text[at:start], tag]
                at = end
        parts.append(self._text[at:hold])
        self._sent = max(at, hold)
        return "".join(parts)

    def _keep(self, piece: str, last: bool) -> None:
        if not self._flagging:
            return
        if self._n_all < _MOST_FLAGGED:
            self._all.append(piece)
            self._n_all += len(piece)
        if last:
            reading = Reading("".join(self._all))
            for rule in self._flagging:
                if rule.spans(reading, True):
                    self._found(rule)


_TEXTS: Final = ("content", "refusal", "reasoning_content", "reasoning")


class ContentFilter:
    """A StreamFilter: one window for each text of each choice."""

    def __init__(self, rules: Sequence[StreamedRule], found: Found) -> None:
        self._rules = rules
        self._found = found
        self._holds = any(rule.then != "flag" for rule in rules)
        self._windows: dict[tuple[int, str, int], Window] = {}
        self._shape: dict[str, Any] = {}

    def feed(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        """The chunk with what may be passed on; nothing if all of it is held back. Raises Refused."""
        choices = chunk.get("choices") or []
        if choices:
            self._shape = {name: value for name, value in chunk.items() if name not in ("choices", "usage")}
        told = not choices or bool(chunk.get("usage"))
        for choice in choices:
            told = self._choice(choice) or told
        return [chunk] if told else []

    def _choice(self, choice: dict[str, Any]) -> bool:
        """Whether anything is left to tell."""
        index, delta = choice.get("index") or 0, choice.get("delta")
        if not isinstance(delta, dict):
            delta = choice["delta"] = {}
        if self._holds:
            choice.pop("logprobs", None)  # they spell what is held back
        told = False
        for name in [*delta]:
            if name in _TEXTS and isinstance(delta[name], str) and delta[name]:
                delta[name] = self._window(index, name).feed(delta[name])
                told = told or bool(delta[name])
            elif name == "tool_calls":
                told = self._arguments(index, delta[name]) or told
            else:
                told = told or (name not in _TEXTS and delta[name] is not None) or delta[name] == ""
        if choice.get("finish_reason"):
            self._flush(index, delta)
            return True
        return told

    def _arguments(self, index: int, calls: Any) -> bool:
        told = False
        for n, each in enumerate(calls or ()):
            function = each.get("function") or {}
            text = function.get("arguments")
            if isinstance(text, str) and text:
                function["arguments"] = self._window(index, "arguments", each.get("index") or n).feed(text)
            told = told or bool(function.get("arguments")) or bool(function.get("name")) or "id" in each
        return told

    def _window(self, index: int, name: str, call: int = 0) -> Window:
        window = self._windows.get((index, name, call))
        if window is None:
            window = self._windows[index, name, call] = Window(self._rules, self._found)
        return window

    def _flush(self, index: int, delta: dict[str, Any]) -> None:
        for key in [key for key in self._windows if key[0] == index]:
            held = self._windows.pop(key).feed("", last=True)
            if not held:
                continue
            if key[1] != "arguments":
                delta[key[1]] = (delta.get(key[1]) or "") + held
                continue
            calls = delta.setdefault("tool_calls", [])
            same = next((each for each in calls if each.get("index") == key[2]), None)
            if same is None:
                calls.append(same := {"index": key[2], "function": {"arguments": ""}})
            function = same.setdefault("function", {})
            function["arguments"] = (function.get("arguments") or "") + held

    def end(self) -> list[dict[str, Any]]:
        """What was held back of a stream that ended without saying so. Raises Refused."""
        chunks = []
        for index in sorted({key[0] for key in self._windows}):
            delta: dict[str, Any] = {}
            self._flush(index, delta)
            if delta:
                chunks.append({**self._shape, "choices": [{"index": index, "delta": delta, "finish_reason": None}]})
        return chunks
