"""Content and compliance rules as data: what callers may send and models may say.

A rule looks at every text of a call: messages, tool calls and their results, tool definitions, inputs of embeddings;
not at images, audio and files, and not across two texts. A rule on output sees a streamed answer across its chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gateway.config import ContentRule
from gateway.errors import Refused
from gateway.policies.content_rules import MOST_FOUND, Entities, EntityFinder, Finder, Pattern, Reading, Span, Words
from gateway.policies.content_stream import ContentFilter
from gateway.records import Answer, Call, CallKind

_READ: Final[tuple[str, ...]] = ("messages", "input", "prediction", "tools", "functions", "response_format")
_NO_TEXT: Final = frozenset(("role", "type", "id", "tool_call_id", "url", "image_url", "data", "file_data", "file_id"))


def texts(holder: Any) -> Iterator[tuple[Any, Any, str]]:
    """Every text below a JSON object or list, as (what holds it, its key there, the text)."""
    waiting = [holder]
    while waiting:
        holder = waiting.pop()
        for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
            if isinstance(value, str):
                if value and key not in _NO_TEXT:
                    yield holder, key, value
            elif isinstance(value, (dict, list)):
                waiting.append(value)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A content rule ready to look."""

    name: str
    then: str
    message: str
    finders: tuple[Finder, ...]

    def spans(self, reading: Reading, begins: bool = True) -> list[Span]:
        """Where it finds something in a text, unordered and perhaps overlapping: the first place of each kind if that
        is enough, all of the text if there are too many."""
        most = MOST_FOUND if self.then == "redact" else 1
        found = [span for finder in self.finders for span in finder.spans(reading, begins, most)]
        return found if len(found) < MOST_FOUND else [(0, len(reading.text))]

    def held_from(self, text: str) -> int:
        """From where on a stream's text must wait for what follows."""
        return min(finder.held_from(text) for finder in self.finders)


def _rule(config: ContentRule, entities: EntityFinder | None) -> Rule:
    finders: list[Finder] = []
    if config.words:
        finders.append(Words(config.words))
    if config.pattern:
        finders.append(Pattern(config.pattern))
    if config.entities:
        if entities is None:
            raise ValueError(f"policies.content.{config.name}: this gateway has no finder of entities")
        finders.append(Entities(find=entities, kinds=frozenset(config.entities)))
    said = config.message or f"the content rule {config.name!r} of this gateway refuses this; leave out what it forbids"
    return Rule(name=config.name, then=config.then, message=said, finders=tuple(finders))


def redacted(text: str, rule: Rule, spans: Sequence[Span]) -> str:
    """The text with the rule's name in the place of what it found."""
    parts, at = [], 0
    for start, end in sorted(spans):
        if end > at:
            if start >= at:
                parts += [text[at:start], f"[REDACTED:{rule.name}]"]
            at = end
    return "".join([*parts, text[at:]])


class Content:
    """The policy. Raises Refused (403, code `content`), which names the rule and never quotes the text."""

    name = "content"

    def __init__(self, rules: Sequence[ContentRule], entities: EntityFinder | None = None) -> None:
        made = [(config, _rule(config, entities)) for config in rules]
        self._input = [(config.tenant, rule) for config, rule in made if config.on != "output"]
        self._output = [(config.tenant, rule) for config, rule in made if config.on != "input"]

    def before(self, call: Call) -> Answer | None:
        """Looks at what is asked, and redacts it where a rule says so."""
        rules = self._of(call, self._input)
        if not rules:
            return None
        if call.kind is CallKind.EMBEDDINGS and _holds_tokens(call.body.get("input")):
            raise Refused("the content rules of this gateway cannot read token numbers; send text", code="content")
        asked = {part: call.body[part] for part in _READ if part in call.body}
        if _look(call, rules, asked):
            call.body.update(asked)
        return None

    def after(self, call: Call, answer: Answer) -> None:
        """Looks at what was answered, and redacts it where a rule says so."""
        rules = self._of(call, self._output)
        if rules and call.kind is CallKind.CHAT:
            for choice in answer.body.get("choices") or []:
                message = choice.get("message")
                if isinstance(message, dict) and _look(call, rules, message):
                    choice.pop("logprobs", None)  # they spell what was redacted

    def stream(self, call: Call) -> ContentFilter | None:
        """What a streamed answer passes if a rule looks at it."""
        rules = self._of(call, self._output)
        return ContentFilter(rules, partial(_note, call)) if rules else None

    def done(self, call: Call) -> None:
        """Nothing is kept."""

    @staticmethod
    def _of(call: Call, rules: list[tuple[str, Rule]]) -> list[Rule]:
        return [rule for tenant, rule in rules if tenant in ("*", call.caller.tenant)]


def _look(call: Call, rules: list[Rule], holder: dict[str, Any]) -> bool:
    """Whether anything in `holder` was redacted."""
    changed = False
    for inside, key, text in texts(holder):
        reading = Reading(text)
        for rule in rules:
            if spans := rule.spans(reading):
                _note(call, rule)
                if rule.then == "redact":
                    reading = Reading(redacted(reading.text, rule, spans))
        if reading.text is not text:
            inside[key] = reading.text
            changed = True
    return changed


def _holds_tokens(asked: Any) -> bool:
    return isinstance(asked, list) and any(not isinstance(each, str) for each in asked)


def _note(call: Call, rule: Rule) -> None:
    flag = f"content:{rule.name}"
    if flag not in call.flags:
        call.flags.append(flag)
    if rule.then == "refuse":
        raise Refused(rule.message, code="content", param=rule.name)
