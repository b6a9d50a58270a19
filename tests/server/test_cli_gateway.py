"""`assay gateway check`, `status` and `try`: what they print, and their exit codes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.config import schema
from server.cli.connection import ApiClient
from server.cli.gateway_shown import print_status
from server.cli.launching import through_gateway
from server.cli.outcome import ExitCode
from tests.server.gateways import Running, config_of, running_gateway
from tests.stack import REPOSITORY
from tests.waiting import wait_until

BAD = REPOSITORY / "tests/gateway/configs/bad"
MORE = """
  down: {base_url: "http://127.0.0.1:9/v1", retries: 0, breaker: {failures: 1, open_s: 300}}
models:
  fast: {targets: [{upstream: simulated, model: sim-1-mini}]}
  behind: {targets: [{upstream: down, model: x}, {upstream: simulated, model: sim-1}]}
policies:
  content:
    - {name: no-weapons, words: [grenade], message: "Not here."}
    - {name: no-zebras, on: output, words: [zebra]}
  budgets: [{name: all, scope: tenant, limit_usd: 5}]
prices: {"sim-*": {input_usd_per_mtok: 0.4, output_usd_per_mtok: 1.6}}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One gateway for the tests of this file."""
    with running_gateway(tmp_path_factory.mktemp("gateway"), MORE) as found:
        yield found


def check(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
    command = [sys.executable, "-m", "server.cli.main", "gateway", "check", *words]
    env = {**kept, **environ}
    return subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=240, check=False)


def test_a_good_file_is_good(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(config_of("http://127.0.0.1:1"))
    done = check("--data", str(tmp_path))
    assert (done.returncode, done.stdout) == (ExitCode.OK, f"{path} is good: 1 upstreams, 1 models\n")


def test_a_bad_file_ends_with_2_and_a_line_for_every_problem(tmp_path: Path) -> None:
    path = BAD / "missing.yaml"
    done = check(str(path))
    expected = [f"{path}:{line}" for line in path.with_suffix(".txt").read_text().splitlines()]
    assert (done.returncode, done.stdout, done.stderr.splitlines()) == (ExitCode.USAGE, "", expected)
    done = check(str(path), "--json")
    assert (done.returncode, json.loads(done.stdout)["problems"]) == (ExitCode.USAGE, expected)
    assert check("--data", str(tmp_path)).returncode == ExitCode.USAGE


def test_a_bad_file_keeps_a_gateway_from_starting(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "server.cli.main", "serve", "gateway", "--data", str(tmp_path)]
    environ = {**os.environ, "ASSAY_GATEWAY_CONFIG": str(BAD / "missing.yaml")}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environ, stderr=subprocess.PIPE, text=True, timeout=240, check=False
    )
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.splitlines()[2] == "and 4 more: assay gateway check"
    assert not list(tmp_path.iterdir()), "nothing was touched"


def test_the_schema_is_printed() -> None:
    done = check("--schema")
    assert (done.returncode, json.loads(done.stdout)) == (ExitCode.OK, json.loads(json.dumps(schema())))


def test_a_try_says_what_became_of_the_call(running: Running) -> None:
    done = running.assay("try", "--model", "fast", "hello you")
    assert done.returncode == ExitCode.OK, done.stderr
    answer, *lines = done.stdout.splitlines()
    assert "You said: hello you" in answer
    said = dict(line.split(None, 1) for line in lines)
    assert said["upstream"] == "simulated/sim-1-mini: 200 (simulated)"
    assert "limits " in said["policies"]
    assert said["cost"].startswith("$0.0000")
    assert said["masked"] == "nothing"


def test_a_try_of_a_stream_prints_the_same(running: Running) -> None:
    done = running.assay("try", "-", "--stream", typed="hello you")
    assert "You said: hello you" in done.stdout.splitlines()[0]
    assert "upstream   simulated/sim-1-mini: 200" in done.stdout


def test_a_try_as_json_has_every_attempt(running: Running) -> None:
    found = json.loads(running.assay("try", "--model", "behind", "hello", "--json", "--stream").stdout)
    assert [each["upstream"] for each in found["attempts"]] == ["down", "simulated"]
    assert found["simulated"] is True
    assert found["answer"].endswith("hello")
    assert set(found["policy_ms"]) >= {"limits", "budgets", "content", "tracing"}


def test_a_try_whose_stream_breaks_off_is_json_with_the_error(running: Running) -> None:
    done = running.assay("try", "--model", "fast", "a zebra", "--json", "--stream")
    found = json.loads(done.stdout)
    assert (done.returncode, found["model"], found["error"]["code"]) == (ExitCode.FAILED, "fast", "content")
    assert found["error"]["message"] in done.stderr
    done = running.assay("try", "--model", "fast", "a zebra", "--stream")
    assert done.returncode == ExitCode.FAILED
    assert "zebra" not in done.stdout


def test_small_sums_of_budgets_are_plain_decimals(capsys: pytest.CaptureFixture[str]) -> None:
    budget = {
        "name": "tiny",
        "spent_usd": 2.8e-05,
        "reserved_usd": 0.0,
        "n_unpriced": 3,
        "limit_usd": 20,
        "warn_at": 0.8,
    }
    print_status({"budgets": [budget]})
    out = capsys.readouterr().out
    assert out.splitlines()[2].split() == ["tiny", "$0.000028", "$0.00", "3", "$20.00", "0.8"], out


def test_a_refused_try_names_the_policy(running: Running) -> None:
    done = running.assay("try", "a grenade")
    assert done.returncode == ExitCode.FAILED
    assert done.stderr == "assay: Not here.\n"
    assert "refused by content" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("try", "x", "--model", "no"), ExitCode.NOT_FOUND, "there is no model 'no'"),
        (("try", "x", "--url", "http://127.0.0.1:9"), ExitCode.UNREACHABLE, "no gateway answers at"),
        (("status", "--url", "nowhere"), ExitCode.USAGE, "is not an address"),
        (("status", "--url", "http://127.0.0.1:99999"), ExitCode.USAGE, "is not an address"),
        (("status", "--url", "http://[::1"), ExitCode.USAGE, "is not an address"),
        (("status", "--key", "a\r\nb: c"), ExitCode.USAGE, "has control characters"),
        (("try", "x", "--user", "a\r\nb: c"), ExitCode.USAGE, "has control characters"),
        (("status", "--key", "ask_0_0"), ExitCode.NOT_ALLOWED, "the key that was sent is that of --key"),
        (("try",), ExitCode.USAGE, "text"),
    ],
)
def test_what_cannot_be_tried_is_told(running: Running, words: tuple[str, ...], code: ExitCode, said: str) -> None:
    done = running.assay(*words)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) <= 3


def test_a_user_may_have_any_name(running: Running) -> None:
    assert running.assay("try", "x", "--user", "Jürgen 用户").returncode == ExitCode.OK


def test_another_server_is_no_gateway(running: Running) -> None:
    done = running.assay("status", "--url", running.provider)
    assert done.returncode == ExitCode.UNREACHABLE
    assert "there is no Assay gateway at" in done.stderr


@pytest.mark.parametrize("words", [("status",), ("try", "hello")])
def test_a_gateway_that_accepts_and_says_nothing_is_given_up(running: Running, words: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = running.assay(*words, "--url", f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert done.returncode == ExitCode.UNREACHABLE
    assert "said nothing for 5 s" in done.stderr


def test_the_status_ends_with_1_while_an_upstream_rests(running: Running) -> None:
    running.assay("try", "--model", "behind", "hello")
    done = running.assay("status")
    assert done.returncode == ExitCode.FAILED
    assert "open, " in done.stdout
    assert "behind" in done.stdout
    found = json.loads(running.assay("status", "--json").stdout)
    assert {each["upstream"]: each["state"] for each in found["upstreams"]} == {"simulated": "closed", "down": "open"}
    assert found["config"]["problems"] == []


def test_the_status_tells_a_viewer_nothing_of_the_file(running: Running) -> None:
    from core.ids import TenantId
    from core.records import Role
    from server.control_access import open_control
    from server.settings import Settings

    control = open_control(Settings(data=running.data, port_base=running.port_base))
    _, key = control.create_key(TenantId("default"), Role.VIEWER, "viewer")
    control.close()
    headers = {"authorization": f"Bearer {key}"}

    def answer() -> httpx.Response:
        return httpx.get(f"{running.url}/status", headers=headers, timeout=5)

    wait_until(lambda: answer().status_code == 200, 5, "the new key to work")
    assert set(answer().json()["config"]) == {"digest", "since"}
    asked = httpx.post(f"{running.url}/v1/chat/completions", headers=headers, json={}, timeout=5)
    assert asked.status_code == 403
    good = running.file.read_text()
    running.file.write_text("models: [secret-of-the-file]\n")
    try:
        wait_until(lambda: "problem" in answer().json()["config"], 15, "the problem to be told")
        assert set(answer().json()["config"]) == {"digest", "since", "problem"}
        assert "an admin reads why" in answer().json()["config"]["problem"]
        assert "secret-of-the-file" not in answer().text
        done = running.assay("status", key=key)
        assert done.returncode == ExitCode.FAILED
        assert "an admin reads why" in done.stdout
    finally:
        running.file.write_text(good)
    wait_until(lambda: set(answer().json()["config"]) == {"digest", "since"}, 15, "the file to be good again")


def test_the_agents_model_is_the_gateways_where_that_has_it_and_no_other_is_named(running: Running) -> None:
    api = ApiClient(url="http://127.0.0.1:7", key=running.key)
    (running.data / "run").mkdir(exist_ok=True)
    (running.data / "run" / "state.json").write_text(json.dumps({"url": api.url, "gateway": running.url}))
    ours = {"AGENT_MODEL": "fast"}
    found = through_gateway(ours, running.data, api)
    assert found == {**ours, "AGENT_OPENAI_BASE_URL": f"{running.url}/v1", "AGENT_OPENAI_API_KEY": running.key}
    others: list[dict[str, str]] = [
        {},  # sim-1 is no model there
        {**ours, "OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"},
        {**ours, "OPENAI_API_KEY": "sk-of-mine"},
        {**ours, "AGENT_PROVIDER": "anthropic"},
    ]
    assert [through_gateway(each, running.data, api) for each in others] == others
    elsewhere = ApiClient(url="http://127.0.0.1:8", key=running.key)
    assert through_gateway(ours, running.data, elsewhere) == ours
    assert through_gateway(ours, running.data, ApiClient(url=api.url, key="ask_0_0")) == ours
