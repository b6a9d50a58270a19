"""A slow normaliser that is right by inspection: what the columns of `store.schema.SPANS` must hold for a request.

The compiled scanner is compared with it, row by row. It covers every column but `tenant`, `date`, `seq`,
`ingested_at`, `content_hash` and `cost_usd`.

Which spans make a row: those with a trace id of 16 bytes and a span id of 8, neither all zero. Others are quarantined.

Canonical text of a value (`attributes`, text columns)
    string: as it is · int: decimal · double: Python's repr, NaN, Infinity, -Infinity · bool: true, false
    bytes: standard base64 with padding · array, kvlist: JSON as below · no value, or a strindex: empty text
Type letters: s i d b y a k n, in that order of the list above (n: no value).

JSON text (arrays, kvlists, events, links, resource)
    compact (separators "," and ":"), members in the order sent, keys sent twice are written twice
    strings: only ", \\ and characters below 0x20 are escaped: \\" \\\\ \\b \\f \\n \\r \\t, else \\u00xx (lower case)
    doubles as repr; NaN, Infinity and -Infinity as those words in quotes; bytes as {"$bytes":"base64"}; no value: null
    event: {"name","time_ns","attributes"} and "dropped" when it is not 0
    link: {"trace_id","span_id","attributes"} and "trace_state", "dropped" when they are not empty or 0; ids in hex
    column null when there is no event, link or resource attribute

Attributes
    Only the first 1,024 received count; the rest are added to `dropped`, issue attributes_truncated.
    A key sent twice: the last wins and stands at its own place, issue duplicate_key.
    Empty texts never fill a column. Text columns that nothing fills are null; so are empty scope names, trace states,
    status messages and parents. `name` is never null.
    Moved: winner of a MOVED column that is a string attribute of the span, where the span is not flagged. It leaves the
    map; `moved_attributes` has the line "key=column", in the order of DIALECT_TEXT, joined by a newline; null if none.
    Flagged: a key in FLAG_KEYS, or one of a family with an ASCII digit after the prefix.

Numbers
    Tokens are read from the canonical text: digits, at most 2^53, optionally followed by "." and zeros; anything else
    is null and issue usage_invalid. Costs: [0-9]+(.[0-9]+)?([eE][+-]?[0-9]{1,3})?, below 1e9, half-even to nine
    places; else null and usage_invalid. ttft_ms: the same number format times its factor; else null, no issue.
    total_tokens: as reported, else input + output (an unknown one counts 0, both unknown: null).
    usage_inconsistent: reported total is not input + output (all three known), cache_read + cache_write above input,
    or reasoning above output.

Times: uint64 kept as two's complement in int64. time_invalid: start or end is 0, at or above 2^63, before
2000-01-01 (seconds or milliseconds sent as nanoseconds), or end < start; then duration_ns is null.
Parent: empty or all zero is a root; of another length than 8, or the span itself: null and parent_invalid.
Issues are joined by "," in the order of ISSUES; null if none. clock_ahead, id_reused and utf8_repaired cannot be seen
here (the first two need context, the last does not pass this parser).
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collector import dialects, unflatten
from core.records import MODEL_KINDS, SpanKind
from store import schema

ISSUES: Final = (
    "time_invalid",
    "utf8_repaired",
    "parent_invalid",
    "duplicate_key",
    "usage_invalid",
    "usage_inconsistent",
    "attributes_truncated",
    "index_bounded",
)
YEAR_2000_NS: Final = 946_684_800 * 10**9
_LETTERS: Final = {
    "string_value": "s",
    "int_value": "i",
    "double_value": "d",
    "bool_value": "b",
    "bytes_value": "y",
    "array_value": "a",
    "kvlist_value": "k",
}
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_TOKENS: Final = re.compile(r"([0-9]{1,16})(?:\.0+)?\Z")
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?\Z")

Row = dict[str, Any]


def rows(request: ExportTraceServiceRequest) -> list[Row]:
    """One dict of columns per storable span, in the order sent."""
    found = []
    for resource_spans in request.resource_spans:
        resource = list(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            found += [row(span, resource, scope_spans.scope) for span in scope_spans.spans if storable(span)]
    return found


def storable(span: Span) -> bool:
    """Whether both ids are of the right length and not all zero."""
    return len(span.trace_id) == 16 and any(span.trace_id) and len(span.span_id) == 8 and any(span.span_id)


def letter(value: AnyValue) -> str:
    """The type letter of a value."""
    return _LETTERS.get(value.WhichOneof("value") or "", "n")


def double_text(value: float) -> str:
    """Python's repr, with NaN, Infinity and -Infinity."""
    if math.isnan(value):
        return "NaN"
    return repr(value) if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


