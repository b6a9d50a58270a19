"""The corpus of bad inputs: every case of `cases/` goes to one running stack; then what must hold always is checked."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import pytest
from google.rpc.status_pb2 import Status

from core.records import Counts
from tests.bad_inputs.bodies import body_of, filled
from tests.bad_inputs.standing import ANSWER_WITHIN_S, Standing, Tenant
from tests.collector.doors import Wire, partial_of
from tests.stack import REPOSITORY, Stack, running_stack

CASES: Final = Path(__file__).parent / "cases"
TYPES: Final = {"protobuf": "application/x-protobuf", "json": "application/json"}
METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
Case = dict[str, Any]


def cases(*doors: str) -> list[Any]:
    """All cases of these doors, named by file and name."""
    found = []
    for path in sorted(CASES.glob("*.toml")):
        for case in tomllib.loads(path.read_text(encoding="utf-8"))["case"]:
            if case["door"] in doors:
                found.append(pytest.param(case, id=f"{path.stem}: {case['name']}"))
    return found


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """One stack for all cases, warm: what a first request loads is loaded."""
    with running_stack(tmp_path_factory.mktemp("bad-inputs")) as stack:
        watched = Standing(stack)
        warm = watched.tenant()
        for _ in range(5):
            watched.send_healthy(warm, "warm")
        for path in ("spans", "traces", "sessions", "ledger", "search?q=x", "rollups"):
            joint = "&" if "?" in path else "?"
            window = "" if path == "ledger" else f"{joint}since=7d"
            httpx.get(f"{stack.url}/api/v1/{path}{window}", headers=stack.headers, timeout=ANSWER_WITHIN_S)
        yield watched
        watched.close()


def test_the_corpus_is_well_formed() -> None:
    names = [each.id for each in cases("http", "raw", "grpc", "api", "cli", "settings")]
    assert len(names) == len(set(names))
    assert len(names) >= 220


@pytest.mark.parametrize("case", cases("http", "raw", "grpc", "api", "cli", "settings"))
def test_every_case_that_is_refused_says_which_words_name_the_mistake(case: Case) -> None:
    expect = case["expect"]
    well = expect.get("status", 200) == 200 and expect.get("code", "OK") == "OK" and expect.get("exit", 0) == 0
    assert well or expect.get("says") or expect.get("field")


@pytest.mark.parametrize("case", cases("http", "raw", "grpc"))
def test_collector(standing: Standing, case: Case) -> None:
    tenant, canary = standing.tenant(), f"canary-{secrets.token_hex(8)}"
    before = standing.footprint()
    standing.send_healthy(tenant, "before")
    send = {"http": _http, "raw": _raw, "grpc": _grpc}[case["door"]]
    body = body_of(case.get("body", {}) if case["door"] == "raw" else case, canary)
    warning = send(standing.stack, case, tenant, canary, body)
    standing.send_healthy(tenant, "after")
    expect = case["expect"]
    for said in expect.get("warns", []):
        assert said in warning
    counted = {name: expect.get(name, 0) for name in ("received", "stored", "duplicate", "quarantined", "rejected")}
    signal = expect.get("signal", "spans")
    healthy = Counts(received=2, stored=2)
    if signal != "spans":
        standing.settled(tenant, Counts(**counted), signal)
        counted = {}
    standing.settled(tenant, healthy + Counts(**counted))
    rows = [row for row in standing.stored(tenant) if row["name"] != "healthy"]
    if "issues" in expect:
        assert sorted({code for row in rows for code in (row["issues"] or "").split(",") if code}) == expect["issues"]
    for column, value in expect.get("columns", {}).items():
        assert [row[column] for row in rows] == [None if value == "null" else value] * len(rows), column
    for row in rows:
        assert dict(row["attributes"]).items() >= expect.get("attributes", {}).items()
    for reason in expect.get("reasons", []):
        assert reason in {row["reason"] for row in standing.stored(tenant, "quarantine")}
    for score, row in zip(expect.get("scores", []), standing.stored(tenant, "scores"), strict=False):
        assert {column: row[column] or "null" for column in score} == score
    standing.check(tenant, before, canary, payload=body)


def _http(stack: Stack, case: Case, tenant: Tenant, canary: str, body: bytes) -> str:
    """Sends a case over HTTP; the warning of its answer, or its error's message."""
    kind = str(case.get("type", "protobuf"))
    headers = [("content-type", TYPES.get(kind, kind))]
    if case.get("key", "own") == "own":
        headers.append(("authorization", f"Bearer {tenant.ingest}"))
    headers += [(name, filled(value, canary).replace("$KEY", tenant.ingest)) for name, value in case.get("headers", [])]
    answer = httpx.request(
        case.get("method", "POST"),
        stack.otlp_http + filled(case.get("path", "/v1/traces"), canary).replace("$KEY", tenant.ingest),
        content=body,
        headers=headers,
        timeout=ANSWER_WITHIN_S,
    )
    return _judged(case, answer.status_code, answer.content, dict(answer.headers))


