"""The analysis of an experiment over stored traffic: the figures are those of its units, and bad input is called so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.records import Role
from server.cli.main import main
from server.cli.outcome import ExitCode
from tests.server.live_experiment import ARMS, DAY, HOUR, NAME, Live, live
from tests.server.shell import AIRLINE, served


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Live]:
    with live(tmp_path) as running:
        yield running


def of(told: dict[str, Any], metric: str) -> dict[str, Any]:
    """The treatment's part of a metric."""
    (found,) = next(one for one in told["metrics"] if one["metric"] == metric)["variants"]
    return dict(found)


def health(told: dict[str, Any], check: str) -> dict[str, Any]:
    """A check of health."""
    return dict(next(one for one in told["health"] if one["check"] == check))


def rate(world: Live, variant: str) -> float:
    """The share of successes among the sessions of an arm, as the test made them."""
    values = [each for user, own in world.outcomes.items() if world.met[user] == variant for each in own]
    return sum(values) / len(values)


def test_an_experiment_is_analysed_from_its_traces(world: Live, capsys: pytest.CaptureFixture[str]) -> None:
    world.begin(strata=["topic"])
    world.users(200, 2.4, (0.45, 0.85), attributes={"topic": "refunds"})
    world.at[0] = 3 * DAY
    told = world.analysis()
    found = of(told, "resolution")["pooled"]
    assert found["control"] == pytest.approx(rate(world, "control"))
    assert found["treatment"] == pytest.approx(rate(world, "treatment"))
    assert found["low"] < found["treatment"] - found["control"] < found["high"]
    assert (told["n_units"], told["decision"]["word"]) == (200, "ship"), told["decision"]
    arms = {one["variant"]: one for one in told["arms"]}
    assert arms["control"]["n_units"] == sum(each == "control" for each in world.met.values())
    assert sum(one["n_sessions"] for one in told["arms"]) == 300
    assert {one["status"] for one in told["health"]} <= {"ok", "unknown", "warning"}, told["health"]
    assert {one["attribute"] for one in told["strata"]} == {"topic", "hour"}
    p95 = of(told, "p95_latency")["effect"]
    assert 1000 <= p95["control"] <= 1100
    (listed,) = world.get("/experiments")["items"]
    assert (listed["word"], listed["headline"]) == ("ship", told["decision"]["headline"])
    with served(world.shell.services) as url:
        key = world.shell.keys[AIRLINE, Role.VIEWER]
        assert main(["experiments", "show", NAME, "--url", url, "--key", key]) == ExitCode.OK
        shown = capsys.readouterr().out
        assert main(["experiments", "show", NAME, "--url", url, "--key", key, "--json"]) == ExitCode.OK
    printed = json.loads(capsys.readouterr().out)
    assert told["decision"]["headline"] in " ".join(shown.split())
    assert "treatment (v2, weight 50)" in shown
    assert (printed["registered"]["version"], printed["analysis"]["n_units"]) == (1, 200)


def test_as_of_a_moment_later_outcomes_are_hidden_and_nothing_is_kept(world: Live) -> None:
    world.begin()
    world.users(40, 1.0, (0.5, 0.9))
    world.at[0] = 1.5 * DAY
    world.store()
    world.at[0] = 3 * DAY
    world.users(40, 1.0, (0.5, 0.9), of="late")
    world.store()
    now = world.analysis()
    before = world.analysis(as_of=str(1_790_000_000_000_000_000 + int(2 * DAY) * 10**9))
    assert (now["n_units"], before["n_units"]) == (80, 40)
    assert world.get("/experiments")["items"][0]["word"] == now["decision"]["word"]


def test_a_draft_has_not_started_and_an_unknown_one_is_not_there(world: Live) -> None:
    world.begin(start=False)
    told = world.analysis()
    assert (told["decision"]["word"], told["n_units"], told["started_at"]) == ("not_started", 0, None)
    assert world.get("/experiments")["items"][0]["word"] is None
    assert world.get("/experiments/nobody/analysis", expect=404)["code"] == "not_found"
    assert world.get(f"/experiments/{NAME}/analysis", expect=404, version=7)["code"] == "not_found"
    assert world.get(f"/experiments/{NAME}/analysis", expect=422, as_of="yesterday")["field"] == "as_of"


