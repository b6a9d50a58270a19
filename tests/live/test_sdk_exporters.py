"""The OpenTelemetry SDKs' own exporters, Python and JS, on every transport: all spans, every kind of value, retries."""

from __future__ import annotations

import math

import pytest

from tests.live.running import Program, Runtime, assert_nothing_lost
from tests.live.stored import assert_tree_connected, get, stored
from tests.stack import Stack

N_SPANS = 2_000
# Attribute -> what the API says of it, as the program sets it.
EVERY_KIND = {
    "live.string": "příliš žluťoučký 🐎",
    "live.empty": "",
    "live.int": 9_007_199_254_740_993,
    "live.negative": -(2**63),
    "live.double": 0.1,
    "live.bool": True,
    "live.strings": ["a", "b"],
    "live.ints": [1, 2, 3],
    "live.doubles": [0.5, -0.5],
    "live.bools": [True, False],
    "live.mixed": ["a", 1, 0.5, False],
    "live.map": {"seat": {"row": 12, "letter": "A"}, "free": True},
    "live.none": None,
}


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
def test_python_exporters_lose_nothing(
    live_python: Runtime, program: Program, stack: Stack, protocol: str, compression: str
) -> None:
    app = f"sdk-python-{protocol.replace('/', '-')}-{compression}"
    more = {"LIVE_SPANS": str(N_SPANS)}
    if compression != "none":  # the gRPC exporter refuses to be told "none"
        more["OTEL_EXPORTER_OTLP_COMPRESSION"] = compression
    ran = program.run(live_python, "sdk_spans.py", app, OTEL_EXPORTER_OTLP_PROTOCOL=protocol, **more)
    assert_nothing_lost(ran)
    found = stored(stack, ran)
    assert_tree_connected(found.spans)
    spans = {span["name"]: span for span in found.spans}
    assert sorted(name for name in spans if name.startswith("plain ")) == sorted(
        f"plain {position}" for position in range(N_SPANS - 4)
    )
    kinds = found.full(spans["every kind"])
    assert {name: kinds["attributes"][name] for name in EVERY_KIND} == EVERY_KIND
    assert kinds["attributes"]["live.bytes"] in ("AP8Q", "00ff10")
    assert kinds["attributes"]["live.infinite"] in ("Infinity", math.inf)
    assert kinds["status"] == "ok"
    assert [(event["name"], event["time_ns"]) for event in kinds["events"]] == [("picked", 1_760_000_000_123_456_789)]
    assert kinds["events"][0]["attributes"] == {"seat": "12A", "tries": 3}
    assert [(link["trace_id"], link["span_id"]) for link in kinds["links"]] == [
        (ran.said["trace_id"], ran.said["root"])
    ]
    assert kinds["links"][0]["attributes"] == {"why": "the root"}
    assert (kinds["scope_name"], kinds["scope_version"]) == ("live.sdk", "4.5.6")
    assert found.full(spans["big"])["attributes"]["live.big"] == "0123456789abcdef" * 16_384
    failing = found.full(spans["failing"])
    assert failing["status"] == "error"
    assert failing["status_message"] == "LookupError: no such seat"
    exception = failing["events"][0]["attributes"]
    assert (exception["exception.type"], exception["exception.message"]) == ("LookupError", "no such seat")


@pytest.mark.parametrize("protocol", ["http/json", "http/protobuf"])
def test_js_exporters_lose_nothing(live_node: Runtime, program: Program, stack: Stack, protocol: str) -> None:
    app = f"sdk-js-{protocol.replace('/', '-')}"
    more = {"LIVE_SPANS": str(N_SPANS), "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    ran = program.run(live_node, "span_batch.mjs", app, **more)
    assert_nothing_lost(ran)
    found = stored(stack, ran)
    assert_tree_connected(found.spans)
    spans = {span["name"]: span for span in found.spans}
    assert len(spans) == N_SPANS
    first = found.full(spans["span 0"])
    wanted = {"position": 0, "half": 0, "even": True, "words": ["a", "b"], "text": "žluťoučký 🐎"}
    assert {name: first["attributes"][name] for name in wanted} == wanted
    assert first["attributes"]["big"] == 2**53 - 1
    assert (first["status"], first["status_message"]) == ("error", "no such seat")
    assert [event["name"] for event in first["events"]] == ["exception", "picked"]
    assert first["links"][0]["span_id"] == spans["batch"]["span_id"]


def test_the_ledger_balances_after_all_of_them(stack: Stack) -> None:
    with stack.client() as client:
        rows = get(client, "/ledger")["items"]
    spans = next(row for row in rows if row["signal"] == "spans")
    assert spans["balanced"]
    assert spans["quarantined"] == spans["rejected"] == 0
    assert spans["received"] == spans["stored"] + spans["duplicate"]
