"""What a caller filters by, and the predicates it becomes on spans and on turns.

Values never enter the query's text: they are bound slots. Two filters with the same `shape` are one expression.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

import ibis
import ibis.expr.types as ir

from core.errors import InvalidInput
from store.engine import slot

MAX_TEXT: Final = 1000
MAX_ATTRIBUTES: Final = 10

# What every call of an agent repeats: a word of it would match every trace of that agent. `attr` still reaches them.
NOT_SEARCHED: Final = ("gen_ai.system_instructions", "gen_ai.tool.definitions")


class Status(StrEnum):
    """The status of a span or turn; the value's position is OTLP's status code."""

    UNSET = "unset"
    OK = "ok"
    ERROR = "error"

    @property
    def status_code(self) -> int:
        """0, 1 or 2."""
        return {"unset": 0, "ok": 1, "error": 2}[self.value]


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Every filter that lists share; None means: not asked. `attr` holds (key, value) pairs that all must hold.

    Raises InvalidInput, naming the field, for a text with a NUL or over 1,000 characters and for an empty or negative
    range.
    """

    app: str | None = None
    release: str | None = None
    variant: str | None = None
    environment: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    name: str | None = None
    kind: str | None = None
    model: str | None = None
    status: Status | None = None
    min_duration_ms: float | None = None
    max_duration_ms: float | None = None
    attr: tuple[tuple[str, str], ...] = ()
    q: str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            texts = [part for pair in value for part in pair] if isinstance(value, tuple) else [value]
            for text in texts:
                _checked_text(text, field.name)
        if len(self.attr) > MAX_ATTRIBUTES:
            raise InvalidInput(f"at most {MAX_ATTRIBUTES} attr filters, not {len(self.attr)}", field="attr")
        low, high = self.min_duration_ms, self.max_duration_ms
        for name, bound in (("min_duration_ms", low), ("max_duration_ms", high)):
            if bound is not None and not 0 <= bound < 1e15:
                raise InvalidInput(f"{name}={bound} is not a duration in ms", field=name)
        if low is not None and high is not None and high < low:
            raise InvalidInput(f"max_duration_ms={high:g} is below min_duration_ms={low:g}", field="max_duration_ms")

    @property
    def needs_spans(self) -> bool:
        """Whether only spans, not turns, can answer them."""
        return bool(self.kind or self.model or self.attr or self.q)


SAME_ON_TURNS: Final = ("session_id", "user_id", "release", "variant", "app", "environment")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Which filters are asked, without their values: what an expression depends on.

    `attr` holds, for each attribute filter, the columns into which its key may have been moved.
    """

    asked: frozenset[str] = frozenset()
    attr: tuple[tuple[str, ...], ...] = ()


def shape_of(filters: Filters, moved: Mapping[str, tuple[str, ...]] | None = None) -> Shape:
    """The shape; `moved` says for an attribute key which columns hold it."""
    asked = {
        field.name for field in fields(filters) if field.name != "attr" and getattr(filters, field.name) is not None
    }
    return Shape(asked=frozenset(asked), attr=tuple((moved or {}).get(key, ()) for key, _ in filters.attr))


def values_of(filters: Filters) -> dict[str, object]:
    """The slots' values, for shapes of these filters."""
    values: dict[str, object] = {}
    for field in fields(filters):
        value = getattr(filters, field.name)
        if field.name == "attr":
            for i, (key, text) in enumerate(filters.attr):
                values |= {f"attr_key_{i}": key, f"attr_value_{i}": text, f"attr_moved_{i}": f"\n{key}="}
        elif isinstance(value, Status):
            values["status"] = value.status_code
        elif value is not None:
            values[field.name] = value
    return values


def on_spans(shape: Shape, spans: ir.Table) -> list[ir.BooleanValue]:
    """Predicates on the spans table, all of which must hold."""
    text = {name: slot(name, "string") for name in (*SAME_ON_TURNS, "name", "kind")}
    found = [spans[name] == text[name] for name in sorted(text) if name in shape.asked]
    if "model" in shape.asked:
        model = slot("model", "string")
        found.append((spans.model_response == model) | (spans.model_request == model))
    if "status" in shape.asked:
        found.append(spans.status_code.fill_null(0) == slot("status", "int32"))
    found += _duration(shape, spans)
    found += [_attribute(spans, i, columns) for i, columns in enumerate(shape.attr)]
    if "q" in shape.asked:
        found.append(text_matches(spans))
    return found


def on_turns(shape: Shape, turns: ir.Table) -> list[ir.BooleanValue]:
    """Predicates on merged turns: all but kind, model, attr and q, which spans answer."""
    found = [turns[name] == slot(name, "string") for name in (*SAME_ON_TURNS, "name") if name in shape.asked]
    if "status" in shape.asked:
        found.append(turns.status_code == slot("status", "int32"))
    return found + _duration(shape, turns)


def text_matches(spans: ir.Table) -> ir.BooleanValue:
    """Whether name, input, output or the value of an attribute not in NOT_SEARCHED contains slot `q`, whatever the case
    of both."""
    wanted = slot("q", "string").lower()
    has = {name: column.lower().contains(wanted).fill_null(False) for name, column in text_columns(spans).items()}
    # Leaving attributes out costs more than looking into all of them, so only spans with a match anywhere pay for it.
    anywhere = spans.attributes.values().join("\n").lower().contains(wanted).fill_null(False)
    has["attributes"] = ibis.cases((anywhere, has["attributes"]), else_=False)
    return ibis.or_(*has.values())


def text_columns(spans: ir.Table) -> dict[str, ir.StringValue]:
    """Where text is looked for, by the name that answers `matched_in`."""
    searched = spans.attributes.values()
    for key in NOT_SEARCHED:
        searched = searched.remove(spans.attributes.get(key).fill_null(""))
    return {
        "name": spans.name,
        "input": spans.input,
        "output": spans.output,
        "attributes": searched.join("\n"),
    }


def parse_attribute(text: str) -> tuple[str, str]:
    """(key, value) of a filter "key=value", cut at the first "=". Raises InvalidInput without one, or without a key."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InvalidInput(f"attr={text[:80]!r} is not key=value", field="attr")
    return key, value


def _duration(shape: Shape, rows: ir.Table) -> list[ir.BooleanValue]:
    found = []
    if "min_duration_ms" in shape.asked:
        found.append(rows.duration_ms >= slot("min_duration_ms", "float64"))
    if "max_duration_ms" in shape.asked:
        found.append(rows.duration_ms <= slot("max_duration_ms", "float64"))
    return found


def _attribute(spans: ir.Table, i: int, columns: tuple[str, ...]) -> ir.BooleanValue:
    """The attribute has the value: in the map, or in a column where the row says that it was moved."""
    wanted = slot(f"attr_value_{i}", "string")
    matches = spans.attributes.get(slot(f"attr_key_{i}", "string")) == wanted
    lines = ibis.literal("\n") + spans.moved_attributes + ibis.literal("\n")
    for column in columns:
        line = slot(f"attr_moved_{i}", "string") + ibis.literal(f"{column}\n")
        matches = matches | (lines.contains(line) & (spans[column].cast("string") == wanted))
    return matches


def _checked_text(text: object, field: str) -> None:
    if not isinstance(text, str) or isinstance(text, Status):
        return
    if len(text) > MAX_TEXT:
        raise InvalidInput(f"{field} has {len(text):,} characters; at most {MAX_TEXT:,}", field=field)
    if "\0" in text:
        raise InvalidInput(f"{field} holds a NUL at position {text.index(chr(0))}", field=field)
