"""The analysis of an experiment over stored traffic: the figures are those of its units, and bad input is called so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.records import EvaluatorKind, Principal, Role, TargetKind
from judges.stored import rubric_record, spec_json
from server.cli.main import main
from server.cli.outcome import ExitCode
from store.control.judge_records import CalibrationState, JudgeCalibration
from store.scores import NewScore, append_scores
from tests.server.live_experiment import APP, ARMS, DAY, HOUR, NAME, Live, live, outcome_of
from tests.server.shell import AIRLINE, served
from tests.server.test_corrected import RUBRIC, SPEC
from tests.store.build import T0


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


def test_any_attribute_of_a_first_turn_is_a_stratum(world: Live) -> None:
    world.begin(strata=["shop.basket"])
    said = {"cluster": "late refunds", "assay.complexity": "high", "tenant_tier": "gold", "topic": "refunds"}
    for n in range(40):
        world.visit(f"u{n}", 60 + n, outcome=float(n % 2), attributes={**said, "shop.basket": "ab"[n % 4 < 2]})
    world.at[0] = 2 * DAY
    told = world.analysis()
    levels = {one["attribute"]: {each["level"] for each in one["levels"]} for one in told["strata"]}
    assert levels.pop("hour")
    single = {name.removeprefix("assay."): {level} for name, level in said.items()}
    assert levels == {**single, "shop.basket": {"a", "b"}}


def test_an_arm_that_loses_outcomes_and_units_in_both_arms_are_seen(world: Live) -> None:
    world.begin()
    for n in range(150):
        arm = world.visit(f"u{n}", 60 + n * 60) and world.met[f"u{n}"]
        if arm == "control" or n % 2:
            world.scores.append(outcome_of(f"s{world.n}", 1.0, HOUR * 12))
        if n < 20:
            world.visit(f"u{n}", HOUR * 6, variant="control", release="v1")
            world.visit(f"u{n}", HOUR * 7, variant="treatment", release="v2")
    world.at[0] = 2 * DAY
    told = world.analysis()
    assert (told["n_units"], told["exposure"]["n_multiple"]) == (130, 20)
    assert health(told, "missing_outcomes")["status"] == "failed"
    assert health(told, "multiple_exposure")["status"] == "failed"
    assert told["decision"]["word"] == "unhealthy"
    assert "missing outcomes" in told["decision"]["headline"]
    assert any(one.startswith("units have no resolution: control 0 of") for one in told["decision"]["reasons"])


def test_an_effect_that_turns_after_the_first_day_is_a_novelty(world: Live) -> None:
    world.begin()
    for n in range(300):
        user = f"u{n}"
        for day in range(3):
            treated = world.visit(user, day * DAY + 60 + n) and world.met[user] == "treatment"
            liked = day == 0 if treated else day > 0
            world.scores.append(
                outcome_of(f"s{world.n}", float(world.rng.random() < (0.9 if liked else 0.5)), day * DAY)
            )
    world.at[0] = 4 * DAY
    told = world.analysis()
    assert health(told, "novelty")["status"] == "failed"
    assert told["decision"]["word"] == "unhealthy"


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


def test_what_the_app_assigned_before_the_start_counts_with_a_caution(world: Live) -> None:
    world.at[0] = 3 * DAY
    arms = [{"variant": one["variant"], "weight": 50} for one in ARMS]
    world.begin(arms=arms, assigned_by="app", start=False)
    world.users(120, 1.6, (0.2, 0.95))
    world.store()
    path = f"/experiments/{NAME}/start"
    assert world.post(path, {"since": "10y"}, expect=422)["field"] == "since"
    world.post(path, {"since": "3d"})
    told = world.analysis()
    assert told["n_units"] == 120
    assert told["decision"]["word"] == "ship", told["decision"]
    assert "Registered 72 hours after" in told["decision"]["caution"]


def test_a_version_that_follows_another_that_ran_says_so(world: Live) -> None:
    arms = [{"variant": one["variant"], "weight": 50} for one in ARMS]
    world.at[0] = 3 * DAY
    world.begin(arms=arms, assigned_by="app", start=False)
    world.users(60, 1.6, (0.9, 0.9))
    world.store()
    world.post(f"/experiments/{NAME}/start", {"since": "3d"})
    assert "earlier" not in (world.analysis()["decision"]["caution"] or "")
    world.post(f"/experiments/{NAME}/stop", {"reason": "no winner yet"})
    world.begin(arms=arms, assigned_by="app", start=False)
    world.post(f"/experiments/{NAME}/start", {"since": "3d"})
    told = world.analysis()
    assert told["version"] == 2
    assert "This is version 2, and one earlier one ran" in told["decision"]["caution"]


def test_the_gateway_has_assigned_nothing_before_the_start(world: Live) -> None:
    world.begin(start=False)
    assert world.post(f"/experiments/{NAME}/start", {"since": "48h"}, expect=422)["field"] == "since"


def judge_of(world: Live, *, truth: dict[str, float], each: int = 1) -> None:
    """The judge resolver, which is right in nine of ten sessions, and people's labels of three in ten of them. A user
    has `each` sessions, all of which went alike."""
    control, by = world.shell.services.control, Principal(tenant=AIRLINE, role=Role.POWER_USER, name="ann")
    control.add_rubric(rubric_record(AIRLINE, RUBRIC), by=by)
    control.put_judge(AIRLINE, SPEC.name, SPEC.version, spec_json(SPEC), by=by)
    world.begin(metrics=[{"name": "resolver", "role": "primary"}, {"name": "turns", "role": "secondary"}])
    scores, right = [], False
    for n in range(1200):
        user = f"u{n // each}"
        session = world.visit(user, 60 + n * 100)
        right = world.rng.random() < truth[world.met[user]] if n % each == 0 else right
        verdict = right if world.rng.random() < 0.9 else not right
        scores.append(judged("resolver", EvaluatorKind.JUDGE, session, verdict, world.shell.services.clock()))
        if world.rng.random() < 0.3:
            scores.append(judged("resolution", EvaluatorKind.HUMAN, session, right, world.shell.services.clock(), 0.3))
    ids = [f"{'judge' if one.evaluator_kind is EvaluatorKind.JUDGE else 'label'}_{one.session_id}" for one in scores]
    append_scores(world.shell.services.store.tenant(AIRLINE), scores, ids=ids, author="t", now_ns=T0)


def judged(
    evaluator: str, kind: EvaluatorKind, session: str, passes: bool, at_ns: int, probability: float = 1.0
) -> NewScore:
    """What a judge or a person said of a session."""
    version = SPEC.version if kind is EvaluatorKind.JUDGE else "1"
    return NewScore(
        evaluator=evaluator, evaluator_version=version, evaluator_kind=kind, target=TargetKind.SESSION,
        session_id=session, value=float(passes), label="pass" if passes else "fail", at_ns=at_ns,
        metadata={"app": "desk", "probability": probability},
    )  # fmt: skip


def certify(world: Live) -> None:
    """The judge resolver agrees with people."""
    made = JudgeCalibration(
        tenant=AIRLINE, judge=SPEC.name, version=SPEC.version, at_ns=world.shell.services.clock(),
        state=CalibrationState.CERTIFIED, report={"app": "desk", "reason": "kappa is above the bar"}, kappa_low=0.7,
        kappa_high=0.9, bar=0.6, n=300,
    )  # fmt: skip
    world.shell.services.control.put_calibration(made)


def test_what_a_judge_scores_enters_corrected_and_only_while_it_is_certified(world: Live) -> None:
    judge_of(world, truth={"control": 0.5, "treatment": 0.8})
    world.at[0] = 3 * DAY
    metrics = [{"name": "resolver", "role": "primary"}]
    drafted = world.post("/experiments", {"name": "o", "app": APP, "arms": ARMS, "metrics": metrics, "dry_run": True})
    assert "resolver decides nothing by now: resolver@" in drafted["warnings"][-1]
    found = of(world.analysis(), "resolver")
    assert found["effect"] is None
    assert "resolver@" in found["why_missing"]
    assert "never calibrated" in found["why_missing"]
    certify(world)
    told = world.analysis()
    found = of(told, "resolver")
    assert found["corrected"]
    effect = found["effect"]
    assert effect["control"] == pytest.approx(0.5, abs=0.08)  # the judge alone says .5 and .74
    assert effect["treatment"] == pytest.approx(0.8, abs=0.08)
    assert effect["low"] < 0.3 < effect["high"]
    assert effect["se"] < 0.05
    assert told["n_units"] == 1200


def test_sessions_of_a_user_that_a_judge_finds_alike_are_not_independent(world: Live) -> None:
    judge_of(world, truth={"control": 0.5, "treatment": 0.5}, each=8)
    world.at[0] = 3 * DAY
    certify(world)
    told = world.analysis()
    assert told["n_units"] == 150
    assert of(told, "resolver")["effect"]["se"] > 0.07  # as independent sessions below 0.05
