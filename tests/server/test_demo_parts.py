"""The demo's parts: earlier traffic once, then users for ever; both commands are understood by who runs them."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent_runtime.__main__ import _parser as agent_parser
from agent_runtime.simulation.trials_cli import releases_of
from gateway.config_file import load_config
from server.cli import demo, demo_gateway, simulate
from server.cli.up import Places

# A supervisor over a part that ends at once and is followed by another; lines that it is told to say are printed.
PROGRAM = """
import sys
from pathlib import Path
from server.supervisor import Part, Supervisor
supervisor = Supervisor(Path(sys.argv[1]), say=lambda line: print(line, flush=True))
supervisor.lock()
second = Part(name="second", command=[sys.executable, "-c", "import time; time.sleep(600)"], ports=[])
first = [sys.executable, "-c", sys.argv[2]]
once = len(sys.argv) > 3
supervisor.start([Part(name="first", command=first, ports=[], then=None if once else second, once=once)])
if once:
    supervisor.start([second])
supervisor.watch()
supervisor.stop()
"""


def _lines(folder: Path, code: str, n: int, *more: str) -> list[str]:
    words = [sys.executable, "-c", PROGRAM, str(folder / "run"), code, *more]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        found = [process.stdout.readline().strip() for _ in range(n)]
        process.send_signal(signal.SIGTERM)
        return [*found, process.stdout.readline().strip()]
    finally:
        process.kill()
        process.wait()


def test_a_part_that_is_done_is_told_once_and_followed(tmp_path: Path) -> None:
    told, stopping = _lines(tmp_path, "print('much\\nall of it is there')", 1)
    assert told == "first: all of it is there"
    assert stopping == "stopping second; what was acknowledged is kept"


def test_a_part_that_is_to_run_once_is_told_and_not_started_again(tmp_path: Path) -> None:
    told, stopping = _lines(tmp_path, "print('all of it is there')", 1, "once")
    assert told == "first: all of it is there"
    assert stopping == "stopping second; what was acknowledged is kept"


def test_a_part_that_breaks_off_is_started_again_and_not_followed(tmp_path: Path) -> None:
    lines = _lines(tmp_path, "import time; time.sleep(0.3); raise SystemExit(3)", 2)
    assert lines[0] == "the first ended (exit code 3); starting it again"
    assert lines[1] == "the first ended (exit code 3); starting it again in 1 s"


def test_the_demo_fills_the_time_before_and_goes_on_live(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = {"API": 1, "OTLP HTTP": 2, "OTLP gRPC": 3}
    places = Places(data=tmp_path, host="127.0.0.1", ports=ports, environment={})
    (history,) = demo._traffic(places, "key")
    said = capsys.readouterr().err
    assert "earlier traffic" in said
    assert f"agent chat --data {tmp_path}" in said
    monitors = history.then
    assert monitors is not None
    assert (monitors.name, monitors.environment["ASSAY_URL"]) == ("monitors", "http://127.0.0.1:1")
    users = monitors.then
    assert users is not None
    assert users.then is None
    became = []
    for part in (history, users):
        words = list(part.command)[part.command.index("simulate") + 1 :]
        parser = argparse.ArgumentParser()
        simulate.add_arguments(parser)
        args = parser.parse_args(words)
        monkeypatch.setattr(simulate, "become_agent", lambda words, _: became.append(words))
        monkeypatch.setattr(simulate, "client_of", lambda args: _Api())
        simulate.run(args)
    made, live = (agent_parser().parse_args(words) for words in became)
    assert (made.fidelity, made.fill, made.baseline, made.release) == ("trace", True, "demo-v1", "demo-v2")
    assert (live.fidelity, live.fill, live.sessions) == ("full", False, "0")
    assert json.dumps(made.fault) == json.dumps(live.fault)


def test_the_demo_leads_its_users_through_the_gateway(tmp_path: Path) -> None:
    ports = {"API": 1, "OTLP HTTP": 2, "OTLP gRPC": 3, "gateway": 4, "agent": 5, "simulated model": 6}
    places = Places(data=tmp_path / "new", host="127.0.0.1", ports=ports, environment={})
    demo_gateway.write_file(places)
    written = tmp_path / "new" / "gateway.yaml"
    config = load_config(written, {"ASSAY_SIMULATED_PORT": "6", "ASSAY_AGENT_PORT": "5"}).config
    assert config.upstreams["simulated"].base_url == "http://127.0.0.1:6/v1"
    assert config.models["sim-1"].cache == "off"
    assert config.models["sim-embed"].kind == "embeddings"
    releases = dict.fromkeys(("demo-v1", "demo-v2"), "http://127.0.0.1:5")
    assert config.sessions["larkspur-support"].releases == releases
    model, agent, history, evaluations, judges = demo._traffic(places, "key")
    given = agent_parser().parse_args(list(agent.command)[agent.command.index("trials") :])
    assert [each.name for each in releases_of(given)] == list(releases)
    assert releases_of(given)[1].faults == demo.FAULTS
    assert list(agent.ports) == [given.port] == [5]
    assert (evaluations.once, evaluations.environment["ASSAY_AGENT_PORT"]) == (True, "5")
    assert (judges.once, judges.environment["ASSAY_SIMULATED_PORT"]) == (True, "6")
    assert (model.name, list(model.ports)) == ("model", [6])
    assert str(tmp_path / "new" / "agent" / "world.db") in model.command
    assert history.then is not None
    assert history.then.then is not None
    assert "--model-url=http://127.0.0.1:4/v1" in history.then.then.command
    assert not [word for word in history.command if "model-url" in word], "traces are recorded as fast as before"
    written.write_text("version: 1\n")
    demo_gateway.write_file(places)
    assert written.read_text() == "version: 1\n", "a file that is there is yours"


class _Api:
    """Stands for a server that answers."""

    url, key = "http://127.0.0.1:1", "key"

    def get(self, *_: object) -> dict[str, object]:
        return {}
