"""What commands print ends with how to go on: lines to be pasted, without blanks behind them, and no key in a log."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from core.records import Role
from server.cli import up
from server.cli.main import main
from server.cli.outcome import ExitCode
from server.cli.up import Places
from tests.server.shell import AIRLINE, running_shell, served
from tests.store.build import agent_trace, fill

PORTS = {"OTLP gRPC": 4317, "OTLP HTTP": 4318, "API": 8080, "gateway": 8090, "dashboard": 8501}


def test_a_start_says_how_to_look_and_how_to_send(capsys: pytest.CaptureFixture[str]) -> None:
    places = Places(data=Path("/srv/my data"), host="127.0.0.1", ports=PORTS, environment={})
    up._welcome(places, {"tenant": "default", "key": "ask_1_2"})
    lines = capsys.readouterr().out.splitlines()
    assert all(line == line.rstrip() for line in lines)
    (look,) = [line.removeprefix("to look    ") for line in lines if line.startswith("to look ")]
    assert shlex.split(look)[1:] == ["traces", "list", "--since", "1h", "--data", "/srv/my data"]
    (send,) = [line.removeprefix("to send    ") for line in lines if line.startswith("to send ")]
    assert shlex.split(send) == [
        "export",
        "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318",
        "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20ask_1_2",
    ]
    (call,) = [line.removeprefix("to call    ") for line in lines if line.startswith("to call ")]
    assert shlex.split(call) == ["export", "OPENAI_BASE_URL=http://127.0.0.1:8090/v1", "OPENAI_API_KEY=ask_1_2"]
    assert "gateway    http://127.0.0.1:8090/v1" in lines
    without = {name: port for name, port in PORTS.items() if name != "gateway"}
    places = Places(data=Path("/srv"), host="127.0.0.1", ports=without, environment={})
    up._welcome(places, {"tenant": "default", "key": "ask_1_2"})
    assert "gateway" not in capsys.readouterr().out


def test_a_key_for_a_program_comes_with_the_variable_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_shell(tmp_path) as shell, served(shell.services) as url:
        words = ["keys", "create", "--name", "a", "--url", url, "--key", shell.keys[AIRLINE, Role.ADMIN]]
        assert main([*words, "--role", "ingest"]) == ExitCode.OK
        said = capsys.readouterr()
        assert said.err.splitlines()[-1].endswith('OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20THE_KEY"')
        assert said.out.strip() not in said.err
        assert main([*words, "--role", "user"]) == ExitCode.OK
        assert "OTEL_" not in capsys.readouterr().err


def test_a_remap_into_a_pipe_begins_with_its_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_shell(tmp_path) as shell:
        fill(shell.services.lake, agent_trace(1, tenant=AIRLINE))
        data = str(shell.services.settings.data)
        assert main(["remap", "--data", data, "--tenant", str(AIRLINE), "--dry-run"]) == ExitCode.OK
    assert "of 4 spans" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize(("tenant", "code"), [("nosuch", ExitCode.NOT_FOUND), ("../default", ExitCode.USAGE)])
def test_a_remap_of_no_tenant_says_so(
    tenant: str, code: ExitCode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_shell(tmp_path) as shell:
        fill(shell.services.lake, agent_trace(1, tenant=AIRLINE))
        assert main(["remap", "--data", str(shell.services.settings.data), "--tenant", tenant]) == code
    assert tenant in capsys.readouterr().err