def text(value: AnyValue) -> str:
    """The canonical text of a value."""
    match letter(value):
        case "s":
            return value.string_value
        case "y":
            return base64.b64encode(value.bytes_value).decode()
        case "n":
            return ""
        case "d":
            return double_text(value.double_value)
        case _:
            return json_text(value)


def json_string(value: str) -> str:
    """A JSON string with the fewest escapes."""
    return '"' + "".join(_ESCAPES.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in value) + '"'


def json_text(value: AnyValue) -> str:
    """The JSON text of a value."""
    match letter(value):
        case "s":
            return json_string(value.string_value)
        case "i":
            return str(value.int_value)
        case "d":
            number = value.double_value
            return repr(number) if math.isfinite(number) else f'"{double_text(number)}"'
        case "b":
            return "true" if value.bool_value else "false"
        case "y":
            return '{"$bytes":"' + base64.b64encode(value.bytes_value).decode() + '"}'
        case "a":
            return "[" + ",".join(json_text(each) for each in value.array_value.values) + "]"
        case "k":
            return json_object(value.kvlist_value.values)
        case _:
            return "null"


def json_object(attributes: Iterable[KeyValue]) -> str:
    """A JSON object of attributes, in the order sent."""
    return "{" + ",".join(f"{json_string(each.key)}:{json_text(each.value)}" for each in attributes) + "}"


def int64(value: int) -> int:
    """The two's complement of an unsigned 64-bit number."""
    return value - (1 << 64) if value >= 1 << 63 else value


def row(span: Span, resource: Sequence[KeyValue], scope: InstrumentationScope) -> Row:
    """The columns of one span."""
    issues: set[str] = set()
    kept = list(span.attributes)[: dialects.MAX_ATTRIBUTES]
    n_cut = len(span.attributes) - len(kept)
    if n_cut:
        issues.add("attributes_truncated")
    last = {each.key: position for position, each in enumerate(kept)}
    if len(last) < len(kept):
        issues.add("duplicate_key")
    attributes = [each for position, each in enumerate(kept) if last[each.key] == position]
    own = {each.key: text(each.value) for each in attributes}
    of_resource = {each.key: text(each.value) for each in resource}
    flagged = any(is_flag(key) for key in own)
    filled = unflatten.fill([(each.key, text(each.value)) for each in kept], start_ns=span.start_time_unix_nano)
    if not flagged:
        assert not filled, f"fill answers for a span that nothing flags: {filled}"
    issues |= {filled["issues"]} if "issues" in filled else set()
    columns, moved = text_columns(attributes, own, of_resource, filled, flagged)
    kind = kind_of(own)
    stored = [each for each in attributes if each.key not in moved]
    return {
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_span_id": parent(span, issues),
        "name": span.name,
        "kind": kind.value,
        "otel_kind": span.kind,
        **times(span, issues),
        "status_code": span.status.code,
        "status_message": span.status.message or filled.get("status_message"),
        "service_name": of_resource.get("service.name") or None,
        "service_version": of_resource.get("service.version") or None,
        **columns,
        **usage(own, filled, scope.name, columns["provider"], issues),
        "usage_counted": kind in MODEL_KINDS,
        "attributes": [(each.key, text(each.value)) for each in stored],
        "attribute_types": "".join(letter(each.value) for each in stored),
        "moved_attributes": "\n".join(f"{key}={column}" for key, column in moved.items()) or None,
        "events": events_text(span),
        "links": links_text(span),
        "resource": json_object(resource) if resource else None,
        "scope_name": scope.name or None,
        "scope_version": scope.version or None,
        "trace_state": span.trace_state or None,
        "flags": span.flags,
        "dropped": min(2**31 - 1, n_cut + n_dropped(span)),
        "issues": ",".join(code for code in ISSUES if code in issues) or None,
    }


