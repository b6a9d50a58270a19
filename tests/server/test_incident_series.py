"""Alerts with what is around them, and the series of an incident, over a real lake and a look of the server's job."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from core.clock import NS_PER_S, system_clock
from core.records import Role
from core.windows import moment_ns
from server.scheduler import Scheduler
from store.control.records import PlanSpec, ReleaseSpec
from tests.monitors.watching import Hands
from tests.server.shell import SHOP, Shell, running_shell
from tests.server.test_monitors import ADMIN, APP, DEFINITION, STEP, arrive, get, post

READ: Final = 100 * NS_PER_S  # after its end until a bucket is looked at


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A monitor that was there before its app's last two buckets went wrong, and a release between."""
    clock = Hands(system_clock())
    with running_shell(tmp_path_factory.mktemp("incident-series"), clock) as running:
        arrive(running)
        end = clock.ns // STEP * STEP
        rounds = Scheduler(running.services)
        clock.ns = end - 2 * STEP + READ
        assert post(running, "/monitors", {"name": "desk", "definition": DEFINITION}).status_code == 201
        spec = ReleaseSpec(app=APP, name="r2", model="sim-1", endpoint="http://127.0.0.1:1/r2")
        running.services.control.register_release(ADMIN.tenant, spec, by=ADMIN)
        running.services.control.set_plan(
            ADMIN.tenant, PlanSpec(app=APP, baseline="r2", weights={"r2": 1.0}), by=ADMIN
        )  # fmt: skip
        assert rounds.round("monitors") == 1
        clock.ns = end + READ
        assert rounds.round("monitors") == 1
        yield running


def alert_of(shell: Shell, **asked: Any) -> Any:
    (alert,) = get(shell, "/alerts", status="firing", **asked).json()["items"]
    return alert


def test_an_alert_tells_its_newest_value_against_the_band(shell: Shell) -> None:
    alert = alert_of(shell)
    assert (alert["now"]["value"], alert["now"]["n"], alert["unit"]) == (0.0, 10.0, "share")
    assert alert["now"]["breach"] == -1
    assert alert["now"]["value"] < alert["now"]["low"] < alert["now"]["expected"]
    assert alert["silence"] is None


def test_alerts_are_found_by_severity(shell: Shell) -> None:
    assert alert_of(shell, severity="page")["severity"] == "page"
    assert get(shell, "/alerts", severity="ticket").json()["items"] == []
    assert get(shell, "/alerts", severity="loud").status_code == 422


def test_an_alert_says_who_silenced_it_and_until_when(shell: Shell) -> None:
    wanted = {"matcher": {"app": APP}, "lasts": "2h", "why": "deploy"}
    made = post(shell, "/silences", wanted, Role.USER).json()
    told = alert_of(shell)["silence"]
    assert told == {"id": made["id"], "why": "deploy", "by": made["made_by"], "until": made["end"]}
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    weekly = {"days": days, "start": "00:00", "end": "22:00", "zone": "UTC"}
    shell.client.delete(f"/api/v1/silences/{made['id']}", headers=shell.headers(Role.USER)).raise_for_status()
    assert alert_of(shell)["silence"] is None
    made = post(shell, "/silences", {**wanted, "lasts": "28d", "weekly": weekly}, Role.USER).json()
    told = alert_of(shell)["silence"]
    if made["active"]:  # of weekly windows the end of this one, not of the last
        assert moment_ns(told["until"], "until") <= shell.services.clock() + 22 * 3600 * NS_PER_S
    else:
        assert told is None
    shell.client.delete(f"/api/v1/silences/{made['id']}", headers=shell.headers(Role.USER)).raise_for_status()


def test_an_incident_gives_its_series_with_bands_around_the_onset(shell: Shell) -> None:
    incident = alert_of(shell)["incident"]
    found = get(shell, f"/incidents/{incident}/series").json()
    chart = found["charts"][0]
    assert (chart["monitor"], chart["series"], chart["unit"], chart["step_s"]) == ("desk", "resolution", "share", 300)
    assert chart["verdict"][-2:] == ["breach", "breach"]
    assert chart["value"][-2:] == [0.0, 0.0]
    assert all(low < 0.9 for low in chart["low"] if low is not None)
    onset = moment_ns(get(shell, f"/incidents/{incident}").json()["onset_at"], "onset")
    times = [moment_ns(at, "at") for at in chart["at"]]
    assert times == sorted(times)
    assert moment_ns(found["start"], "start") <= times[0] < onset <= times[-1]
    assert ("release", "r2") in {(one["what"], one["name"]) for one in found["markers"]}


def test_the_series_that_the_diagnosis_saw_move_are_drawn_or_said_to_be_left_out(shell: Shell) -> None:
    incident = alert_of(shell)["incident"]
    diagnosis = get(shell, f"/incidents/{incident}").json()["diagnosis"]
    found = get(shell, f"/incidents/{incident}/series").json()
    moved = {one["change"]["series"] for one in diagnosis["moved"] if one["move"] in ("up", "down")}
    told = {one["series"] for one in found["charts"]} | {one["series"] for one in found["left_out"]}
    assert moved <= told
    assert all(one["why"] for one in found["left_out"])


def test_the_series_of_another_tenants_incident_are_not_told(shell: Shell) -> None:
    incident = alert_of(shell)["incident"]
    assert get(shell, f"/incidents/{incident}/series", tenant=SHOP).status_code == 404
    assert get(shell, "/incidents/I-999/series").status_code == 404
