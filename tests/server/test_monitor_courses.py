"""How monitors are and how they went, at the API: one word for each, the course of late, a course with what was."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import pytest

from core.clock import NS_PER_S, system_clock, to_datetime
from core.records import Role
from server.scheduler import Scheduler
from tests.monitors.watching import Hands
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell
from tests.server.test_monitors import APP, DEFINITION, STEP, arrive, get, post

CHANNELS: Final = "channels:\n  oncall: {kind: slack, url: 'https://hooks.example/${env:NAME}'}\n"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Monitors that were looked at before the drop, and again after it."""
    now = system_clock()
    hands = Hands(now)
    with running_shell(tmp_path_factory.mktemp("courses"), hands) as running:
        arrive(running)
        hands.ns = now // STEP * STEP - 3 * STEP + 100 * NS_PER_S
        wanted: dict[str, dict[str, Any]] = {
            "desk": {},
            "quiet": {"series": "grounding"},
            "new": {"band": {"kind": "ema", "alpha": 0.001}},
            "off": {},
        }
        for name, said in wanted.items():
            assert post(running, "/monitors", {"name": name, "definition": {**DEFINITION, **said}}).status_code == 201
        switch(running, "off", on=False)
        assert Scheduler(running.services).round("monitors") == 1
        hands.ns = now // STEP * STEP + 100 * NS_PER_S
        assert Scheduler(running.services).round("monitors") == 1
        yield running


def switch(shell: Shell, name: str, *, on: bool) -> None:
    path = f"/api/v1/monitors/{name}"
    shell.client.patch(path, json={"enabled": on}, headers=shell.headers(Role.POWER_USER)).raise_for_status()


def listed(shell: Shell, **asked: Any) -> dict[str, Any]:
    return {one["name"]: one for one in get(shell, "/monitors", **asked).json()["items"]}


def test_each_says_in_one_word_how_it_is(shell: Shell) -> None:
    found = listed(shell)
    assert {name: one["health"] for name, one in found.items()} == {
        "desk": "firing", "quiet": "no_data", "new": "warming_up", "off": "off",
    }  # fmt: skip
    assert (found["desk"]["n_firing"], found["desk"]["unit"]) == (1, "share")
    switch(shell, "off", on=True)
    assert listed(shell)["off"]["health"] == "waiting"
    switch(shell, "off", on=False)


def test_the_course_of_late_is_of_those_that_are_on_and_leaves_holes(shell: Shell) -> None:
    assert listed(shell)["desk"]["recent"] is None
    found = listed(shell, recent="8h")
    values = found["desk"]["recent"]["value"]
    assert len(values) == 48
    assert values[0] is None  # nobody came yet
    assert values[-1] == 0
    assert max(one for one in values if one is not None) >= 0.9
    assert found["quiet"]["recent"]["value"] == [None] * 48
    assert found["off"]["recent"] is None
    for wrong in ("40d", "soon", "0h"):
        assert get(shell, "/monitors", recent=wrong).status_code == 422


def test_a_silence_stands_at_the_monitors_that_it_means(shell: Shell) -> None:
    start = to_datetime(shell.services.clock() - 3600 * NS_PER_S).isoformat()
    wanted = {"matcher": {"monitor": "desk"}, "start": start, "lasts": "2h", "why": "deploy"}
    made = post(shell, "/silences", wanted, Role.USER).json()
    found = listed(shell)
    assert found["desk"]["silenced"] == {"id": made["id"], "why": "deploy", "end": made["end"]}
    assert found["desk"]["health"] == "firing"
    assert found["quiet"]["silenced"] is None
    assert [one["id"] for one in get(shell, "/monitors/desk").json()["silences"]] == [made["id"]]
    course = get(shell, "/monitors/desk/course", since="3h").json()
    (strip,) = course["silences"]
    assert (strip["id"], strip["start"], strip["end"]) == (made["id"], made["start"], course["end"])
    assert get(shell, "/monitors/quiet/course", since="3h").json()["silences"] == []
    shell.client.delete(f"/api/v1/silences/{made['id']}", headers=shell.headers(Role.USER)).raise_for_status()
    assert listed(shell)["desk"]["silenced"] is None
    assert get(shell, "/monitors/desk").json()["silences"] == []


def test_a_silence_of_one_series_of_a_split_monitor_does_not_silence_it(shell: Shell) -> None:
    split = {**DEFINITION, "series": "error_rate", "by": "release"}
    assert post(shell, "/monitors", {"name": "split", "definition": split}).status_code == 201
    matcher = {"series": "error_rate{release=r1}"}
    made = post(shell, "/silences", {"matcher": matcher, "lasts": "2h", "why": "deploy"}, Role.USER).json()
    told = get(shell, "/monitors/split").json()
    assert told["silenced"] is None
    assert [one["id"] for one in told["silences"]] == [made["id"]]
    for path in (f"silences/{made['id']}", "monitors/split"):
        shell.client.delete(f"/api/v1/{path}", headers=shell.headers(Role.POWER_USER)).raise_for_status()


def test_a_course_has_the_band_and_the_alerts_that_were(shell: Shell) -> None:
    found = get(shell, "/monitors/desk/course", since="3h").json()
    chart = found["chart"]
    assert found["names"] == ["resolution"]
    assert chart["verdict"][-2:] == ["breach", "breach"]
    assert chart["low"][-1] > chart["value"][-1]
    (alert,) = found["alerts"]
    assert alert["status"] == "firing"
    assert datetime.fromisoformat(alert["since"]) >= datetime.fromisoformat(found["start"])
    before = get(shell, "/monitors/desk/course", start=found["start"], end=alert["since"]).json()
    assert before["alerts"] == []
    assert get(shell, "/monitors/desk/course", since="3h", series="cost").status_code == 404
    assert get(shell, "/monitors/nobody/course").status_code == 404
    assert get(shell, "/monitors/desk/course", tenant=SHOP).status_code == 404
    assert get(shell, "/monitors/desk/course", since="1m").status_code == 422


def test_a_course_of_nothing_has_holes_only(shell: Shell) -> None:
    found = get(shell, "/monitors/quiet/course", since="3h").json()
    assert set(found["chart"]["value"]) == {None}
    assert (found["n_points"], found["alerts"]) == (0, [])
    assert found["n_missing"] == len(found["chart"]["value"])


def test_a_dry_run_of_deleting_says_what_fires(shell: Shell) -> None:
    path = "/api/v1/monitors/desk"
    told = shell.client.delete(path, params={"dry_run": "true"}, headers=shell.headers(Role.POWER_USER)).json()
    assert (told["dry_run"], told["n_firing"], told["n_series"]) == (True, 1, 1)
    assert listed(shell)["desk"]["status"] == "on"


def test_channels_are_named_and_nothing_of_where_they_lead(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "hidden-place")
    assert get(shell, "/channels").json()["items"] == []
    shell.services.settings.channels_file.write_text(CHANNELS, encoding="utf-8")
    told = get(shell, "/channels")
    assert told.json()["items"] == [{"name": "oncall", "kind": "slack"}]
    assert "hidden-place" not in told.text
    shell.services.settings.channels_file.write_text("channels: {oncall: {kind: pigeon}}\n", encoding="utf-8")
    broken = get(shell, "/channels").json()
    assert broken["items"] == []
    assert "log" in broken["why"]
    assert get(shell, "/channels", tenant=AIRLINE, app=APP).status_code == 422
