"""Monitors at the API and in the terminal: made, tried on what is past, looked at by the server's job, acted upon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from core.clock import NS_PER_S, system_clock
from core.ids import TenantId
from core.records import EvaluatorKind, Principal, Role, TargetKind
from core.windows import day_of
from monitors.alert_records import Severity
from monitors.incident_records import Incident, IncidentStatus, Member
from monitors.look_records import record_of
from server.cli.main import main
from server.cli.outcome import ExitCode
from server.monitor_upkeep import UPKEEP_JOB
from server.scheduler import Scheduler
from store.control.monitor_records import IncidentEntry, IncidentRecord, LookWritten, Wanted
from store.control.monitoring import MONITORS_JOB
from store.scores import NewScore, append_scores
from tests.monitors.watching import Hands
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served
from tests.store.build import fill, row

APP: Final = "desk"
STEP: Final = 300 * NS_PER_S
ADMIN: Final = Principal(tenant=AIRLINE, role=Role.ADMIN, name="ann")
LEARNED: Final = 80  # buckets in which all is well, before two in which nothing is
DEFINITION: Final = {
    "app": APP, "series": "resolution", "band": {"kind": "ema", "alpha": 0.1, "season": False}, "channels": ["oncall"],
}  # fmt: skip


def arrive(shell: Shell) -> None:
    """Ten sessions in each bucket of the last hours; in the last two of them nobody got what they wanted."""
    end = shell.services.clock() // STEP * STEP
    spans: list[dict[str, Any]] = []
    scores: list[NewScore] = []
    for bucket in range(LEARNED + 2):
        for place in range(10):
            number = bucket * 10 + place + 1
            at = end - (LEARNED + 2 - bucket) * STEP + place * (STEP // 11)
            spans.append(
                row(
                    tenant=str(AIRLINE), app=APP, release="r1", session_id=f"s{number}", trace_id=number,
                    date=day_of(at), span_id=number, start_ns=at, ms=900, kind="AGENT", seq=(1 << 48) + number,
                )
            )  # fmt: skip
            value = 0.0 if bucket >= LEARNED or place == bucket % 10 else 1.0
            scores.append(
                NewScore(
                    evaluator="task_success", evaluator_kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION,
                    session_id=f"s{number}", value=value, at_ns=at + NS_PER_S,
                )
            )  # fmt: skip
    fill(shell.services.lake, spans)
    ids = [f"o{number}" for number in range(len(scores))]
    store = shell.services.store.tenant(AIRLINE)
    append_scores(store, scores, ids=ids, author="test", now_ns=shell.services.clock())


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    clock = Hands(system_clock())  # it stands: what is due, and which bucket is the last, does not change meanwhile
    with running_shell(tmp_path_factory.mktemp("monitors"), clock) as running:
        arrive(running)
        yield running


def get(shell: Shell, path: str, tenant: TenantId = AIRLINE, **asked: Any) -> Any:
    return shell.client.get(f"/api/v1{path}", params=asked, headers=shell.headers(Role.VIEWER, tenant))


def post(shell: Shell, path: str, body: Any, role: Role = Role.POWER_USER) -> Any:
    return shell.client.post(f"/api/v1{path}", json=body, headers=shell.headers(role))


def said(capsys: pytest.CaptureFixture[str], shell: Shell, url: str, *words: str) -> str:
    assert main([*words, "--url", url, "--key", shell.keys[AIRLINE, Role.ADMIN]]) == ExitCode.OK
    return capsys.readouterr().out


def test_a_dry_run_makes_nothing_and_a_wrong_definition_names_its_field(shell: Shell) -> None:
    tried = post(shell, "/monitors", {"name": "dry", "definition": DEFINITION, "dry_run": True})
    assert (tried.status_code, tried.json()["dry_run"]) == (200, True)
    assert get(shell, "/monitors/dry").status_code == 404
    for wrong, field in (
        ({"series": "resolutoin"}, "series"),
        ({"step": "2m"}, "step"),
        ({"by": "planet"}, "by"),
        ({"band": {"kind": "ema", "alhpa": 1}}, "band"),
        ({"band": {"kind": "slo"}}, "band"),
        ({"false_pages_per_week": 0}, "false_pages_per_week"),
        ({"channels": ["on call"]}, "channels"),
        ({"colour": "red"}, "colour"),
    ):
        answered = post(shell, "/monitors", {"name": "wrong", "definition": {**DEFINITION, **wrong}})
        assert answered.status_code == 422, wrong
        assert answered.json()["field"] == field, answered.text


def test_the_defaults_are_made_once(shell: Shell) -> None:
    made = post(shell, "/monitors/defaults", {"app": "phone", "channels": ["oncall"]}).json()["items"]
    assert [one["name"] for one in made] == [
        *("resolution", "grounding", "p95_latency", "safety", "escalation", "resolution-drift"),
    ]
    assert [one["definition"]["band"]["kind"] for one in made] == ["ema", "ema", "ema", "zero", "ema", "ewma"]
    assert post(shell, "/monitors/defaults", {"app": "phone"}).json()["items"] == []
    assert {one["name"] for one in get(shell, "/monitors", app="phone").json()["items"]} >= {"resolution", "safety"}
    spaced = post(shell, "/monitors/defaults", {"app": "My phone, 2"}).json()["items"]
    assert [one["name"] for one in spaced][:2] == ["My-phone-2-resolution", "My-phone-2-grounding"]
    assert post(shell, "/monitors/defaults", {"app": "My phone, 2"}).json()["items"] == []
    for one in [*made, *spaced]:
        gone = shell.client.delete(f"/api/v1/monitors/{one['name']}", headers=shell.headers(Role.POWER_USER))
        assert gone.json()["status"] == "deleted"


def test_a_backtest_finds_the_drop_and_says_what_to_expect(shell: Shell) -> None:
    found = post(shell, "/monitors/backtest", {"definition": DEFINITION, "since": "3h"}, Role.VIEWER).json()
    (alert,) = found["alerts"]
    assert alert["resolved_at"] is None
    assert found["expected_false_alarms_per_week"] == pytest.approx(0.1)
    (chart,) = found["charts"]
    assert len(chart["at"]) == len(chart["value"]) == len(chart["verdict"])
    assert chart["verdict"][-2:] == ["breach", "breach"]
    zero = {**DEFINITION, "band": {"kind": "zero"}}
    unknown = post(shell, "/monitors/backtest", {"definition": zero, "since": "3h"}, Role.VIEWER).json()
    assert unknown["expected_false_alarms_per_week"] is None
    assert "zero" in unknown["why"]


def test_the_job_looks_at_every_monitor_once_a_minute(shell: Shell) -> None:
    assert post(shell, "/monitors", {"name": "desk", "definition": DEFINITION}).status_code == 201
    assert post(shell, "/monitors", {"name": "desk", "definition": DEFINITION}).status_code == 409
    scheduler = Scheduler(shell.services)
    assert scheduler.round("monitors") == 1
    assert scheduler.round("monitors") == 0  # not due before the next minute
    job = next(one for one in get(shell, "/jobs").json()["items"] if one["name"] == MONITORS_JOB)
    assert (job["name"], job["state"], job["told"]["failed"]) == ("monitors", "succeeded", {})
    seen = get(shell, "/monitors/desk").json()
    assert [one["status"] for one in seen["series"]] == ["ok"]
    assert seen["versions"][0]["definition"] == seen["definition"]
    assert get(shell, "/monitors/desk", tenant=SHOP).status_code == 404
    again = shell.client.post("/api/v1/jobs/monitors/run", json={}, headers=shell.headers(Role.POWER_USER))
    assert again.json()["state"] == "queued"
    assert scheduler.round("monitors") == 1


@pytest.fixture
def incident(shell: Shell) -> str:
    return made_incident(shell)


def made_incident(shell: Shell) -> str:
    """An incident as a look writes it, whose alert has ended."""
    control, now = shell.services.control, shell.services.clock()
    number = 1 + max((one.number for one in control.incidents(AIRLINE)), default=0)
    member = Member(
        monitor="desk", series="resolution", episode=number, severity=Severity.PAGE, fired_ns=now - STEP,
        resolved_ns=now,
    )  # fmt: skip
    made = Incident(
        number=number, app=APP, status=IncidentStatus.OPEN, severity=Severity.PAGE, opened_ns=now - STEP,
        members=(member,), quiet_ns=now,
    )  # fmt: skip
    record = IncidentRecord(tenant=AIRLINE, number=number, app=APP, status="", severity="", opened_ns=now - STEP)
    line = IncidentEntry(incident=number, told_ns=now, at_ns=now, kind="opened", text="it fell")
    if control.jobs(AIRLINE):
        control.run_job(AIRLINE, MONITORS_JOB, by=ADMIN)
    assert control.take_job(AIRLINE, MONITORS_JOB, "test") is not None
    control.write_look(
        LookWritten(
            tenant=AIRLINE, owner="test", incidents=(record_of(record, made),), entries=(line,), first_number=number,
            wanted=(Wanted(channel="oncall", incident=number, payload={"kind": "incident.call", "text": "it fell"}),),
        )
    )  # fmt: skip
    control.end_job(AIRLINE, MONITORS_JOB, "test", next_ns=now)
    return made.name


def test_a_budget_of_false_pages_is_divided_and_told(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    definition = {**DEFINITION, "app": "till"}
    names = ("till-a", "till-b")
    for name in names:
        assert post(shell, "/monitors", {"name": name, "definition": definition}).status_code == 201
    admin, body = shell.headers(Role.POWER_USER), {"app": "till", "false_pages_per_week": 0.5}
    put = shell.client.put("/api/v1/monitors/budget", json={**body, "dry_run": True}, headers=admin)
    assert (put.status_code, put.json()["dry_run"]) == (200, True)
    assert get(shell, "/monitors/budget").json()["budgets"] == []
    assert shell.client.put("/api/v1/monitors/budget", json=body, headers=admin).status_code == 200
    told = get(shell, "/monitors/budget", app="till").json()
    assert {one["name"]: one["allotted"] for one in told["monitors"]} == dict.fromkeys(names, 0.25)
    tried = post(shell, "/monitors/till-a/backtest", {"since": "3h"}, Role.VIEWER).json()
    assert tried["expected_false_alarms_per_week"] == pytest.approx(0.25)
    wrong = shell.client.put("/api/v1/monitors/budget", json={"false_pages_per_week": 0.4}, headers=admin)
    assert (wrong.status_code, wrong.json()["field"]) == (422, "false_pages_per_week")
    refused = shell.client.put("/api/v1/monitors/budget", json=body, headers=shell.headers(Role.VIEWER))
    assert refused.status_code == 403
    assert get(shell, "/monitors/budget", tenant=SHOP).json()["budgets"] == []
    with served(shell.services) as url:
        assert "allowed of till: 0.5" in said(capsys, shell, url, "monitors", "budget")
        words = ("monitors", "budget", "--app", "till", "--none")
        assert "a dry run" in said(capsys, shell, url, *words, "--dry-run")
        assert "no budget" in said(capsys, shell, url, *words)
    for name in names:
        shell.client.delete(f"/api/v1/monitors/{name}", headers=admin)


def test_people_acknowledge_note_and_close(shell: Shell, incident: str) -> None:
    path = f"/incidents/{incident}"
    acked = post(shell, f"{path}/ack", {}, Role.USER).json()
    assert (acked["status"], acked["acknowledged_by"]) == ("acknowledged", f"user of {AIRLINE}")
    assert post(shell, f"{path}/assign", {"owner": "ann"}, Role.USER).json()["owner"] == "ann"
    assert post(shell, f"{path}/note", {"text": "a prompt"}, Role.USER).status_code == 200
    assert post(shell, f"{path}/note", {"text": " "}, Role.USER).json()["field"] == "text"
    closed = post(shell, f"{path}/close", {"why": "rolled back"}, Role.USER).json()
    assert closed["status"] == "closed"
    assert post(shell, f"{path}/ack", {}, Role.USER).status_code == 409
    assert post(shell, f"{path}/note", {"text": "it was the prompt"}, Role.USER).status_code == 200
    shown = get(shell, path).json()
    kinds = [one["kind"] for one in shown["timeline"]]
    assert kinds == ["opened", "acknowledged", "assigned", "note", "closed", "note"]
    assert [one["kind"] for one in reversed(shown["deliveries"])] == [
        "incident.call", "incident.acknowledged", "incident.resolved",
    ]  # fmt: skip
    assert get(shell, path, tenant=SHOP).status_code == 404
    assert get(shell, "/incidents/I-0").status_code == 422
    assert incident in {one["id"] for one in get(shell, "/incidents", monitor="desk").json()["items"]}
    assert get(shell, "/incidents", monitor="des").json()["items"] == []


def test_closed_incidents_are_forgotten_at_night_once_they_are_old(tmp_path: Path) -> None:
    clock = Hands(system_clock())
    with running_shell(tmp_path, clock, monitors_kept_days=30) as running:
        numbers = [made_incident(running) for _ in range(2)]
        for number in numbers:
            assert post(running, f"/incidents/{number}/close", {"why": "over"}, Role.USER).status_code == 200
        scheduler = Scheduler(running.services)
        for days, left in ((0, 2), (29, 2), (31, 1)):
            clock.ns += days * 86_400 * NS_PER_S
            scheduler.round(UPKEEP_JOB)
            shown = get(running, "/incidents").json()["items"]
            assert [one["id"] for one in shown] == numbers[::-1][:left]
            clock.ns -= days * 86_400 * NS_PER_S
            running.services.control.run_job(AIRLINE, UPKEEP_JOB, by=ADMIN)
        told = {one["name"]: one["told"] for one in get(running, "/jobs").json()["items"]}
        assert told[UPKEEP_JOB] == {"incidents": 1, "entries": 2, "deliveries": 2}


def test_silences_end_and_one_without_an_end_is_refused(shell: Shell) -> None:
    post(shell, "/monitors", {"name": "desk", "definition": DEFINITION})
    wanted = {"matcher": {"monitor": "desk"}, "lasts": "2h", "why": "deploy"}
    assert post(shell, "/silences", {**wanted, "dry_run": True}, Role.USER).json()["dry_run"] is True
    assert get(shell, "/silences").json()["items"] == []
    made = post(shell, "/silences", wanted, Role.USER).json()
    assert made["active"] is True
    past = {"start": "2020-01-01T00:00:00Z"}
    for wrong in (
        *({"lasts": "40d"}, {"lasts": None}, {"matcher": {"monitr": "desk"}}, {"weekly": {"days": ["sun"]}}),
        *(past, {**past, "lasts": None, "end": "2020-01-02T00:00:00Z"}, {"start": str(2**63 - 10)}),
        *({"matcher": {"monitor": "dekss"}}, {"matcher": {"app": 5}}, {"matcher": {"app": "a\nb"}}),
    ):
        assert post(shell, "/silences", {**wanted, **wrong}, Role.USER).status_code == 422, wrong
    ended = shell.client.delete(f"/api/v1/silences/{made['id']}", headers=shell.headers(Role.USER)).json()
    assert (ended["active"], ended["ended_by"]) == (False, f"user of {AIRLINE}")


def test_weekly_silences_that_take_turns_for_ever_are_refused(shell: Shell) -> None:
    every = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    day, night = (
        {"days": every, "start": a, "end": b, "zone": "UTC"} for a, b in (("08:00", "20:00"), ("20:00", "08:00"))
    )
    post(shell, "/monitors", {"name": "desk", "definition": DEFINITION})
    wanted = {"matcher": {"monitor": "desk"}, "lasts": "300d", "why": "quiet"}
    first = post(shell, "/silences", {**wanted, "weekly": day}, Role.USER)
    assert first.status_code == 201
    refused = post(shell, "/silences", {**wanted, "weekly": night}, Role.USER)
    assert refused.status_code == 422
    assert "nothing would be heard" in refused.json()["detail"]
    shell.client.delete(f"/api/v1/silences/{first.json()['id']}", headers=shell.headers(Role.USER))


def test_a_test_of_a_channel_is_a_delivery(shell: Shell) -> None:
    made = post(shell, "/channels/oncall/test", {}, Role.USER).json()
    assert (made["state"], made["kind"], made["incident"]) == ("queued", "test", None)
    assert get(shell, f"/deliveries/{made['id']}").json()["id"] == made["id"]
    assert post(shell, f"/deliveries/{made['id']}/replay", {}).status_code == 409
    assert get(shell, "/deliveries", incident=10**20).status_code == 422


def test_the_commands(shell: Shell, capsys: pytest.CaptureFixture[str], incident: str) -> None:
    with served(shell.services) as url:
        words = ("monitors", "create", "p95_latency", "--app", APP, "--name", "slow", "--page", "oncall")
        assert main([*words, "--dry-run", "--url", url, "--key", shell.keys[AIRLINE, Role.ADMIN]]) == ExitCode.OK
        printed = capsys.readouterr()
        assert "a dry run" in printed.out
        assert "there is no channel oncall" in printed.err
        assert "slow: p95_latency of desk, version 1" in said(capsys, shell, url, *words)
        assert "waiting" in said(capsys, shell, url, "monitors", "show", "slow")
        refused = ("monitors", "create", "--defaults", "--app", APP, "--ticket", "chat")
        assert main([*refused, "--url", url, "--key", shell.keys[AIRLINE, Role.ADMIN]]) == ExitCode.USAGE
        assert "assay monitors edit NAME" in capsys.readouterr().err
        edited = said(capsys, shell, url, "monitors", "edit", "slow", "--band", "cusum", "--set", "allowance=0.4")
        assert "version 2" in edited
        assert "slow" in said(capsys, shell, url, "monitors", "list", "--app", APP)
        tried = json.loads(said(capsys, shell, url, "monitors", "backtest", "slow", "--since", "3h", "--json"))
        assert tried["n_series"] == 1
        assert "alerts: " in said(capsys, shell, url, "monitors", "backtest", "slow", "--since", "3h")
        assert "oncall" in said(capsys, shell, url, "monitors", "test", "slow")
        assert "would be deleted" in said(capsys, shell, url, "monitors", "delete", "slow", "--dry-run")
        assert said(capsys, shell, url, "monitors", "delete", "slow").startswith("deleted: slow")
        assert incident in said(capsys, shell, url, "incidents", "list", "--monitor", "desk")
        assert incident not in said(capsys, shell, url, "incidents", "list", "--monitor", "slow")
        assert "it fell" in said(capsys, shell, url, "incidents", "show", incident)
        assert "acknowledged" in said(capsys, shell, url, "incidents", "ack", incident)
        made = json.loads(said(capsys, shell, url, "silence", "desk", "2h", "--why", "deploy", "--json"))
        assert made["matcher"] == {"monitor": "desk"}
        assert "silenced until" in said(capsys, shell, url, "monitors", "show", "desk")
        assert ", silenced" in said(capsys, shell, url, "monitors", "list", "--app", APP)
        of_app = json.loads(said(capsys, shell, url, "silence", "--app", APP, "30m", "--why", "test", "--json"))
        assert of_app["matcher"] == {"app": APP}
        assert made["id"] in said(capsys, shell, url, "silence", "--list")
        assert "ended" in said(capsys, shell, url, "silence", "--end", made["id"])
        assert json.loads(said(capsys, shell, url, "alerts", "list", "--firing", "--json"))["items"] == []
        assert "oncall" in said(capsys, shell, url, "alerts", "deliveries")
