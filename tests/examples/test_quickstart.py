"""The quickstart as a newcomer runs it: a plain program with OTEL_ variables, and its trace is there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.stack import REPOSITORY, Stack
from tests.waiting import wait_until

VISIBLE_S = 60.0


def quickstart(stack: Stack, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "examples/quickstart_python.py"],
        cwd=REPOSITORY,
        env={**os.environ, **stack.otlp_environment, "OTEL_SERVICE_NAME": "my-agent", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(400)
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_the_python_quickstart_lands_as_one_trace_with_one_model_call(stack: Stack, protocol: str) -> None:
    door = {"grpc": f"http://{stack.otlp_grpc}"}.get(protocol, stack.otlp_http)
    done = quickstart(stack, OTEL_EXPORTER_OTLP_PROTOCOL=protocol, OTEL_EXPORTER_OTLP_ENDPOINT=door)
    assert done.returncode == 0, done.stderr
    path = f"/api/v1/traces/{done.stdout.split()[-1]}"
    with stack.client() as api:
        wait_until(lambda: api.get(path).status_code == 200, VISIBLE_S, "the quickstart's trace")
        found = api.get(path).json()
    trace = found["trace"]
    assert (trace["app"], trace["session_id"], trace["user_id"]) == ("my-agent", "session-1", "user-1")
    assert (trace["n_spans"], trace["n_model_calls"]) == (2, 1)
    assert (trace["input_tokens"], trace["output_tokens"]) == (42, 7)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_refused_key_ends_the_quickstart_with_1_and_the_collectors_words(stack: Stack, protocol: str) -> None:
    done = quickstart(
        stack,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_ENDPOINT={"grpc": f"http://{stack.otlp_grpc}"}.get(protocol, stack.otlp_http),
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20ask_wrong",
    )
    assert done.returncode == 1
    assert "key" in done.stderr
    assert "made trace" not in done.stdout
    assert "Traceback" not in done.stderr


def test_the_page_names_the_variables_the_program_reads() -> None:
    page = (REPOSITORY / "examples" / "quickstart_python.md").read_text(encoding="utf-8")
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SERVICE_NAME"):
        assert name in page