@pytest.mark.parametrize("only", [None, "control"])
def test_without_units_or_with_one_arm_there_is_no_effect_and_a_reason(world: Live, only: str | None) -> None:
    world.begin()
    for n in range(30 if only else 0):
        world.visit(f"u{n}", 60 + n, outcome=1.0)
    world.rows = [one for one in world.rows if one["variant"] == only]
    world.at[0] = 2 * DAY
    told = world.analysis()
    found = of(told, "resolution")
    assert found["effect"] is None
    assert found["why_missing"]
    assert told["decision"]["word"] in ("keep_running", "unhealthy", "inconclusive")
    json.dumps(told, allow_nan=False)


def test_a_stratum_with_one_session_has_no_figure_of_its_own(world: Live) -> None:
    world.begin(strata=["topic"])
    world.users(60, 0.3, (0.5, 0.6), attributes={"topic": "refunds"})
    world.visit("single", HOUR, outcome=1.0, attributes={"topic": "rare"})
    world.at[0] = 2 * DAY
    told = world.analysis()
    topic = next(one for one in told["strata"] if one["attribute"] == "topic" and one["metric"] == "resolution")
    assert sum(one["n_control"] + one["n_treatment"] for one in topic["levels"]) == 61
    json.dumps(told, allow_nan=False)


def test_what_went_wrong_on_the_way_is_counted_by_its_name(world: Live) -> None:
    world.begin(overrides={"tess": "treatment"})
    world.users(100, 0.3, (0.5, 0.6))
    for n in range(20):
        world.visit(f"old{n}", HOUR, outcome=1.0, told_s=-DAY)  # told before it was met
        world.visit(f"ahead{n}", 30 * DAY, outcome=1.0)  # by a clock that is ahead
        world.visit(f"name{n}", HOUR, outcome=1.0, variant="treatment-b")  # renamed under way
        world.visit(f"wrong{n}", HOUR, outcome=1.0, release="v3", variant="treatment")
    world.visit("tess", HOUR, outcome=0.0)
    world.visit("run.q.0", HOUR, session_id="run.q.0")
    world.visit("boss", HOUR, door={"assay.gateway.chosen": "true"})
    world.at[0] = 2 * DAY
    told = world.analysis()
    exposure = told["exposure"]
    assert told["n_units"] == 100 + 60 + 1  # what is ahead, tess and boss are not exposed
    assert (exposure["n_before_exposure"], exposure["n_skewed"], exposure["n_overrides"]) == (20, 20, 1)
    assert exposure["renamed"] == {"treatment-b": 20}
    assert exposure["n_crossed"] >= 20
    for check in ("outcomes_before_exposure", "clock_skew", "renamed_variant", "crossover"):
        assert health(told, check)["status"] == "failed", check
    assert told["decision"]["word"] == "unhealthy"


def test_telemetry_that_one_arm_loses_is_seen(world: Live) -> None:
    world.begin()
    for n in range(120):
        user = f"u{n}"
        arm = world.visit(user, 60 + n * 60, outcome=1.0) and world.met[user]
        if arm == "treatment" and n % 2:
            world.rows = world.rows[:-2]  # no span of the agent
    world.at[0] = 2 * DAY
    assert health(world.analysis(), "telemetry_loss")["status"] == "failed"


def test_an_app_that_assigns_by_itself_is_read_by_its_variants(world: Live) -> None:
    arms = [{"variant": "blue", "weight": 50}, {"variant": "green", "weight": 50}]
    world.begin(arms=arms, assigned_by="app", unit="session", metrics=[{"name": "turns", "role": "primary"}])
    for n in range(60):
        world.visit(None, 60 + n * 60, release="v7", variant=arms[n % 2]["variant"])
    world.at[0] = 2 * DAY
    told = world.analysis()
    assert {one["variant"]: one["n_units"] for one in told["arms"]} == {"blue": 30, "green": 30}
    assert told["exposure"]["n_crossed"] is None
    assert of(told, "turns")["why_missing"]  # every session has one turn: nothing to weigh


def test_the_version_that_was_started_is_looked_at_and_a_stop_ends_the_exposure(world: Live) -> None:
    world.begin()
    world.users(40, 0.5, (0.5, 0.9))
    world.at[0] = DAY
    world.store()
    world.post(f"/experiments/{NAME}/stop", {"reason": "seen enough"})
    world.post(
        "/experiments", {"name": NAME, "app": "desk", "arms": ARMS, "metrics": [{"name": "turns", "role": "primary"}]}
    )
    world.users(30, 0.5, (0.5, 0.9), of="after")
    for one in world.rows:
        one["start_ns"] += int(DAY) * 10**9
    world.at[0] = 4 * DAY
    told = world.analysis()
    assert (told["version"], told["status"], told["n_units"]) == (1, "stopped", 40)
    assert world.analysis(version=2)["decision"]["word"] == "not_started"
