"""Sums of experiments made in the store, on each engine: who is exposed, in which arm, and what adds up."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.clock import NS_PER_S
from core.records import EvaluatorKind, TargetKind
from store.experiment_arms import Arms, ArmSeen, Enrolment, Range
from store.experiment_moments import Measure, MetricAsked, State, UnitsAsked, by_age, cells, observations, unit_rows
from store.experiment_scores import Scored, Told
from store.experiment_telemetry import sent_and_lost
from tests.store.build import T0, fill
from tests.store.places import store_at
from tests.store.test_experiment_units import not_a_number, tell, turn

HALF = "7fffffffffffffff"
ALL = ("0" * 16, "f" * 16)
ARMS = (ArmSeen(variant="control", release="v1"), ArmSeen(variant="treatment", release="v2"))
SUCCESS = Scored(
    name="resolution",
    told=(Told(evaluator="task_success", kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION),),
)
METRICS = (
    MetricAsked(name="resolution", of=SUCCESS),
    MetricAsked(name="error_rate", of=Measure.ERRORS),
    MetricAsked(name="latency", of=Measure.LATENCY_MS),
    MetricAsked(name="cost", of=Measure.COST_USD),
)
DAY = 86_400.0
both_engines = pytest.mark.parametrize("each_engine", ["duckdb", "clickhouse"], indirect=True)


def asked(**given: Any) -> UnitsAsked:
    """An experiment over releases v1 and v2, looked at three days after its start."""
    plain = UnitsAsked(
        app="shop",
        arms=Arms(arms=ARMS),
        metrics=METRICS[1:2],
        by_user=True,
        started_ns=T0,
        until_ns=T0 + int(3 * DAY) * NS_PER_S,
        now_ns=T0 + int(3 * DAY) * NS_PER_S,
    )
    return replace(plain, **given)


def in_v2(number: int, session: str, **given: Any) -> list[dict[str, Any]]:
    """A turn of the treatment."""
    return turn(number, session, release="v2", variant="treatment", **given)


def told(found: pl.DataFrame, state: State = State.EXPOSED) -> dict[int | None, dict[str, Any]]:
    """Sums by arm, over days and levels."""
    kept = found.filter(pl.col("state") == state.value).drop("state", "day", "said")
    kept = kept.drop([name for name in kept.columns if name.startswith("level_")])
    return {row["arm"]: row for row in kept.group_by("arm").sum().to_dicts()}


@both_engines
def test_users_are_the_units_and_their_sessions_add_up(tmp_path: Path, each_engine: str) -> None:
    lake, whole = store_at(tmp_path)
    rows = [
        *turn(1, "a1", user_id="a"),
        *turn(2, "a2", user_id="a", at_s=DAY, status=2),
        *turn(3, "b1", user_id="b", at_s=2 * DAY),
        *in_v2(4, "c1", user_id="c", at_s=60),
        *in_v2(5, "c1", user_id="c", at_s=90, status=2),
        *in_v2(6, "d1", user_id="d", at_s=70),
        *turn(7, "e1", user_id="e", at_s=-60),
    ]
    fill(lake, rows, batches=2)
    store = whole.tenant("acme")
    tell(store, "task_success", EvaluatorKind.OUTCOME, ("a1", 1.0, 10), ("a2", 0.0, DAY + 10), ("c1", 0.0, 100))
    tell(store, "task_success", EvaluatorKind.OUTCOME, ("c1", 1.0, 500), ("e1", 1.0, 500))
    found = told(cells(store, asked(metrics=METRICS)))
    control, treatment = found[0], found[1]
    assert (control["n_units"], control["n_sessions"], treatment["n_units"], treatment["n_sessions"]) == (2, 3, 2, 2)
    assert [control[f"{each}_0"] for each in ("n", "n_missing", "y", "s", "yy", "ss", "sy")] == [1, 1, 1, 2, 1, 4, 2]
    assert [treatment[f"{each}_0"] for each in ("n", "n_missing", "y", "s")] == [1, 1, 1, 1]  # the latest score wins
    assert [control[f"{each}_1"] for each in ("n", "y", "s", "ss")] == [2, 1, 3, 5]
    assert [treatment[f"{each}_2"] for each in ("n", "y", "s", "yy")] == [2, 3000.0, 3, 2000.0**2 + 1000.0**2]
    assert control["y_3"] == pytest.approx(0.006)
    days = cells(store, asked()).filter(pl.col("arm") == 0).sort("day").select("day", "n_units").rows()
    assert days == [(dt.date(2026, 9, 21), 1), (dt.date(2026, 9, 23), 1)]


@both_engines
def test_sums_of_the_engine_are_those_of_its_unit_rows(tmp_path: Path, each_engine: str) -> None:
    """By every level, with missing outcomes and a past: nothing is left to how an engine adds."""
    lake, whole = store_at(tmp_path)
    rows: list[dict[str, Any]] = []
    for n in range(40):
        make = turn if n % 25 % 3 else in_v2
        topic = {} if n % 5 == 0 else {"topic": "refunds" if n % 2 else "returns"}
        rows += make(100 + n, f"s{n}", user_id=f"u{n % 25}", at_s=n * 3000, attributes=topic, status=1 + (n % 4 == 0))
        rows += turn(200 + n, f"past{n}", user_id=f"u{n}", at_s=-3000 * (n % 30 + 1), status=1 + (n % 2))
    fill(lake, rows, batches=3)
    store = whole.tenant("acme")
    tell(store, "task_success", EvaluatorKind.OUTCOME, *[(f"s{n}", float(n % 3 == 0), n * 3000 + 9) for n in range(30)])
    tell(store, "task_success", EvaluatorKind.OUTCOME, *[(f"past{n}", float(n % 2), -50) for n in range(20)])
    wanted = asked(metrics=METRICS, attributes=("topic", "hour"), covariate_days=1)
    units = unit_rows(store, wanted)
    found = cells(store, wanted)
    keys = ["arm", "day", "level_0", "level_1"]
    for i in range(4):
        expected = units.group_by(keys).agg(**_sums(i)).sort(keys, nulls_last=True)
        own = found.filter(pl.col("state") == "exposed").select(
            *keys, **{name: pl.col(f"{name}_{i}") for name in _sums(i)}
        )
        for name in _sums(i):
            left = own.sort(keys, nulls_last=True)[name].to_list()
            assert left == pytest.approx(expected[name].to_list()), (i, name)
    assert units.height == 25
    with_past = [n for n in range(25) if n * 3000 + (n % 30 + 1) * 3000 <= DAY]  # all of them with an outcome
    assert units["x_0"].null_count() == 25 - len(with_past)
    assert set(found["level_0"].to_list()) == {None, "refunds", "returns"}


def _sums(i: int) -> dict[str, pl.Expr]:
    seen = pl.col(f"s_{i}") > 0
    y, s, x = (pl.col(f"{each}_{i}").filter(seen) for each in "ysx")
    w, x = x.is_not_null().cast(pl.Float64), x.fill_null(0.0)
    products = {"y": y, "s": s, "x": x, "yy": y * y, "ss": s * s, "xx": x * x, "sy": s * y, "xy": x * y, "xs": x * s}
    products |= {"w": w, "wy": w * y, "ws": w * s}
    return {"n": seen.sum(), "n_missing": (~seen).sum(), **{name: one.sum() for name, one in products.items()}}


def digits(salt: str, unit: str) -> str:
    """The first sixteen digits, as docs/assignment.md says."""
    return sha256(f"{salt}:{unit}".encode()).hexdigest()[:16]


def given_by_hash(unit: str) -> int:
    """The arm of `hashed`."""
    return int(digits("x:1", unit) > HALF)


def hashed(*, ramps: tuple[tuple[int, Range], ...], testers: tuple[str, ...] = ()) -> Arms:
    """Half and half by the salt x:1, with ramps."""
    return Arms(
        arms=(
            ArmSeen(variant="control", release="v1", part=Range(salt="x:1", first=ALL[0], last=HALF)),
            ArmSeen(variant="treatment", release="v2", part=Range(salt="x:1", first="8" + "0" * 15, last=ALL[1])),
        ),
        enrolment=Enrolment(within=(Range(salt="holdout:shop", first=ALL[0], last=ALL[1]),), ramps=ramps),
        testers=testers,
        tester_key="k",
    )


@both_engines
def test_who_takes_part_is_told_by_the_hash_and_crossover_is_counted(tmp_path: Path, each_engine: str) -> None:
    lake, whole = store_at(tmp_path)
    users = [f"u{n}" for n in range(60)]
    in_control = {user for user in users if digits("x:1", user) <= HALF}
    early = {user for user in users if digits("x:1:coverage", user) <= HALF}
    assert 20 < len(in_control) < 40
    assert 20 < len(early) < 40
    rows: list[dict[str, Any]] = []
    for n, user in enumerate(users):
        make = turn if user in in_control else in_v2
        rows += make(100 + n, f"first-{user}", user_id=user, at_s=60)
        rows += turn(200 + n, f"late-{user}", user_id=user, at_s=2 * 3600)  # all of them at the control: crossover
    fill(lake, rows)
    store = whole.tenant("acme")
    half = Range(salt="x:1:coverage", first=ALL[0], last=HALF)
    whole_range = Range(salt="x:1:coverage", first=ALL[0], last=ALL[1])
    found = cells(store, asked(arms=hashed(ramps=((T0, half),))))
    first, several = told(found), told(found, State.MULTIPLE)
    assert (first[0]["n_units"], several[1]["n_units"]) == (len(early & in_control), len(early - in_control))
    assert (first[0]["n_crossed"], first.get(1)) == (0, None)
    both = told(cells(store, asked(arms=hashed(ramps=((T0, half), (T0 + 3600 * NS_PER_S, whole_range))))))
    late = set(users) - early  # their first exposure is after the ramp: at the control, whatever the hash gives them
    assert (both[0]["n_units"], both[0]["n_crossed"]) == (len(in_control), 0)
    assert (both[1]["n_units"], both[1]["n_crossed"]) == (len(late - in_control),) * 2
    none = cells(store, asked(arms=hashed(ramps=())))
    assert none.is_empty()


@both_engines
def test_testers_strangers_and_clocks_that_are_ahead_are_counted_apart(tmp_path: Path, each_engine: str) -> None:
    lake, whole = store_at(tmp_path)
    rows = [
        *turn(1, "a", user_id="a"),
        *turn(2, "t", user_id="tess"),
        *turn(3, "n"),  # nobody's
        *turn(4, "f", user_id="f", at_s=5 * DAY),
        *turn(5, "x", user_id="x", release="v3", variant="treatment"),
        *turn(6, "r", user_id="r", release=None, variant=None, status=2),
        *turn(7, "w", user_id="w", release="v2", variant="renamed"),
    ]
    fill(lake, rows)
    store = whole.tenant("acme")
    ramps = ((T0, Range(salt="x:1:coverage", first=ALL[0], last=ALL[1])),)
    tester = sha256(b"k:tess").hexdigest()
    found = cells(store, asked(arms=hashed(ramps=ramps, testers=(tester,))))
    states = dict(found.group_by("state").agg(pl.col("n_units").sum()).rows())
    assert states == {"exposed": 3, "tester": 1, "nameless": 1, "ahead": 1, "unreached": 1}
    met = {"a": 0, "w": 1}  # of w the release tells the arm; x met none
    crossed = sum(given_by_hash(user) != met.get(user) for user in ("a", "w", "x"))
    assert sum(each["n_crossed"] for each in told(found).values()) == crossed >= 1
    assert set(found.filter(pl.col("state") == "exposed")["said"]) == {"control", "renamed", "treatment"}
    assert found.filter(pl.col("state") == "ahead")["n_ahead"].to_list() == [1]


@both_engines
def test_a_variant_that_the_app_assigns_is_its_arm_whatever_the_release(tmp_path: Path, each_engine: str) -> None:
    lake, whole = store_at(tmp_path)
    rows = [
        *turn(1, "a", variant="blue"),
        *turn(2, "b", variant="green", release="v9"),
        *turn(3, "c", variant="teal"),
        *turn(4, "d", variant=None),
    ]
    fill(lake, rows)
    arms = Arms(arms=(ArmSeen(variant="blue", release=None), ArmSeen(variant="green", release=None)))
    found = cells(whole.tenant("acme"), asked(arms=arms, by_user=False))
    assert sorted(found.select("state", "arm", "said", "n_units").rows(), key=str) == [
        ("elsewhere", None, "teal", 1),
        ("exposed", 0, "blue", 1),
        ("exposed", 1, "green", 1),
    ]


@both_engines
def test_outcomes_count_once_they_may_be_missing_and_older_ones_than_the_session_are_counted(
    tmp_path: Path, each_engine: str
) -> None:
    lake, whole = store_at(tmp_path)
    rows = [
        *turn(1, "old", user_id="a", at_s=100),
        *turn(2, "silent", user_id="b", at_s=100),
        *turn(3, "young", user_id="c", at_s=3 * DAY - 60),
        *turn(4, "before", user_id="d", at_s=DAY),
    ]
    fill(lake, rows)
    store = whole.tenant("acme")
    tell(store, "task_success", EvaluatorKind.OUTCOME, ("old", 1.0, 200), ("young", 0.0, 3 * DAY - 30))
    tell(store, "task_success", EvaluatorKind.OUTCOME, ("before", 1.0, 200))
    not_a_number(store, "task_success", "silent", at_s=300)
    metrics = (MetricAsked(name="resolution", of=SUCCESS, mature_s=3600),)
    (control,) = told(cells(store, asked(metrics=metrics))).values()
    assert [control[each] for each in ("n_units", "n_0", "n_missing_0", "y_0", "n_early")] == [4, 2, 1, 2, 1]


@both_engines
def test_sessions_of_which_no_span_of_the_agent_came_are_lost_to_their_arm(tmp_path: Path, each_engine: str) -> None:
    lake, whole = store_at(tmp_path)
    rows = [
        *turn(1, "a", user_id="a"),
        *turn(2, "b", user_id="b")[:1],
        *turn(3, "b", user_id="b", at_s=60),  # its second turn was seen
        *in_v2(4, "c", user_id="c"),
        *in_v2(5, "d", user_id="d")[:1],
        *in_v2(6, "e", user_id="e", at_s=3 * DAY - 60)[:1],  # may still come
        *in_v2(7, "p", user_id="p", door={"assay.gateway.chosen": "true"})[:1],
        *in_v2(8, "f", user_id="f")[1:],  # did not come through the gateway
    ]
    fill(lake, rows)
    found = sent_and_lost(whole.tenant("acme"), asked())
    assert found.rows() == [(0, 2, 0), (1, 2, 1)]


@both_engines
def test_a_figure_by_the_days_since_the_first_exposure(tmp_path: Path, each_engine: str) -> None:
    lake, whole = store_at(tmp_path)
    rows = [
        *turn(1, "a1", user_id="a", at_s=DAY),
        *turn(2, "a2", user_id="a", at_s=DAY + 3600, status=2),
        *turn(3, "a3", user_id="a", at_s=2 * DAY + 60, status=2),
        *turn(4, "b1", user_id="b", at_s=60),
        *in_v2(5, "c1", user_id="c", at_s=60),
        *in_v2(6, "m1", user_id="m", at_s=60),
        *turn(7, "m2", user_id="m", at_s=90),  # in both arms: left out
    ]
    fill(lake, rows)
    wanted = asked(metrics=(MetricAsked(name="error_rate", of=Measure.ERRORS),))
    found = by_age(whole.tenant("acme"), wanted).select("arm", "age", "n_0", "y_0", "s_0", "yy_0", "ss_0")
    assert found.rows() == [(0, 0, 2, 1.0, 3.0, 1.0, 5.0), (0, 1, 1, 1.0, 1.0, 1.0, 1.0), (1, 0, 1, 0.0, 1.0, 0.0, 1.0)]


@both_engines
def test_a_sample_of_units_is_the_same_in_every_question(tmp_path: Path, each_engine: str) -> None:
    lake, whole = store_at(tmp_path)
    fill(lake, [one for n in range(40) for one in turn(n + 1, f"s{n}", user_id=f"u{n % 20}", at_s=n)])
    store = whole.tenant("acme")
    units = unit_rows(store, asked(), one_in=4)
    seen = observations(store, asked(), one_in=4)
    assert 1 <= units.height <= 12
    assert set(seen["unit"]) == set(units["unit"])
    assert seen.height == 2 * units.height
    assert seen["latencies_ms"].explode().to_list() == [1000.0] * seen.height


@both_engines
def test_without_units_there_is_no_cell(tmp_path: Path, each_engine: str) -> None:
    _, whole = store_at(tmp_path)
    store = whole.tenant("acme")
    assert cells(store, asked(covariate_days=7, attributes=("topic",))).is_empty()
    assert unit_rows(store, asked()).is_empty()
    assert observations(store, asked()).is_empty()
