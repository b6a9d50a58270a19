"""What callers see at the doors when something is wrong: limits of size, callers that leave, secrets, other tenants."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.live import USER, Live, live, principal
from tests.waiting import wait_until

BODY: dict[str, Any] = {"model": "fast", "messages": [{"role": "user", "content": "Where is order A-1001?"}]}
KEY = {"authorization": f"Bearer {USER}"}
PROVIDER_KEY = "sk-of-the-provider-0123456789"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One gateway with small limits for all tests of this file."""
    models = {
        "fast": {"targets": [{"upstream": "sim", "model": "sim-1-mini"}]},
        "broken": {"targets": [{"upstream": "sim", "model": "sim-fail-400"}]},
        "private": {"targets": [{"upstream": "sim", "model": "sim-1"}], "tenants": ["other"]},
    }
    routing = {"routed": {"simple": "private", "complex": "fast"}}
    small: dict[str, Any] = {
        "max_body_bytes": 200_000,
        "max_open_bytes": 600_000,
        "body_timeout_s": 3.0,
        "policies": {"routing": routing},
    }
    with live(tmp_path_factory.mktemp("gateway"), models=models, **small) as running:
        yield running


def post(gateway: Live, body: object, **headers: str) -> httpx.Response:
    """One chat completion."""
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers={**KEY, **headers}, timeout=30)


def test_the_health_of_the_process_needs_no_key(gateway: Live) -> None:
    assert httpx.get(f"{gateway.url}/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/v1/completions", 404, "not_found"),
        ("GET", "/../etc/passwd", 404, "not_found"),
    ],
)
def test_what_is_not_served_is_said(gateway: Live, method: str, path: str, status: int, code: str) -> None:
    answer = httpx.request(method, gateway.url + path, headers=KEY, json=BODY if method == "POST" else None)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize("key", ["", "nonsense", "' OR '1'='1", "acme_user" * 60])
def test_a_key_that_is_not_known_is_401_in_openais_shape(gateway: Live, key: str) -> None:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=BODY, headers=headers)
    assert answer.status_code == 401
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_an_azure_client_shows_its_key_in_its_own_header(gateway: Live) -> None:
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=BODY, headers={"api-key": USER}, timeout=30)
    assert answer.status_code == 200


def test_a_body_above_the_limit_is_413_whether_its_length_was_said_or_not(gateway: Live) -> None:
    large = json.dumps({**BODY, "padding": "x" * 250_000}).encode()
    told = httpx.post(f"{gateway.url}/v1/chat/completions", content=large, headers=KEY)

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(large), 8192):
            yield large[at : at + 8192]

    untold = httpx.post(f"{gateway.url}/v1/chat/completions", content=pieces(), headers=KEY)
    assert [told.status_code, untold.status_code] == [413, 413]
    assert "200000 bytes" in told.json()["error"]["message"]


def test_large_bodies_that_are_open_at_once_are_bounded(gateway: Live) -> None:
    """Two callers of a tenant hold 150 kB each, which is its half: a third large one of it is told to come again, while
    another tenant's is served, and those that never send the rest are told so."""
    held = [_begun(gateway, 180_000, 149_000) for _ in range(2)]
    try:
        large = json.dumps({**BODY, "metadata": {"x": "y" * 100_000}}).encode()

        def refused() -> bool:
            answer = httpx.post(f"{gateway.url}/v1/chat/completions", content=large, headers=KEY, timeout=30)
            return answer.status_code == 503 and answer.headers["retry-after"] == "1"

        wait_until(refused, 60, "the third large body to be refused")
        theirs = {"authorization": "Bearer third:user"}
        answer = httpx.post(f"{gateway.url}/v1/chat/completions", content=large, headers=theirs, timeout=30)
        assert answer.status_code == 200
        assert held[0].recv(4096).startswith(b"HTTP/1.1 408")
    finally:
        for each in held:
            each.close()
    wait_until(lambda: post(gateway, {**BODY, "metadata": {"x": "y" * 100_000}}).status_code == 200, 60, "room again")


def _begun(gateway: Live, length: int, sent: int) -> socket.socket:
    """A request of which a part was sent."""
    address = httpx.URL(gateway.url)
    held = socket.create_connection((address.host, address.port or 80))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {USER}\r\ncontent-length: {length}"
    held.sendall(head.encode() + b"\r\n\r\n" + b" " * sent)
    return held


def test_a_caller_that_leaves_within_a_stream_leaves_one_closed_span(gateway: Live) -> None:
    n_before = len(gateway.calls(0))
    with httpx.stream(
        "POST", f"{gateway.url}/v1/chat/completions", json={**BODY, "stream": True}, headers=KEY
    ) as answer:
        call_id = answer.headers["x-assay-call-id"]
        next(answer.iter_raw())
    spans = [each for each in gateway.calls(n_before + 1) if each["assay.gateway.call_id"] == call_id]
    assert len(spans) == 1
    if spans[0].get("assay.gateway.aborted"):  # a short answer may have been whole before
        assert spans[0]["error.type"] == "aborted"
    wait_until(lambda: gateway.service.app.n_open == 0, 10, "no request to be open")


def test_the_providers_own_refusal_reaches_the_caller_without_its_key(gateway: Live) -> None:
    answer = post(gateway, {**BODY, "model": "broken"})
    assert answer.status_code == 400
    call = gateway.calls()[-1]
    assert call["http.response.status_code"] == 400
    assert PROVIDER_KEY not in answer.text + json.dumps(call)


