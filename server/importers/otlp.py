"""OTLP files -> requests: JSON or protobuf, one request or many, plain or gzip, as exporters and collectors write them.

Understood, by content and not by name: a JSON request (or a list of them), JSONL with a request per line (the
OpenTelemetry Collector's file exporter), one protobuf request, protobuf requests each after a 4-byte big-endian length
(the same exporter's `proto` format) or after a varint length. A JSON body travels as it is, byte for byte.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from server.importers import otlp_binary, reading
from server.importers.delivery import JSON, Shipment, Signal
from server.importers.reading import BadLine

SPLIT_FROM: Final = 32 * 1024 * 1024  # bytes: larger requests are cut, since doors refuse 64 MiB and more
SPANS_PER_PART: Final = 512

# signal: (list of resources, list of scopes, list of records)
_NESTING: Final = {
    Signal.TRACES: ("resourceSpans", "scopeSpans", "spans"),
    Signal.LOGS: ("resourceLogs", "scopeLogs", "logRecords"),
    Signal.METRICS: ("resourceMetrics", "scopeMetrics", "metrics"),
}


def shipments(path: Path, *, app: str | None, signal: Signal | None) -> Iterator[Shipment | BadLine]:
    """The requests of a file in its order; what is none is given as the BadLine that says why.

    `app` puts every span under that application (resource attribute assay.app). `signal` says what protobuf files
    hold where it cannot be told from them; JSON says it itself.
    """
    try:
        if _starts_like_json(path):
            yield from _of_json(path, app)
        else:
            yield from otlp_binary.shipments(path, reading.whole(path), app=app, signal=signal)
    except BadLine as error:
        yield error


def _starts_like_json(path: Path) -> bool:
    with reading.open_decompressed(path) as stream:
        try:
            head = stream.read(4096)
        except (OSError, EOFError, zlib.error):
            return True  # reading it as lines names the fault
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text == b"" or text[:1] in b"{[" or head.startswith((b"\xff\xfe", b"\xfe\xff"))


def _of_json(path: Path, app: str | None) -> Iterator[Shipment | BadLine]:
    """JSONL if the first line is a whole JSON value, otherwise one value over many lines."""
    per_line = None
    for line in reading.lines(path):
        if per_line is None:
            per_line = _loads(line.content) is not None
            if not per_line:
                break
        yield from _of_document(path, line.number, line.content, app)
    if per_line is False:
        yield from _of_document(path, 0, reading.whole(path), app)


def _of_document(path: Path, number: int, content: bytes, app: str | None) -> Iterator[Shipment | BadLine]:
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        document = orjson.loads(content)
    except ValueError as error:
        yield BadLine(path, number, f"not JSON: {error}")
        return
    requests = document if isinstance(document, list) else [document]
    for request in requests:
        found = [signal for signal, names in _NESTING.items() if isinstance(request, dict) and names[0] in request]
        if not found:
            yield BadLine(path, number, _what_it_is(request))
        for signal in found:
            alone = len(found) == 1 and request is document
            try:
                yield from _of_request(path, number, signal, request, content if alone else None, app)
            except _WrongShape as error:
                yield BadLine(path, number, str(error))


def _of_request(
    path: Path, number: int, signal: Signal, request: dict[str, Any], original: bytes | None, app: str | None
) -> Iterator[Shipment]:
    resources = _list(request, _NESTING[signal][0])
    if app is not None:
        resources, original = [_under_app(one, app) for one in resources], None
    body = original if original is not None else orjson.dumps({_NESTING[signal][0]: resources})
    if len(body) <= SPLIT_FROM:
        yield _shipment(path, number, signal, body, resources)
        return
    for part in _parts(resources, _NESTING[signal]):
        yield _shipment(path, number, signal, orjson.dumps({_NESTING[signal][0]: [part]}), [part])


def _shipment(path: Path, number: int, signal: Signal, body: bytes, resources: list[Any]) -> Shipment:
    _, scopes, records = _NESTING[signal]
    leaves = [leaf for resource in resources for scope in _list(resource, scopes) for leaf in _list(scope, records)]
    starts = [start for leaf in leaves if (start := _start_ns(leaf))]
    return Shipment(
        signal=signal,
        content_type=JSON,
        body=body,
        n_records=len(leaves),
        origin=f"{path}:{number}" if number else str(path),
        first_ns=min(starts, default=None),
        last_ns=max(starts, default=None),
    )


def _parts(resources: list[Any], names: tuple[str, str, str]) -> Iterator[dict[str, Any]]:
    """Resources with one scope and at most SPANS_PER_PART records each."""
    _, scopes, records = names
    for resource in resources:
        for scope in _list(resource, scopes):
            leaves = _list(scope, records)
            for at in range(0, len(leaves), SPANS_PER_PART):
                part = {**scope, records: leaves[at : at + SPANS_PER_PART]}
                yield {**resource, scopes: [part]}


def _under_app(resource: Any, app: str) -> dict[str, Any]:
    known = resource if isinstance(resource, dict) else {}
    described = known.get("resource") or {}
    kept = [one for one in _list(described, "attributes") if isinstance(one, dict) and one.get("key") != "assay.app"]
    named = {"key": "assay.app", "value": {"stringValue": app}}
    return {**known, "resource": {**described, "attributes": [*kept, named]}}


class _WrongShape(Exception):
    """A part of a JSON request that is not what OTLP says."""


def _list(parent: Any, name: str) -> list[Any]:
    found = parent.get(name) if isinstance(parent, dict) else None
    if found is None:
        return []
    if not isinstance(found, list):
        raise _WrongShape(f"{name} must be a list, not {type(found).__name__}")
    return found


def _start_ns(leaf: Any) -> int | None:
    found = leaf.get("startTimeUnixNano") or leaf.get("timeUnixNano") if isinstance(leaf, dict) else None
    try:
        return int(found) if found is not None else None
    except (TypeError, ValueError):
        return None


def _what_it_is(request: Any) -> str:
    wanted = "resourceSpans, resourceLogs or resourceMetrics"
    if not isinstance(request, dict):
        return f"not an OTLP request: a JSON {type(request).__name__}, not an object with {wanted}"
    if {"resource_spans", "resource_logs", "resource_metrics"} & request.keys():
        return f"not an OTLP/JSON request: its keys are snake_case; OTLP/JSON has {wanted}"
    if "messages" in request or "traj" in request:
        return "not an OTLP request, it looks like a benchmark's: use `assay import tau2` or `assay import tau-bench`"
    return f"not an OTLP request: it has none of {wanted}"


def _loads(content: bytes) -> object | None:
    parse: Callable[[bytes], object] = orjson.loads
    try:
        return parse(content)
    except ValueError:
        return None