def n_dropped(span: Span) -> int:
    """What the client says it dropped; the column stops at 2^31 - 1."""
    return span.dropped_attributes_count + span.dropped_events_count + span.dropped_links_count


def is_flag(key: str) -> bool:
    """Whether an attribute key flags its span."""
    if key in dialects.FLAG_KEYS:
        return True
    return any(
        key.startswith(family.prefix) and key[len(family.prefix) :][:1] in set("0123456789")
        for family in dialects.FAMILIES
    )


def text_columns(
    attributes: Sequence[KeyValue],
    own: dict[str, str],
    of_resource: dict[str, str],
    filled: dict[str, str],
    flagged: bool,
) -> tuple[Row, dict[str, str]]:
    """The dialect's text columns, and the attributes that moved: key -> column."""
    columns: Row = {}
    moved: dict[str, str] = {}
    for column in schema.DIALECT_TEXT:
        key, value = winner(dialects.TEXT[column], own, of_resource)
        if column in filled:
            key, value = None, filled[column]
        if column == "provider" and value:
            value = dialects.PROVIDER_ALIASES.get(lower(value), value)
        columns[column] = value
        is_string = any(each.key == key and letter(each.value) == "s" for each in attributes)
        if column in dialects.MOVED and is_string and not flagged:
            assert key is not None
            moved[key] = column
    return columns, moved


def winner(keys: Sequence[str], own: dict[str, str], of_resource: dict[str, str]) -> tuple[str | None, str | None]:
    """The first key with a text that is not empty, and that text."""
    for key in keys:
        name = key.removeprefix(dialects.RESOURCE)
        value = of_resource.get(name) if key != name else own.get(key)
        if value:
            return (None if key != name else key), value
    return None, None


def lower(value: str) -> str:
    """ASCII letters lower-cased, nothing else touched."""
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in value)


def kind_of(own: dict[str, str]) -> SpanKind:
    """The first rule that answers."""
    for rule in dialects.KIND:
        value = own.get(rule.key)
        if not value:
            continue
        if lower(value) in rule.exact:
            return rule.exact[lower(value)]
        for prefix, kind in rule.prefixes:
            if lower(value).startswith(prefix):
                return kind
        if rule.present:
            return rule.present
    return SpanKind.SPAN


def parent(span: Span, issues: set[str]) -> str | None:
    """The parent's id in hex, or None for a root or an unusable one."""
    if not any(span.parent_span_id) and len(span.parent_span_id) in (0, 8):
        return None
    if len(span.parent_span_id) != 8 or span.parent_span_id == span.span_id:
        issues.add("parent_invalid")
        return None
    return span.parent_span_id.hex()


def times(span: Span, issues: set[str]) -> Row:
    """start_ns, end_ns and duration_ns."""
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    sound = YEAR_2000_NS <= start <= end < 1 << 63
    if not sound:
        issues.add("time_invalid")
    return {"start_ns": int64(start), "end_ns": int64(end), "duration_ns": end - start if sound else None}