def _judged(case: Case, status: int, body: bytes, headers: dict[str, str]) -> str:
    """Checks an answer of the HTTP door: status, shape, words. The message it carries."""
    expect = case["expect"]
    is_json = headers["content-type"] == TYPES["json"]
    if status == 200:
        assert expect["status"] == 200, body
        if is_json:
            return str(json.loads(body).get("partialSuccess", {}).get("errorMessage", ""))
        partial = partial_of(body)
        return partial.error_message if partial else ""
    message = json.loads(body)["message"] if is_json else Status.FromString(body).message
    assert status == expect["status"], message
    assert "location" not in headers
    assert ("retry-after" in headers) == (status in (429, 503))
    for said in expect.get("says", []):
        assert said in message
    assert len(message) > 10
    return str(message)


def _raw(stack: Stack, case: Case, tenant: Tenant, canary: str, body: bytes) -> str:
    """Sends bytes as they are over a socket of their own; {KEY} and {LENGTH} are filled in."""
    text = filled(case["raw"], canary).replace("$KEY", tenant.ingest).replace("$LENGTH", str(len(body)))
    head = text.strip().replace("\n", "\r\n").encode() + b"\r\n\r\n"
    with Wire(int(stack.otlp_http.rsplit(":", 1)[1]), ANSWER_WITHIN_S) as wire:
        wire.send(head + body)
        message = _judged(case, *wire.answer())
        if case["expect"].get("closes"):
            assert wire.closed()
    return message


def _grpc(stack: Stack, case: Case, tenant: Tenant, canary: str, body: bytes) -> str:
    """Sends a case over gRPC; the warning of its answer, or its error's message."""
    own = case.get("key", "own") == "own"
    metadata: list[tuple[str, str | bytes]] = [("authorization", f"Bearer {tenant.ingest}")] if own else []
    metadata += [
        (name, _bytes_or_text(value.replace("$KEY", tenant.ingest))) for name, value in case.get("metadata", [])
    ]
    compression = grpc.Compression.Gzip if case.get("gzip") else grpc.Compression.NoCompression
    with grpc.insecure_channel(stack.otlp_grpc, [("grpc.max_send_message_length", -1)]) as channel:
        call = channel.unary_unary(case.get("method", METHOD)).future(
            body, metadata=metadata, timeout=ANSWER_WITHIN_S, compression=compression
        )
        code, details = call.code(), call.details() or ""
        assert code.name == case["expect"]["code"], details
        if code is grpc.StatusCode.OK:
            partial = partial_of(call.result())
            return partial.error_message if partial else ""
        assert ("google.rpc.retryinfo-bin" in dict(call.trailing_metadata())) == (code is grpc.StatusCode.UNAVAILABLE)
    for said in case["expect"].get("says", []):
        assert said in details
    return str(details)


