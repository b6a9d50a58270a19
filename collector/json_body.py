"""OTLP/JSON bodies as the protobuf bytes of the same request.

The generic protobuf-JSON reader must not be used here: it reads a 32-digit hex trace id as base64 and stores nonsense.
This one follows OTLP: ids in hexadecimal of either case, enums as integers (names accepted and noted), 64-bit numbers
as text or as numbers without losing digits, "NaN" and "Infinity" in quotes, bytes in base64, unknown names ignored,
null as absent. A bad span is rejected alone, with the path to what is wrong.

`transcode` is a pure function of the body: the journal keeps the body and replay runs it again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NoReturn

import orjson

from collector import json_fields as f
from collector.json_fields import BadField, Notes, Table
from collector.kinds import Signal
from collector.rejected import Rejection, Rejections
from core.errors import TooLarge, Undecodable

MOST_ITEMS: Final = 500_000  # of one request
MOST_OBJECTS: Final = 4_000_000  # of one request: each takes three bytes at least, and twenty times that in memory
MAX_WARNINGS: Final = 16
MOST_REASONS: Final = 5

_KINDS: Final = {
    "SPAN_KIND_UNSPECIFIED": 0,
    "SPAN_KIND_INTERNAL": 1,
    "SPAN_KIND_SERVER": 2,
    "SPAN_KIND_CLIENT": 3,
    "SPAN_KIND_PRODUCER": 4,
    "SPAN_KIND_CONSUMER": 5,
}
_STATUS_CODES: Final = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
_SEVERITIES: Final = {
    f"SEVERITY_NUMBER_{name}{step or ''}": 4 * rank + (step or 1)
    for rank, name in enumerate(("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"))
    for step in (None, 2, 3, 4)
} | {"SEVERITY_NUMBER_UNSPECIFIED": 0}

_RESOURCE: Final[Table] = {"attributes": f.attributes(1), "droppedAttributesCount": f.unsigned(2, 32)}
_SCOPE: Final[Table] = {
    "name": f.string(1),
    "version": f.string(2),
    "attributes": f.attributes(3),
    "droppedAttributesCount": f.unsigned(4, 32),
}
_EVENT: Final[Table] = {
    "timeUnixNano": f.fixed64(1),
    "name": f.string(2),
    "attributes": f.attributes(3),
    "droppedAttributesCount": f.unsigned(4, 32),
}
_LINK: Final[Table] = {
    "traceId": f.lenient_identifier(1, b""),
    "spanId": f.lenient_identifier(2, b""),
    "traceState": f.string(3),
    "attributes": f.attributes(4),
    "droppedAttributesCount": f.unsigned(5, 32),
    "flags": f.fixed32(6),
}
_SPAN: Final[Table] = {
    "traceId": f.identifier(1, "trace_id"),
    "spanId": f.identifier(2, "span_id"),
    "traceState": f.string(3),
    "parentSpanId": f.lenient_identifier(4, b"\xff"),  # one byte: the scanner drops the parent and flags the span
    "name": f.string(5),
    "kind": f.enum(6, _KINDS),
    "startTimeUnixNano": f.fixed64(7),
    "endTimeUnixNano": f.fixed64(8),
    "attributes": f.attributes(9),
    "droppedAttributesCount": f.unsigned(10, 32),
    "events": f.many(11, _EVENT),
    "droppedEventsCount": f.unsigned(12, 32),
    "links": f.many(13, _LINK),
    "droppedLinksCount": f.unsigned(14, 32),
    "status": f.one(15, {"message": f.string(2), "code": f.enum(3, _STATUS_CODES)}),
    "flags": f.fixed32(16),
}
_LOG_RECORD: Final[Table] = {
    "timeUnixNano": f.fixed64(1),
    "severityNumber": f.enum(2, _SEVERITIES),
    "severityText": f.string(3),
    "body": f.any_value(5),
    "attributes": f.attributes(6),
    "droppedAttributesCount": f.unsigned(7, 32),
    "flags": f.fixed32(8),
    "traceId": f.lenient_identifier(9, b"\xff"),
    "spanId": f.lenient_identifier(10, b"\xff"),
    "observedTimeUnixNano": f.fixed64(11),
    "eventName": f.string(12),
}
# Of a point only what is needed to know it and to count it: no metric is stored.
_POINT: Final[Table] = {"timeUnixNano": f.fixed64(3), "asDouble": f.double(4), "asInt": f.sfixed64(6)}
_POINTS: Final[Table] = {"dataPoints": f.many(1, {"timeUnixNano": f.fixed64(3)})}
_METRIC: Final[Table] = {
    "name": f.string(1),
    "unit": f.string(3),
    "gauge": f.one(5, {"dataPoints": f.many(1, _POINT)}),
    "sum": f.one(7, {"dataPoints": f.many(1, _POINT)}),
    "histogram": f.one(9, _POINTS),
    "exponentialHistogram": f.one(10, _POINTS),
    "summary": f.one(11, _POINTS),
}


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """The names of one signal's nesting; `legacy` held the groups in OTLP 0.15 and before."""

    title: str
    path: str
    resources: str
    scopes: str
    items: str
    item: Table
    legacy: str