def usage(own: dict[str, str], filled: dict[str, str], scope: str, provider: str | None, issues: set[str]) -> Row:
    """Token columns, reported cost and ttft_ms."""
    tokens: Row = {}
    for column, keys in dialects.TOKENS.items():
        value = filled.get(column) or winner(keys, own, {})[1]
        tokens[column] = count(value, issues)
    if "input_tokens" not in filled and tokens["input_tokens"] is not None and is_exclusive(scope, provider):
        tokens["input_tokens"] += (tokens["cache_read_tokens"] or 0) + (tokens["cache_write_tokens"] or 0)
    if is_inconsistent(tokens):
        issues.add("usage_inconsistent")
    known = [value for value in (tokens["input_tokens"], tokens["output_tokens"]) if value is not None]
    if tokens["total_tokens"] is None and known:
        tokens["total_tokens"] = sum(known)
    reported = filled.get("cost_reported_usd") or winner(dialects.COST, own, {})[1]
    return {**tokens, "cost_reported_usd": cost(reported, issues), "ttft_ms": ttft(own, filled)}


def is_exclusive(scope: str, provider: str | None) -> bool:
    """Whether this instrumentation's input tokens leave out those of the cache."""
    return any(
        rule.scope == scope and (not rule.providers or provider in rule.providers) for rule in dialects.EXCLUSIVE_CACHE
    )


def is_inconsistent(tokens: Row) -> bool:
    """Whether the counts contradict each other."""
    n_in, n_out, total = tokens["input_tokens"], tokens["output_tokens"], tokens["total_tokens"]
    if None not in (n_in, n_out, total) and total != n_in + n_out:
        return True
    cached = (tokens["cache_read_tokens"] or 0) + (tokens["cache_write_tokens"] or 0)
    reasoning = tokens["reasoning_tokens"] or 0
    return (n_in is not None and cached > n_in) or (n_out is not None and reasoning > n_out)


def count(value: str | None, issues: set[str]) -> int | None:
    """A token count from its text."""
    if not value:
        return None
    found = _TOKENS.match(value)
    if not found or int(found[1]) > 1 << 53:
        issues.add("usage_invalid")
        return None
    return int(found[1])


def cost(value: str | None, issues: set[str]) -> Decimal | None:
    """US dollars with nine decimals."""
    if not value:
        return None
    if not _NUMBER.match(value) or Decimal(value) >= 10**9:
        issues.add("usage_invalid")
        return None
    amount = Decimal(value)
    if amount.adjusted() < -20:
        return Decimal("0E-9")
    return amount.quantize(Decimal("1E-9"), ROUND_HALF_EVEN)


def ttft(own: dict[str, str], filled: dict[str, str]) -> float | None:
    """Milliseconds to the first chunk."""
    if "ttft_ms" in filled:
        return float(filled["ttft_ms"])
    for key, factor in dialects.TTFT:
        value = own.get(key)
        if value:
            milliseconds = float(value) * factor if _NUMBER.match(value) else math.inf
            return milliseconds if math.isfinite(milliseconds) else None
    return None


def events_text(span: Span) -> str | None:
    """The events as JSON."""
    parts = []
    for event in span.events:
        members = [
            f'"name":{json_string(event.name)}',
            f'"time_ns":{event.time_unix_nano}',
            f'"attributes":{json_object(event.attributes)}',
        ]
        if event.dropped_attributes_count:
            members.append(f'"dropped":{event.dropped_attributes_count}')
        parts.append("{" + ",".join(members) + "}")
    return "[" + ",".join(parts) + "]" if parts else None


def links_text(span: Span) -> str | None:
    """The links as JSON."""
    parts = []
    for link in span.links:
        members = [
            f'"trace_id":"{link.trace_id.hex()}"',
            f'"span_id":"{link.span_id.hex()}"',
            f'"attributes":{json_object(link.attributes)}',
        ]
        if link.trace_state:
            members.append(f'"trace_state":{json_string(link.trace_state)}')
        if link.dropped_attributes_count:
            members.append(f'"dropped":{link.dropped_attributes_count}')
        parts.append("{" + ",".join(members) + "}")
    return "[" + ",".join(parts) + "]" if parts else None
