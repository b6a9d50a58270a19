"""Resources and scopes as text. A batch holds few distinct ones, so they are parsed once each and remembered."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from collector.key_table import resource_keys
from collector.remembered import Remembered
from collector.repair import repaired

_SOURCES: Final = resource_keys()
_ESCAPES: Final = {ord('"'): '\\"', ord("\\"): "\\\\"} | {
    code: {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r"}.get(code, f"\\u{code:04x}") for code in range(32)
}


@dataclass(frozen=True, kw_only=True)
class ResourceText:
    """A resource's attributes as JSON (None when it has none) and the columns they can fill."""

    json: str | None
    columns: tuple[tuple[str, str], ...]
    service_name: str | None
    service_version: str | None

    def texts(self) -> tuple[str | None, ...]:
        """What it holds."""
        return (self.json, self.service_name, self.service_version, *(text for _, text in self.columns))


@dataclass(frozen=True, kw_only=True)
class ScopeText:
    """An instrumentation scope's name and version, None where empty."""

    name: str | None
    version: str | None

    def texts(self) -> tuple[str | None, ...]:
        """What it holds."""
        return (self.name, self.version)


def _read_resource(raw: bytes) -> ResourceText:
    """Reads a Resource message; text that is not UTF-8 is repaired, bytes that are no Resource read as empty."""
    try:
        resource = Resource.FromString(raw)
    except DecodeError:
        try:
            resource = Resource.FromString(repaired(raw, "resource"))
        except DecodeError:
            resource = Resource()
    texts = {pair.key: value_text(pair.value) for pair in resource.attributes}
    columns = []
    for column, keys in _SOURCES.items():
        found = next((texts[key] for key in keys if texts.get(key)), None)
        if found:
            columns.append((column, found))
    return ResourceText(
        json=json_object(resource.attributes) if resource.attributes else None,
        columns=tuple(columns),
        service_name=texts.get("service.name") or None,
        service_version=texts.get("service.version") or None,
    )


def _read_scope(raw: bytes) -> ScopeText:
    """Reads an InstrumentationScope message, tolerantly as `_read_resource` does."""
    try:
        scope = InstrumentationScope.FromString(raw)
    except DecodeError:
        try:
            scope = InstrumentationScope.FromString(repaired(raw, "scope"))
        except DecodeError:
            scope = InstrumentationScope()
    return ScopeText(name=scope.name or None, version=scope.version or None)


resource_text: Final = Remembered(_read_resource, 16 << 20)
scope_text: Final = Remembered(_read_scope, 4 << 20)


def value_text(value: AnyValue) -> str:
    """The canonical text of an AnyValue (collector.render says which)."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "double_value":
            return _double_text(value.double_value)
        case None:
            return ""
        case _:
            return json_text(value)


def json_text(value: AnyValue) -> str:
    """The JSON text of an AnyValue (collector.render says how)."""
    match value.WhichOneof("value"):
        case "string_value":
            return _quoted(value.string_value)
        case "int_value":
            return str(value.int_value)
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "double_value":
            text = _double_text(value.double_value)
            return text if math.isfinite(value.double_value) else f'"{text}"'
        case "bytes_value":
            return json.dumps({"$bytes": base64.b64encode(value.bytes_value).decode()}, separators=(",", ":"))
        case "array_value":
            return "[" + ",".join(json_text(item) for item in value.array_value.values) + "]"
        case "kvlist_value":
            return json_object(value.kvlist_value.values)
        case _:
            return "null"


def json_object(pairs: Iterable[KeyValue]) -> str:
    """Attributes as a JSON object, in the order sent."""
    return "{" + ",".join(f"{_quoted(pair.key)}:{json_text(pair.value)}" for pair in pairs) + "}"


def _double_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def _quoted(text: str) -> str:
    escapes: Any = _ESCAPES
    return f'"{text.translate(escapes)}"'