_LAYOUTS: Final = {
    Signal.SPANS: _Layout(
        title="traces",
        path="/v1/traces",
        resources="resourceSpans",
        scopes="scopeSpans",
        items="spans",
        item=_SPAN,
        legacy="instrumentationLibrarySpans",
    ),
    Signal.LOG_RECORDS: _Layout(
        title="logs",
        path="/v1/logs",
        resources="resourceLogs",
        scopes="scopeLogs",
        items="logRecords",
        item=_LOG_RECORD,
        legacy="instrumentationLibraryLogs",
    ),
    Signal.METRIC_POINTS: _Layout(
        title="metrics",
        path="/v1/metrics",
        resources="resourceMetrics",
        scopes="scopeMetrics",
        items="metrics",
        item=_METRIC,
        legacy="instrumentationLibraryMetrics",
    ),
}
_SCHEMA_URL: Final = f.string(3)


@dataclass(frozen=True, kw_only=True)
class Transcoded:
    """`protobuf` holds the Export…ServiceRequest without the rejected items; `n_items` counts spans, log records or
    metrics in the body, rejected ones included; `warnings` are sentences for `partial_success.error_message`.

    `reasons` says how many items were rejected with which words: the first MOST_REASONS of `n_reasons`.
    """

    protobuf: bytes
    n_items: int
    rejected: list[Rejection]
    warnings: list[str]
    reasons: dict[str, int] = field(default_factory=dict)
    n_reasons: int = 0

    @property
    def n_rejected(self) -> int:
        """Items in `rejected`."""
        return sum(each.n_items for each in self.rejected)


def transcode(body: bytes, signal: Signal = Signal.SPANS) -> Transcoded:
    """The protobuf request that a JSON body stands for.

    Raises Undecodable where the body is not JSON, is nested too deep, is another signal's request, or no item can be
    found in it although it tries to hold some, TooLarge where it holds too much; `field` names the part to blame.
    """
    if body.count(b"{") > MOST_OBJECTS:
        raise TooLarge(f"the request holds more than {MOST_OBJECTS} JSON objects; send smaller batches", "body")
    layout = _LAYOUTS[Signal(signal)]
    root = parse(body)
    if type(root) is not dict:
        raise Undecodable(f"the body must be a JSON object with {layout.resources}, not {f.kind_of(root)}")
    _refuse_other_signal(root, layout)
    # In a span, a byte that no UTF-8 has: the scanner turns it into U+FFFD and flags the span.
    notes = Notes(bad_text=b"\xff" if signal == Signal.SPANS else "\ufffd".encode())
    work = _Work(layout, notes)
    protobuf = work.request(root)
    if not work.n_items and notes.hints:
        name, meant = next(iter(notes.hints.items()))
        raise Undecodable(f"unknown field {name!r}; did you mean {meant!r}? OTLP/JSON uses lowerCamelCase", name)
    return Transcoded(
        protobuf=protobuf,
        n_items=work.n_items,
        rejected=work.rejected.all(),
        warnings=work.all_warnings()[:MAX_WARNINGS],
        reasons=dict(islice(work.reasons.items(), MOST_REASONS)),
        n_reasons=len(work.reasons),
    )


