"""The recordings through the real collector and server: what went in is what the API and the terminal give back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from typing import Any

import httpx
import pytest

from server.cli.outcome import ExitCode
from tests.importers.door import Answer, open_door
from tests.importers.recorded import OTEL_SAMPLES, TAU2, TAU_BENCH, needs_recordings, table, tau2_files
from tests.stack import REPOSITORY, Stack
from tests.waiting import wait_until

WINDOW = {"start": "2025-07-01T00:00:00Z", "end": "2026-04-01T00:00:00Z"}
N_SPANS = 11_959
VISIBLE_S = 60.0

pytestmark = [needs_recordings, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def api(stack: Stack) -> Any:
    with stack.client() as client:
        yield client


@pytest.fixture(scope="module")
def imported(stack: Stack, api: httpx.Client) -> dict[str, Any]:
    """The report of the first import of all 15 files, once everything it sent can be queried."""
    report = imported_again(stack)
    wait_until(lambda: count_of_all(api) == N_SPANS, VISIBLE_S, f"{N_SPANS} imported spans to be visible")
    return report


def imported_again(stack: Stack) -> dict[str, Any]:
    done = stack.cli("import", "tau2", *map(str, tau2_files()), "--json", timeout_s=300)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def count_of_all(api: httpx.Client) -> int:
    apps = ("airline", "retail", "telecom")
    counts = [api.get("/api/v1/spans/count", params={**WINDOW, "app": app}).raise_for_status() for app in apps]
    return sum(int(one.json()["count"]) for one in counts)


def items(api: httpx.Client, path: str, **params: Any) -> list[dict[str, Any]]:
    """All items of a list, over its pages."""
    found: list[dict[str, Any]] = []
    params = {**WINDOW, "limit": 1000, **params}
    while True:
        page = api.get(path, params=params).raise_for_status().json()
        found += page["items"]
        if not page["next_cursor"]:
            return found
        params["cursor"] = page["next_cursor"]


def test_everything_is_accepted_and_stored(imported: dict[str, Any]) -> None:
    assert (imported["sent"], imported["accepted"], imported["rejected"]) == (N_SPANS, N_SPANS, 0)
    assert (imported["stored"], imported["duplicate"]) == (N_SPANS, 0)
    assert (imported["scores_written"], imported["scores_known"]) == (404, 0)
    assert imported["messages"] == []


def test_pass_counts_from_the_api_are_those_of_the_manifest(imported: dict[str, Any], api: httpx.Client) -> None:
    file_of = {row["sim_id"]: row["file"] for row in table(TAU2 / "outcomes.csv")}
    scores = items(api, "/api/v1/scores", evaluator="tau2_reward")
    assert len(scores) == 404
    counts = Counter((file_of[score["session_id"]], score["label"]) for score in scores)
    for row in table(TAU2 / "manifest.csv"):
        assert (counts[row["file"], "pass"], counts[row["file"], "fail"]) == (int(row["pass"]), int(row["fail"]))


def test_tokens_cost_and_turns_of_every_session_are_those_of_the_recording(
    imported: dict[str, Any], api: httpx.Client
) -> None:
    sessions = {one["session_id"]: one for one in items(api, "/api/v1/sessions")}
    for row in table(TAU2 / "outcomes.csv"):
        session = sessions[row["sim_id"]]
        assert session["input_tokens"] == int(row["prompt_tokens"])
        assert session["output_tokens"] == int(row["completion_tokens"])
        assert (session["app"], session["release"]) == (row["domain"], row["arm"])
        if row["agent_cost_usd"]:
            cost, recorded = Decimal(repr(session["cost_usd"])), Decimal(row["agent_cost_usd"])
            assert abs(cost - recorded) < Decimal("1e-7"), row["sim_id"]
    assert sum(sessions[row["sim_id"]]["n_turns"] for row in table(TAU2 / "outcomes.csv")) == imported["turns"]


def test_a_second_import_stores_nothing(imported: dict[str, Any], stack: Stack, api: httpx.Client) -> None:
    again = imported_again(stack)
    assert (again["stored"], again["duplicate"]) == (0, N_SPANS)
    assert (again["scores_written"], again["scores_known"]) == (0, 404)
    assert count_of_all(api) == N_SPANS


def test_traces_are_listed_and_shown_on_the_terminal(imported: dict[str, Any], stack: Stack) -> None:
    window = ("--start", WINDOW["start"], "--end", WINDOW["end"])
    done = stack.cli("traces", "list", "--app", "airline", *window, "--limit", "5", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["items"]
    assert len(rows) == 5
    assert {row["app"] for row in rows} == {"airline"}
    listed = stack.cli("traces", "list", "--app", "airline", *window, "--limit", "5")
    assert all(row["trace_id"] in listed.stdout for row in rows)
    shown = stack.cli("traces", "show", rows[0]["trace_id"])
    assert shown.returncode == 0, shown.stderr
    assert "invoke_agent airline" in shown.stdout
    assert "─ LLM" in shown.stdout
    assert shown.stdout.count("\n") >= rows[0]["n_spans"]
    tree = json.loads(stack.cli("traces", "show", rows[0]["trace_id"], "--json").stdout)
    assert len(tree["spans"]) == rows[0]["n_spans"]
    span = tree["spans"][-1]["span_id"]
    assert span in stack.cli("traces", "show", rows[0]["trace_id"], "--span", span).stdout


def test_a_session_is_shown_as_a_transcript_with_its_outcome(imported: dict[str, Any], stack: Stack) -> None:
    shown = stack.cli("sessions", "show", "b762699f-cf72-4a2f-b500-5bbe1258209c")
    assert shown.returncode == 0, shown.stderr
    assert "user > Hi, I’d like to change my upcoming return flight" in shown.stdout
    assert "agent > I can help you with your request" in shown.stdout
    assert "tau2_reward = pass 1" in shown.stdout
    listed = stack.cli("sessions", "list", "--app", "retail", "--start", WINDOW["start"], "--end", WINDOW["end"])
    assert len(listed.stdout.splitlines()) == 51
    assert stack.cli("sessions", "show", "no-such-session").returncode == ExitCode.NOT_FOUND


def test_an_empty_list_says_where_to_look(imported: dict[str, Any], stack: Stack) -> None:
    done = stack.cli("traces", "list", "--app", "airline", "--since", "1m")
    assert done.returncode == 0
    assert done.stdout == ""
    assert "app airline was last seen at 2026-03-14" in done.stderr


@pytest.mark.parametrize("where", [["--no-scrub"], [], ["--offline"]], ids=["server", "server with scrub", "offline"])
def test_the_doctor_finds_everything_well(imported: dict[str, Any], stack: Stack, where: list[str]) -> None:
    done = stack.cli("doctor", "--json", *where)
    report = json.loads(done.stdout)
    assert [check for check in report["checks"] if check["status"] == "fail"] == []
    assert (report["healthy"], done.returncode) == (True, 0)
    names = {check["name"] for check in report["checks"]}
    assert names >= {"lake", "journal", "ledger: spans of default"}
    assert ("collector" in names) == ("--offline" not in where)
    assert stack.cli("doctor", *where).returncode == 0


def test_another_tenant_and_a_wrong_key_are_refused_before_anything_is_sent(stack: Stack) -> None:
    one = str(tau2_files()[-1])
    done = stack.cli("import", "tau2", one, "--tenant", "somebody-else")
    assert done.returncode == ExitCode.NOT_ALLOWED
    assert "nothing was sent" in done.stderr
    assert stack.cli("import", "tau2", one, "--key", "ask_wrong").returncode == ExitCode.NOT_ALLOWED
    done = stack.cli("import", "tau2", one, "--tenant", stack.tenant, "--app", "elsewhere")
    assert done.returncode == 0
    assert "ledger of the tenant (all senders): " in done.stdout


def test_ctrl_c_ends_an_import_with_130_and_no_traceback(stack: Stack) -> None:
    busy = Answer(status=503, headers={"Content-Type": "application/x-protobuf", "Retry-After": "30"})
    with open_door(*[busy] * 9) as door:
        words = ["import", "tau2", str(tau2_files()[-1]), "--otlp-url", door.url]
        waiting = subprocess.Popen(
            [sys.executable, "-m", "server.cli.main", *words],
            cwd=REPOSITORY,
            env={**os.environ, "ASSAY_URL": stack.url, "ASSAY_API_KEY": stack.key},
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: door.bodies, 60, "the import to reach the busy door")
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate(timeout=60)
    assert waiting.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in said


def test_tau_bench_keeps_its_pass_count_and_marks_its_times(stack: Stack, api: httpx.Client) -> None:
    done = stack.cli("import", "tau-bench", str(TAU_BENCH), "--app", "tau-bench-airline", "--json", timeout_s=300)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["accepted"], report["times_are_synthetic"]) == (3418, True)
    window = {"start": "2024-05-01T00:00:00Z", "end": "2024-06-01T00:00:00Z"}
    scores = items(api, "/api/v1/scores", **window, evaluator="tau_bench_reward")
    assert Counter(score["label"] for score in scores) == {"pass": 36, "fail": 84}


def test_every_captured_request_is_accepted_or_refused_with_a_clear_error(stack: Stack) -> None:
    files = [str(OTEL_SAMPLES / row["file"]) for row in table(OTEL_SAMPLES / "index.csv")]
    done = stack.cli("import", "otlp", *files, "--app", "samples", "--skip-bad", "--json", timeout_s=300)
    report = json.loads(done.stdout)
    assert report["accepted"] + report["rejected"] == report["sent"] > 200
    assert report["spans"] + report["log_records"] + report["metrics"] == report["sent"]
    assert report["log_records"] > 0
    assert report["unsettled"] == 0
    assert report["rejected"] == 0 or report["messages"]
    assert all(len(message) > 20 for message in report["messages"])


def test_the_demo_traffic_reaches_the_pages(stack: Stack, api: httpx.Client) -> None:
    done = subprocess.run(
        [sys.executable, "examples/demo_traffic.py", "--rate", "20", "--seconds", "1", "--backfill", "10m"],
        cwd=REPOSITORY,
        env={**os.environ, **stack.otlp_environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Failed to export" not in done.stderr, done.stderr
    n_turns = int(done.stderr.split("sent ")[1].split()[0])

    def turns() -> int:
        return len(api.get("/api/v1/traces", params={"since": "1h", "app": "shop", "limit": 1000}).json()["items"])

    wait_until(lambda: turns() == n_turns, VISIBLE_S, f"{n_turns} turns of the demo")
    scores = api.get("/api/v1/scores", params={"since": "1h", "evaluator": "helpfulness", "limit": 1000}).json()[
        "items"
    ]
    assert scores
    assert {score["evaluator_kind"] for score in scores} == {"event"}