@pytest.mark.parametrize("case", cases("api"))
def test_api(standing: Standing, case: Case) -> None:
    tenant, canary = standing.tenant(), f"canary-{secrets.token_hex(8)}"
    standing.send_healthy(tenant, "before")
    standing.settled(tenant, Counts(received=1, stored=1))
    before = standing.footprint()
    headers = [("authorization", f"Bearer {tenant.admin}")] if case.get("key", "own") == "own" else []
    headers += [(name, value.replace("$KEY", tenant.admin)) for name, value in case.get("headers", [])]
    if "text" in case:
        headers.append(("content-type", "application/json"))
    body = body_of(case, canary)
    answer = httpx.request(
        case.get("method", "GET"),
        standing.stack.url + _of_bystander(filled(case["path"], canary), standing.bystander),
        content=body,
        headers=headers,
        timeout=ANSWER_WITHIN_S,
    )
    assert answer.status_code == case["expect"]["status"], answer.text
    if answer.is_success:
        assert answer.json()["items"] == []
    else:
        _problem(case["expect"], answer)
    standing.send_healthy(tenant, "after")
    standing.settled(tenant, Counts(received=2, stored=2))
    standing.check(tenant, before, canary, payload=body)


def _of_bystander(text: str, bystander: Tenant) -> str:
    """A text with the ids of what another tenant has."""
    names = {"$BYSTANDER": bystander.traces[0], "$BYSPAN": next(iter(bystander.healthy)), "$BYKEY": bystander.key_id}
    for name, value in names.items():
        text = text.replace(name, value)
    return text


def _problem(expect: dict[str, Any], answer: httpx.Response) -> None:
    """Checks an error of the API: its one shape, and what it names."""
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert {"type", "title", "status", "detail", "code", "instance"} <= set(said)
    assert said["status"] == expect["status"]
    assert "Traceback" not in answer.text
    if "field" in expect:
        assert said["field"] == expect["field"]
    for word in expect.get("says", []):
        assert word in said["detail"]


@pytest.mark.parametrize("case", cases("cli", "settings"))
def test_command(standing: Standing, case: Case, tmp_path: Path) -> None:
    tenant, canary = standing.tenant(), f"canary-{secrets.token_hex(8)}"
    before = standing.footprint()
    standing.send_healthy(tenant, "before")
    done = _command(standing.stack, case, tenant, tmp_path, canary)
    expect = case["expect"]
    assert done.returncode == expect["exit"], done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= expect.get("lines", 3), done.stderr
    for said in expect.get("says", []):
        assert said in done.stderr
    assert tenant.admin not in done.stderr + done.stdout
    standing.send_healthy(tenant, "after")
    imported = Counts(received=expect.get("received", 0), stored=expect.get("stored", 0))
    standing.settled(tenant, Counts(received=2, stored=2) + imported)
    files = b"\n".join((tmp_path / name).read_bytes() for name in case.get("files", {}))
    standing.check(tenant, before, canary, payload=files)


def _bytes_or_text(said: str) -> str | bytes:
    """What a case writes as `hex:` and digits, or the text itself."""
    return bytes.fromhex(said.removeprefix("hex:")) if said.startswith("hex:") else said


def _command(stack: Stack, case: Case, tenant: Tenant, folder: Path, canary: str) -> subprocess.CompletedProcess[str]:
    """Runs `assay` as a case says, in a folder with the files it names."""
    for name, text in case.get("files", {}).items():
        said = _bytes_or_text(filled(text, canary))
        (folder / name).write_bytes(said if isinstance(said, bytes) else said.encode())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
    if case["door"] == "cli":
        environment |= {"ASSAY_URL": stack.url, "ASSAY_API_KEY": tenant.admin}
    port = stack.otlp_http.rsplit(":", 1)[1]
    arguments = [_bytes_or_text(each.replace("$PORT", port)) for each in case["arguments"]]
    environment |= {"PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1", "COLUMNS": "160"} | case.get("environment", {})
    return subprocess.run(
        [sys.executable, "-m", "server.cli.main", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