def parse(body: bytes) -> Any:
    """The JSON value of a body, numbers exact up to 64 bits. A UTF-8 byte order mark is allowed.

    Strings may hold lone surrogates: those of the body, and one for each byte that is not UTF-8. A number beyond the
    range of a double is an infinity. Raises Undecodable.
    """
    if body[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in body[:2]:
        raise Undecodable("the body looks like UTF-16 or UTF-32; OTLP/JSON must be UTF-8")
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if "depth limit" in str(error):
            _refuse_depth()
    return _parse_slowly(body)


def _parse_slowly(body: bytes) -> Any:
    """For what the fast parser refuses whole: lone surrogates, bytes that are not UTF-8, numbers out of range."""
    try:
        return json.loads(
            body.decode("utf-8", "surrogateescape"), parse_int=_parse_int, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        raise Undecodable(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        _refuse_depth()


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= 20 else float(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise Undecodable(f'a bare {name} is not JSON; OTLP/JSON writes "{name}" in quotes')


def _refuse_depth() -> NoReturn:
    raise Undecodable(f"nesting deeper than {f.MAX_DEPTH}")


def _refuse_other_signal(root: dict[str, Any], layout: _Layout) -> None:
    """O-56's neighbour: a request of another signal would decode to nothing and be answered with success."""
    if layout.resources in root:
        return
    for other in _LAYOUTS.values():
        if other is not layout and other.resources in root:
            raise Undecodable(f"looks like OTLP {other.title}; send it to {other.path}", other.resources)


Transcode = Callable[[bytes, Signal], Transcoded]


class _Work:
    """One pass over a request. Gathers what was rejected beside the bytes that stay."""

    def __init__(self, layout: _Layout, notes: Notes) -> None:
        self.layout = layout
        self.notes = notes
        self.n_items = 0
        self.rejected = Rejections()
        self.reasons: Counter[str] = Counter()
        self.warnings: list[str] = []

    def request(self, root: dict[str, Any]) -> bytes:
        """The request's bytes."""
        known = {self.layout.resources: _SCHEMA_URL}
        for name in root:
            self.notes.unknown(name, known)
        groups = self._groups(root, self.layout.resources, "")
        return b"".join(f.framed(b"\x0a", self._resource(group, path)) for path, group in groups)

    def all_warnings(self) -> list[str]:
        """Everything to tell the sender although items were kept."""
        hints = [
            f"unknown field {name!r} was ignored; did you mean {meant!r}?" for name, meant in self.notes.hints.items()
        ]
        names = sorted(self.notes.enum_names)
        if names:
            hints.append(f"enum names were read ({', '.join(names[:4])}); OTLP/JSON uses their numbers")
        return self.warnings + hints

    def _groups(self, parent: dict[str, Any], name: str, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of array `name`. Raises Undecodable where it is no array of objects."""
        where = f"{path}.{name}".removeprefix(".")
        groups = parent.get(name)
        if groups is None:
            return
        if type(groups) is not list:
            raise Undecodable(f"{where} must be an array, not {f.kind_of(groups)}", where)
        for position, group in enumerate(groups):
            if group is None:
                continue
            if type(group) is not dict:
                raise Undecodable(
                    f"{where}[{position}] must be an object, not {f.kind_of(group)}", f"{where}[{position}]"
                )
            yield f"{where}[{position}]", group

    def _resource(self, group: dict[str, Any], path: str) -> bytes:
        self._note_legacy(group)
        known = {"resource": _SCHEMA_URL, self.layout.scopes: _SCHEMA_URL, "schemaUrl": _SCHEMA_URL}
        for name in group:
            self.notes.unknown(name, known)
        head, bad = self._head(group, "resource", _RESOURCE)
        out = [head]
        for where, scope_group in self._groups(group, self.layout.scopes, path):
            out.append(f.framed(b"\x12", self._scope(scope_group, where, bad)))
        return b"".join(out)

    def _scope(self, group: dict[str, Any], path: str, bad: BadField | None) -> bytes:
        known = {"scope": _SCHEMA_URL, self.layout.items: _SCHEMA_URL, "schemaUrl": _SCHEMA_URL}
        for name in group:
            self.notes.unknown(name, known)
        head, bad_scope = self._head(group, "scope", _SCOPE)
        where = f"{path}.{self.layout.items}"
        items = group.get(self.layout.items)
        if items is None:
            return head
        if type(items) is not list:
            raise Undecodable(f"{where} must be an array, not {f.kind_of(items)}", where)
        return head + b"".join(self._item(item, bad or bad_scope) for item in items if item is not None)

    def _head(self, group: dict[str, Any], name: str, table: Table) -> tuple[bytes, BadField | None]:
        """The resource or scope and the schema URL of a group; what is wrong with it costs its items, no others."""
        try:
            head = b"" if group.get(name) is None else f.framed(b"\x0a", f.message(group[name], table, self.notes))
            url = group.get("schemaUrl")
            return head + (b"" if url is None else _SCHEMA_URL(url, self.notes)), None
        except BadField as bad:
            bad.path.insert(0, name)
            return b"", bad

    def _item(self, item: Any, bad: BadField | None) -> bytes:
        self.n_items += 1
        if self.n_items > MOST_ITEMS:
            raise TooLarge(
                f"the request holds more than {MOST_ITEMS} {self.layout.items}; send smaller batches", "body"
            )
        try:
            if bad is not None:
                raise bad.with_traceback(None)  # or it grows with every item
            payload = f.message(item, self.layout.item, self.notes)
            if self.layout.item is _SPAN:
                _require_ids(item)
            return f.framed(b"\x12", payload)
        except BadField as found:
            where = found.field
            detail = f"{where}: {found.message}" if where else f"{self.layout.items} entry {found.message}"
            self.reasons[detail] += 1
            self.rejected.add(Rejection(reason=found.reason, detail=detail, payload=_text_of(item)))
            return b""

    def _note_legacy(self, group: dict[str, Any]) -> None:
        legacy = group.get(self.layout.legacy)
        if legacy is None or len(self.warnings) >= MAX_WARNINGS:
            return
        groups = legacy if isinstance(legacy, list) else []
        held = [each.get(self.layout.items) for each in groups if isinstance(each, dict)]
        n_lost = sum(len(items) for items in held if isinstance(items, list))
        self.warnings.append(
            f"{self.layout.legacy} is of OTLP 0.15 and older and is not read: {n_lost} {self.layout.items} in it were "
            f"not stored; send {self.layout.scopes}"
        )


def _require_ids(span: dict[str, Any]) -> None:
    for name, code in (("traceId", "trace_id"), ("spanId", "span_id")):
        if not span.get(name):
            raise _missing(name, code, hinted=code in span)


def _missing(name: str, code: str, *, hinted: bool) -> BadField:
    """Made here and not where it is raised: an error in a variable of its own frame is a cycle, half a million of which
    fill gigabytes before they are collected."""
    hint = f"; did you mean {name} instead of {code}?" if hinted else ""
    bad = BadField(f"is missing{hint}", f"invalid_{code}")
    bad.path.append(name)
    return bad


def _text_of(item: Any) -> bytes:
    """The JSON text of a rejected item, for the quarantine."""
    try:
        return memoryview(orjson.dumps(item)).tobytes()  # a copy of its own size: orjson's holds at least 4 KiB
    except (TypeError, ValueError):
        try:
            return json.dumps(item).encode()
        except RecursionError:
            return b""