def test_addresses_and_keys_in_the_body_change_nothing(gateway: Live) -> None:
    attack = {**BODY, "api_base": "http://127.0.0.1:9/v1", "api_key": "stolen", "extra_headers": {"host": "evil"}}
    answer = post(gateway, attack)
    assert answer.status_code == 200
    assert answer.headers["x-assay-upstream"] == "sim"
    assert answer.headers["x-assay-flags"].count("dropped:") == 3


def test_one_tenants_models_are_not_anothers(gateway: Live) -> None:
    for name in ("private", "routed"):
        assert post(gateway, {**BODY, "model": name}).status_code == 404
    theirs = {"authorization": "Bearer other:user"}
    answer = httpx.post(
        f"{gateway.url}/v1/chat/completions", json={**BODY, "model": "private"}, headers=theirs, timeout=30
    )
    assert answer.status_code == 200
    assert [each["assay.gateway.virtual_model"] for each in gateway.calls(1, "other")] == ["private"]
    listed = [httpx.get(f"{gateway.url}/v1/models", headers=each).json()["data"] for each in (KEY, theirs)]
    assert [{each["id"] for each in names} & {"private", "routed"} for names in listed] == [
        set(),
        {"private", "routed"},
    ]


def test_a_call_says_where_it_belongs(gateway: Live) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    baggage = "session.id=s1,assay.release=v2,assay.variant=treatment,user.id=anna"
    post(gateway, BODY, traceparent=parent, baggage=baggage, **{"x-assay-app": "shop"})
    call = gateway.calls()[-1]
    assert call["parent"] == "00f067aa0ba902b7"
    assert (call["session.id"], call["assay.release"], call["assay.variant"]) == ("s1", "v2", "treatment")
    assert call["user.id"] == "anna"


def test_status_is_for_those_with_a_key_and_has_no_secret(gateway: Live) -> None:
    assert httpx.get(f"{gateway.url}/status").status_code == 401
    found = httpx.get(f"{gateway.url}/status", headers={"authorization": "Bearer acme:viewer"})
    assert found.json()["upstreams"][0]["upstream"] == "sim"
    assert {model["name"] for model in found.json()["models"]} == {"fast", "broken"}
    assert PROVIDER_KEY not in found.text


def test_a_caller_who_reads_nothing_of_a_stream_is_given_up(tmp_path: Path) -> None:
    """Its upstream is free for others again, and its call has a span."""
    command = [sys.executable, "-m", "tests.gateway.fault_upstream"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as upstream:
        assert upstream.stdout is not None
        url = upstream.stdout.readline().strip()
        targets = [{"upstream": "u", "model": "m"}]
        more: dict[str, Any] = {"upstreams": {"u": {"base_url": url}}, "models": {"m": {"targets": targets}}}
        with live(tmp_path, **more, send_timeout_s=0.5) as running:
            address = httpx.URL(running.url)
            with socket.create_connection((address.host, address.port or 80)) as stuck:
                messages = [{"role": "user", "content": "words=300000"}]  # 45 MB, more than all buffers between
                body = json.dumps({"model": "m", "messages": messages, "stream": True}).encode()
                head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {USER}\r\n"
                stuck.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
                call = running.calls(1)[0]
                assert call["assay.gateway.aborted"]
                assert running.service.status(principal(USER))["upstreams"][0]["in_flight"] == 0


def test_a_call_that_was_refused_before_it_was_read_has_a_span(gateway: Live) -> None:
    n_before = len(gateway.calls(0))
    for body, headers in (
        (b"{", {}),
        (b'{"model": "nobody", "messages": [{"role": "user", "content": "x"}]}', {}),
        (b"", {"content-encoding": "gzip"}),
        (b"x" * 250_000, {}),
    ):
        httpx.post(f"{gateway.url}/v1/chat/completions", content=body, headers={**KEY, **headers}, timeout=30)
    viewer = {"authorization": "Bearer acme:viewer"}
    httpx.post(f"{gateway.url}/v1/chat/completions", json=BODY, headers=viewer, timeout=30)
    calls = gateway.calls(n_before + 5)[n_before:]
    codes = ["invalid_request", "model_not_found", "content_encoding", "too_large", "forbidden"]
    assert [call["assay.gateway.refused"] for call in calls] == codes
    assert {call["name"] for call in calls} == {"chat"}


def test_figures_of_an_upstream_are_for_a_tenant_that_has_it_alone(gateway: Live) -> None:
    assert post(gateway, BODY).status_code == 200
    theirs = {"authorization": "Bearer other:user"}
    httpx.post(f"{gateway.url}/v1/chat/completions", json={**BODY, "model": "private"}, headers=theirs, timeout=30)
    found = httpx.get(f"{gateway.url}/status", headers=KEY).json()
    assert set(found["upstreams"][0]) == {"upstream", "wire", "state", "opens_again_in_s"}
    assert "n_open" not in found
    ingest = {"authorization": "Bearer acme:ingest"}
    for path in ("/status", "/v1/models"):
        assert httpx.get(gateway.url + path, headers=ingest).status_code == 403


def test_embeddings_are_not_streamed(gateway: Live) -> None:
    body = {"model": "fast", "input": "x", "stream": True}
    answer = httpx.post(f"{gateway.url}/v1/embeddings", json=body, headers=KEY, timeout=30)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "stream"
