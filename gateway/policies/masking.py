"""Masking: the model sees placeholders in place of personal information, the caller gets the values back.

On by default. Counted in `call.masked` are the values of each kind that were masked, and what was masked in the answer
where `output: mask` asks for it. What breaks here refuses the call: no text passes that was not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from core.pii.find import TooMuch
from core.records import PiiEntity
from gateway.config import MaskingConfig
from gateway.errors import Refused
from gateway.masking.bodies import changed_message, mask
from gateway.masking.output import OutputMask, OutputStream
from gateway.masking.placeholders import Placeholders, Restorer
from gateway.masking.texts import Place, TextMasker
from gateway.records import Answer, Call, CallKind

_TEXTS: Final = ("content", "refusal", "reasoning_content", "reasoning")


@dataclass(kw_only=True, slots=True)
class _Masked:
    """What a call keeps until its answer passed."""

    placeholders: Placeholders | None
    output: OutputMask | None
    json_content: bool

    def change(self, text: str, place: Place) -> str:
        """A whole text of the answer, as the caller gets it."""
        if self.output is not None:
            text = self.output.masked(text)
        return text if self.placeholders is None else self.placeholders.restored(text, in_json=place.in_json)

    def pipe(self, *, in_json: bool) -> _Pipe:
        """For a text of the answer that arrives in pieces."""
        return _Pipe(self.placeholders, self.output, in_json)


class Masking:
    """The policy. One for all tenants: it keeps of a text only its hash and where something is in it."""

    name = "masking"

    def __init__(self, config: MaskingConfig) -> None:
        self._off = frozenset(config.off_for_tenants)
        self._entities = frozenset[PiiEntity](config.entities if config.mode == "mask" else ())
        self._masks_output = config.output == "mask"
        self._masker = TextMasker(self._entities)

    def before(self, call: Call) -> Answer | None:
        """Masks the body. Raises Refused for one that would take too long."""
        if not self._entities or call.caller.tenant in self._off:
            return None
        try:
            placeholders = mask(call.body, self._masker)
        except TooMuch:
            said = "the call holds more texts, numbers or addresses than masking can look at; send less in one call"
            raise Refused(said, status=413, code="masking_too_much") from None
        if placeholders is not None:
            call.masked = placeholders.counts()
        if call.kind is CallKind.CHAT and (placeholders is not None or self._masks_output):
            output = OutputMask(self._entities, placeholders) if self._masks_output else None
            call.state[self.name] = _Masked(
                placeholders=placeholders, output=output, json_content=_asks_for_json(call.body)
            )
        return None

    def after(self, call: Call, answer: Answer) -> None:
        """Restores the answer. Its body may belong to the cache: a new one takes its place."""
        masked: _Masked | None = call.state.get(self.name)
        if masked is not None:
            choices = [_changed_choice(choice, masked) for choice in answer.body.get("choices") or ()]
            answer.body = {**answer.body, "choices": choices}

    def stream(self, call: Call) -> MaskingStream | None:
        """Restores a streamed answer."""
        masked: _Masked | None = call.state.get(self.name)
        return None if masked is None else MaskingStream(masked)

    def done(self, call: Call) -> None:
        """Counts what was masked in the answer, and masks what the span says of it."""
        masked: _Masked | None = call.state.pop(self.name, None)
        if masked is None or masked.output is None:
            return
        said = OutputMask(self._entities, masked.placeholders)
        call.output = [changed_message(message, lambda text, _: said.masked(text)) for message in call.output]
        if not masked.output.counts:
            return
        for kind, n in masked.output.counts.items():
            call.masked[kind] = call.masked.get(kind, 0) + n
        call.flags.append("output_masked")


def _asks_for_json(body: dict[str, Any]) -> bool:
    told = body.get("response_format")
    return isinstance(told, dict) and told.get("type") in ("json_object", "json_schema")


def _changed_choice(choice: dict[str, Any], masked: _Masked) -> dict[str, Any]:
    found = dict(choice)
    if isinstance(choice.get("message"), dict):
        content = Place(in_json=masked.json_content)
        found["message"] = changed_message(choice["message"], masked.change, content)
    return _without_tokens(found, masked)


def _without_tokens(choice: dict[str, Any], masked: _Masked) -> dict[str, Any]:
    """Token by token (logprobs) what was masked in the answer could be read."""
    return {**choice, "logprobs": None} if masked.output is not None and choice.get("logprobs") else choice


# --- streams --------------------------------------------------------------------------------------------------------


class _Pipe:
    """One text of a streamed answer: what must not pass is masked, then what was masked is restored."""

    def __init__(self, placeholders: Placeholders | None, output: OutputMask | None, in_json: bool) -> None:
        self._output = None if output is None else OutputStream(output)
        self._restorer = None if placeholders is None else Restorer(placeholders, in_json=in_json)

    def feed(self, piece: str) -> str:
        piece = piece if self._output is None else self._output.feed(piece)
        return piece if self._restorer is None else self._restorer.feed(piece)

    def end(self) -> str:
        piece = "" if self._output is None else self._output.end()
        return piece if self._restorer is None else self._restorer.feed(piece) + self._restorer.end()


class MaskingStream:
    """Restores the chunks of a streamed answer: each text of each choice, and each tool call's arguments, by itself."""

    def __init__(self, masked: _Masked) -> None:
        self._masked = masked
        self._texts: dict[int, dict[str, _Pipe]] = {}
        self._calls: dict[int, dict[int, _Pipe]] = {}
        self._head: dict[str, Any] = {}

    def feed(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        """The chunk restored, after what its choices' ends release; nothing when all of it is held back."""
        self._head = {name: value for name, value in chunk.items() if name not in ("choices", "usage")}
        given = chunk.get("choices")
        if not given:
            return [chunk]
        choices, released = [], []
        for choice in given:
            index = choice.get("index") or 0
            delta = choice.get("delta")
            changed = self._delta(index, delta) if isinstance(delta, dict) else delta
            if choice.get("finish_reason"):
                released += self._released(index, changed)
                changed = {}
            elif delta and not changed:
                continue
            choices.append(_without_tokens({**choice, "delta": changed}, self._masked))
        if not choices and not chunk.get("usage"):
            return released
        return [*released, {**chunk, "choices": choices}]

    def end(self) -> list[dict[str, Any]]:
        """What choices that did not end hold back."""
        left = sorted({*self._texts, *self._calls})
        return [chunk for index in left for chunk in self._released(index, {})]

    def _delta(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        """The delta as far as it can be passed on; empty texts are left out unless they came so."""
        found: dict[str, Any] = {}
        for name, value in delta.items():
            if name in _TEXTS and isinstance(value, str):
                text = self._text(index, name).feed(value)
                if text or not value:
                    found[name] = text
            elif name == "tool_calls" and isinstance(value, list):
                calls = [call for call in (self._tool_call(index, each) for each in value) if call is not None]
                if calls:
                    found[name] = calls
            else:
                found |= changed_message({name: value}, self._masked.change)
        return found

    def _tool_call(self, index: int, call: dict[str, Any]) -> dict[str, Any] | None:
        function = call.get("function")
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(arguments, str):
            return changed_message(call, self._masked.change)
        pipe = self._arguments(index, call.get("index") or 0)
        text = pipe.feed(arguments)
        if arguments and not text and not call.get("id") and not function.get("name"):
            return None
        others = {name: value for name, value in function.items() if name != "arguments"}
        return {**call, "function": {**changed_message(others, self._masked.change), "arguments": text}}

    def _text(self, index: int, name: str) -> _Pipe:
        pipes = self._texts.setdefault(index, {})
        if name not in pipes:
            pipes[name] = self._masked.pipe(in_json=name == "content" and self._masked.json_content)
        return pipes[name]

    def _arguments(self, index: int, n: int) -> _Pipe:
        pipes = self._calls.setdefault(index, {})
        if n not in pipes:
            pipes[n] = self._masked.pipe(in_json=True)
        return pipes[n]

    def _released(self, index: int, delta: dict[str, Any]) -> list[dict[str, Any]]:
        """A chunk of what a choice that ends held back, after what came with its end."""
        last = dict(delta)
        for name, pipe in self._texts.pop(index, {}).items():
            text = pipe.end()
            if text:
                last[name] = last.get(name, "") + text
        calls = {call.get("index") or 0: call for call in last.get("tool_calls", ())}
        for n, pipe in self._calls.pop(index, {}).items():
            text = pipe.end()
            if text:
                function = calls.get(n, {}).get("function", {})
                arguments = (function.get("arguments") or "") + text
                calls[n] = {**calls.get(n, {"index": n}), "function": {**function, "arguments": arguments}}
        if calls:
            last["tool_calls"] = list(calls.values())
        if not last:
            return []
        return [{**self._head, "choices": [{"index": index, "delta": last, "finish_reason": None}]}]
