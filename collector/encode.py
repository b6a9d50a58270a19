"""Rows of the lake back into OTLP: the originals a row keeps, as the protobuf request they came in.

What comes back equals what was sent except for what redaction replaced, the order of attributes that live in a column
(they come last), and values beyond declared limits. Used to run a newer mapping over history, and to export.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

Row = Mapping[str, Any]
_UINT64 = 1 << 64


def request_of(rows: Iterable[Row]) -> bytes:
    """An ExportTraceServiceRequest with one span per row, in order. Rows are dicts of schema.SPANS."""
    request = ExportTraceServiceRequest()
    for row in rows:
        group = request.resource_spans.add()
        group.resource.attributes.extend(_pairs(_parsed(row["resource"] or "{}")))
        scoped = group.scope_spans.add()
        scoped.scope.name, scoped.scope.version = row["scope_name"] or "", row["scope_version"] or ""
        span = scoped.spans.add()
        span.trace_id, span.span_id = bytes.fromhex(row["trace_id"]), bytes.fromhex(row["span_id"])
        span.parent_span_id = bytes.fromhex(row["parent_span_id"] or "")
        span.name = row["name"]
        span.kind = row["otel_kind"]
        span.start_time_unix_nano, span.end_time_unix_nano = row["start_ns"] % _UINT64, row["end_ns"] % _UINT64
        span.status.code, span.status.message = row["status_code"], row["status_message"] or ""
        span.trace_state, span.flags = row["trace_state"] or "", row["flags"] or 0
        span.attributes.extend(attributes_of(row))
        for event in map(dict, _parsed(row["events"] or "[]")):
            made = span.events.add(name=event["name"], time_unix_nano=event["time_ns"] % _UINT64)
            made.attributes.extend(_pairs(event["attributes"]))
        for link in map(dict, _parsed(row["links"] or "[]")):
            linked = span.links.add(trace_id=bytes.fromhex(link["trace_id"]), span_id=bytes.fromhex(link["span_id"]))
            linked.attributes.extend(_pairs(link["attributes"]))
    return request.SerializeToString()


def attributes_of(row: Row) -> list[KeyValue]:
    """Every original attribute of a row: those of the map with their types, then those that live in a column."""
    entries = row["attributes"] or []
    entries = list(entries.items()) if isinstance(entries, Mapping) else entries
    letters = row["attribute_types"] or ""
    found = [
        KeyValue(key=key, value=_typed(text, letter)) for (key, text), letter in zip(entries, letters, strict=True)
    ]
    for line in (row["moved_attributes"] or "").splitlines():
        key, _, column = line.rpartition("=")
        found.append(KeyValue(key=key, value=AnyValue(string_value=row[column] or "")))
    return found


def _typed(text: str, letter: str) -> AnyValue:
    """The value of its type; text that redaction left as none of that type is a string."""
    try:
        return _read(text, letter)
    except ValueError:
        return AnyValue(string_value=text)


def _read(text: str, letter: str) -> AnyValue:
    match letter:
        case "i":
            return AnyValue(int_value=int(text))
        case "d":
            return AnyValue(double_value=float(text))
        case "b":
            return AnyValue(bool_value=text == "true")
        case "y":
            return AnyValue(bytes_value=base64.b64decode(text, validate=True))
        case "a" | "k":
            return _value(_parsed(text))
        case "n":
            return AnyValue()
        case _:
            return AnyValue(string_value=text)


def _value(plain: Any) -> AnyValue:
    match plain:
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=plain)
        case int() if -(1 << 63) <= plain < 1 << 63:
            return AnyValue(int_value=plain)
        case int() | float():
            return AnyValue(double_value=float(plain))
        case str():
            return AnyValue(string_value=plain)
        case _Object() if len(plain) == 1 and plain[0][0] == "$bytes" and isinstance(plain[0][1], str):
            return AnyValue(bytes_value=base64.b64decode(plain[0][1]))
        case _Object():
            return AnyValue(kvlist_value=KeyValueList(values=_pairs(plain)))
        case _:
            return AnyValue(array_value=ArrayValue(values=[_value(item) for item in plain]))


class _Object(list[tuple[str, Any]]):
    """The members of a JSON object in order; a key may come twice."""


def _parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_Object)


def _pairs(members: Iterable[tuple[str, Any]]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in members]
