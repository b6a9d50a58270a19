"""What the real exporters do when the collector is away or says 503 / UNAVAILABLE with a hint: resend, lose nothing."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.network import Link
from tests.live.providers import Providers
from tests.live.running import Program, Ran, Runtime, said_by
from tests.live.stored import get, stored
from tests.stack import Stack, running_stack
from tests.waiting import wait_until

N_SPANS = 2_000
# Room for one of an exporter's batches and not for two: whoever sends on is asked to wait.
SMALL_BACKLOG = {"ASSAY_BACKLOG_BYTES": "400000"}
PYTHON_RETRIES = "Transient error"
JS_RETRIES = "Scheduling export retry in 2000ms"


@pytest.fixture(scope="module")
def small_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose collector takes little before it asks senders to wait."""
    with running_stack(tmp_path_factory.mktemp("small"), environment=SMALL_BACKLOG) as running:
        yield running


def assert_all_there_once(stack: Stack, ran: Ran) -> None:
    """Every span is stored, none twice, and the ledger adds up."""
    found = stored(stack, ran)
    assert len(found.spans) == N_SPANS
    spans = next(row for row in get(found.client, "/ledger")["items"] if row["signal"] == "spans")
    assert spans["balanced"]


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
def test_the_python_exporters_obey_the_hint_of_a_busy_collector(
    live_python: Runtime, small_stack: Stack, providers: Providers, protocol: str
) -> None:
    program = Program(stack=small_stack, providers=providers)
    more = {"LIVE_SPANS": str(N_SPANS), "OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
    app = f"busy-python-{protocol.replace('/', '-')}"
    ran = program.run(live_python, "sdk_spans.py", app, OTEL_EXPORTER_OTLP_PROTOCOL=protocol, **more)
    assert PYTHON_RETRIES in ran.log
    assert "retrying in 2.00s" in ran.log
    assert_all_there_once(small_stack, ran)


def test_the_js_exporter_obeys_the_hint_of_a_busy_collector(
    live_node: Runtime, small_stack: Stack, providers: Providers
) -> None:
    program = Program(stack=small_stack, providers=providers)
    more = {"LIVE_SPANS": str(N_SPANS), "OTEL_EXPORTER_OTLP_TIMEOUT": "60000", "OTEL_BSP_EXPORT_TIMEOUT": "60000"}
    more["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"] = "256"  # 280 kB of JSON
    app = "busy-js"
    ran = program.run(live_node, "span_batch.mjs", app, OTEL_EXPORTER_OTLP_PROTOCOL="http/json", **more)
    assert JS_RETRIES in ran.log
    assert_all_there_once(small_stack, ran)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_python_program_that_starts_before_the_collector_loses_nothing(
    live_python: Runtime, stack: Stack, providers: Providers, protocol: str
) -> None:
    door = stack.otlp_grpc if protocol == "grpc" else stack.otlp_http.removeprefix("http://")
    host, _, port = door.partition(":")
    app = f"early-python-{protocol.replace('/', '-')}"
    with Link((host, int(port))) as link:
        more = {"LIVE_SPANS": str(N_SPANS), "OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
        environment = Program(stack=stack, providers=providers).environment(
            app, OTEL_EXPORTER_OTLP_PROTOCOL=protocol, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{link.address}", **more
        )
        ran = _early(live_python, "sdk_spans.py", app, environment, link)
    assert_all_there_once(stack, ran)


def _early(runtime: Runtime, script: str, app: str, environment: dict[str, str], link: Link) -> Ran:
    """Runs a program whose network opens only once its exporter has failed to connect."""
    command = [*runtime.command, str(runtime.folder / script)]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as errors:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            wait_until(lambda: PYTHON_RETRIES in log.read_text(), 60, "the exporter to find nobody")
            link.open()
            output, _ = process.communicate(timeout=90)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, log.read_text()[-4_000:]
        return said_by(app, output, log.read_text())
