"""What the real exporters do when the collector is away or says 503 / UNAVAILABLE with a hint: resend, lose nothing."""

from __future__ import annotations

import errno
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.network import Link
from tests.live.providers import Providers
from tests.live.running import TIMEOUT_S, Program, Ran, Runtime, said_by
from tests.live.stored import get, stored
from tests.reliability.faults_layer import SPACE, Kind, Layer, compiler
from tests.stack import Stack, running_stack
from tests.waiting import wait_until

N_SPANS = 2_000
# Room for one of an exporter's batches and not for two: whoever sends on is asked to wait.
SMALL_BACKLOG = {"ASSAY_BACKLOG_BYTES": "400000"}
PYTHON_RETRIES = "Transient error"
JS_RETRIES = "Scheduling export retry in 2000ms"
NEEDS_LAYER = pytest.mark.skipif(compiler() is None, reason="the layer that holds the store needs a C compiler (cc)")


@dataclass(frozen=True, kw_only=True)
class SmallStack:
    """A stack whose collector takes little before it asks senders to wait, and the layer under its files."""

    stack: Stack
    layer: Layer

    def run(self, runtime: Runtime, script: str, app: str, environment: dict[str, str], told: str) -> Ran:
        """Runs a program while the lake refuses every write, until its exporter logged `told`."""
        self.layer.arm(SPACE | Kind.SYNC, error=errno.ENOSPC, match="/lake/")
        try:
            return _until_told(runtime, script, app, environment, told, self.layer.lift)
        finally:
            self.layer.lift()


@pytest.fixture(scope="module")
def small_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallStack]:
    """A stack with a small backlog whose store can be held."""
    folder = tmp_path_factory.mktemp("small")
    layer = Layer(folder / "disk", folder / "layer")
    with running_stack(layer.root, environment=SMALL_BACKLOG | layer.environment) as running:
        yield SmallStack(stack=running, layer=layer)


def assert_all_there_once(stack: Stack, ran: Ran) -> None:
    """Every span is stored, none twice, and the ledger adds up."""
    found = stored(stack, ran)
    assert len(found.spans) == N_SPANS
    spans = next(row for row in get(found.client, "/ledger")["items"] if row["signal"] == "spans")
    assert spans["balanced"]


@NEEDS_LAYER
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
def test_the_python_exporters_obey_the_hint_of_a_busy_collector(
    live_python: Runtime, small_stack: SmallStack, providers: Providers, protocol: str
) -> None:
    app = f"busy-python-{protocol.replace('/', '-')}"
    more = {"LIVE_SPANS": str(N_SPANS), "OTEL_EXPORTER_OTLP_TIMEOUT": "60", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    environment = Program(stack=small_stack.stack, providers=providers).environment(app, **more)
    ran = small_stack.run(live_python, "sdk_spans.py", app, environment, told="retrying in 2.00s")
    assert PYTHON_RETRIES in ran.log
    assert_all_there_once(small_stack.stack, ran)


@NEEDS_LAYER
def test_the_js_exporter_obeys_the_hint_of_a_busy_collector(
    live_node: Runtime, small_stack: SmallStack, providers: Providers
) -> None:
    more = {"LIVE_SPANS": str(N_SPANS), "OTEL_EXPORTER_OTLP_TIMEOUT": "60000", "OTEL_BSP_EXPORT_TIMEOUT": "60000"}
    more["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"] = "256"  # 280 kB of JSON
    app = "busy-js"
    program = Program(stack=small_stack.stack, providers=providers)
    environment = program.environment(app, OTEL_EXPORTER_OTLP_PROTOCOL="http/json", **more)
    ran = small_stack.run(live_node, "span_batch.mjs", app, environment, told=JS_RETRIES)
    assert_all_there_once(small_stack.stack, ran)


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
        ran = _until_told(live_python, "sdk_spans.py", app, environment, PYTHON_RETRIES, link.open)
    assert_all_there_once(stack, ran)


def _until_told(
    runtime: Runtime, script: str, app: str, environment: dict[str, str], told: str, then: Callable[[], object]
) -> Ran:
    """Runs a program; as soon as it logged `told`, `then` is done."""
    command = [*runtime.command, str(runtime.folder / script)]
    with tempfile.TemporaryDirectory() as folder:
        output, log = Path(folder) / "output", Path(folder) / "log"
        with output.open("wb") as out, log.open("wb") as errors:
            process = subprocess.Popen(command, env=environment, stdout=out, stderr=errors)
        try:
            wait_until(lambda: told in log.read_text() + output.read_text(), 60, f"the exporter to log {told!r}")
            then()
            process.wait(timeout=TIMEOUT_S)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, log.read_text()[-4_000:]
        return said_by(app, output.read_text(), log.read_text())
