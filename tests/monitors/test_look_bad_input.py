"""What no traffic should be and all traffic is one day, from the lake to the alert: each has an answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.records import EvaluatorKind, TargetKind
from core.windows import Window
from monitors.definition import Definition
from monitors.service_backtest import backtest
from store.scores import NewScore, append_scores
from tests.monitors.watching import ACME, BAND, BEGIN, STEP, Shop, open_shop
from tests.store.build import fill, row

LEARNED = 100
WEEK = 7 * 288


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path) as made:
        yield made


def newest(shop: Shop, name: str = "resolution") -> dict[str, Any]:
    state = shop.control.monitor_state(ACME, name)
    assert state is not None
    (one,) = state.told["series"]
    return dict(one)


def test_a_series_that_never_changed_pages_when_it_does(shop: Shop) -> None:
    shop.traffic(range(LEARNED), lambda _: 1.0)
    shop.at(LEARNED)
    shop.watch()
    shop.look()
    assert shop.control.alerts(ACME) == []
    shop.traffic(range(LEARNED, LEARNED + 3), lambda _: 0.0)
    shop.at(LEARNED + 3)
    shop.look()
    assert [one.status for one in shop.control.alerts(ACME)] == ["firing"]


def test_one_point_warms_up(shop: Shop) -> None:
    shop.traffic([3], lambda _: 0.0)
    shop.at(4)
    shop.watch()
    shop.look()
    assert newest(shop)["status"] == "warming_up"
    assert newest(shop)["low"] is None
    assert shop.control.alerts(ACME) == []


def test_a_series_of_which_nothing_is_there_says_nothing(shop: Shop) -> None:
    shop.at(LEARNED)
    shop.watch(series="score:nobody-says-it")
    made = shop.look()
    assert made is not None
    assert (made.n_monitors, made.n_events, made.failed) == (1, 0, {})
    definition = Definition.from_json(shop.control.monitor(ACME, "resolution").definition)
    window = Window(start_ns=BEGIN, end_ns=BEGIN + LEARNED * STEP)
    told = backtest(shop.store, definition, window).as_json()
    assert (told["n_points"], told["alerts"]) == (0, [])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_no_number_never_comes_in(shop: Shop, value: float) -> None:
    shop.traffic(range(LEARNED), lambda _: 0.87)
    shop.at(LEARNED)
    shop.watch()
    said = [
        NewScore(
            evaluator="task_success", evaluator_kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION,
            session_id=f"s{n}", value=value, at_ns=BEGIN + LEARNED * STEP + n * NS_PER_S,
        )
        for n in range(1, 40)
    ]  # fmt: skip
    with pytest.raises(InvalidInput, match="finite"):
        append_scores(shop.store, said, ids=[f"bad{n}" for n in range(len(said))], author="t", now_ns=shop.hands())
    shop.traffic([LEARNED], lambda _: 0.87)
    shop.at(LEARNED + 1)
    shop.look()
    assert newest(shop)["n"] == 12
    assert shop.control.alerts(ACME) == []


def test_after_a_week_without_traffic_the_band_is_where_it_was(shop: Shop) -> None:
    shop.traffic(range(LEARNED), lambda _: 0.87)
    shop.at(LEARNED)
    shop.watch()
    shop.look()
    before = newest(shop)
    shop.traffic(range(LEARNED + WEEK, LEARNED + WEEK + 3), lambda _: 0.87)
    shop.at(LEARNED + WEEK + 3)
    shop.look()
    assert newest(shop)["expected"] == pytest.approx(before["expected"], abs=0.05)
    assert newest(shop)["status"] == "ok"
    shop.traffic(range(LEARNED + WEEK + 3, LEARNED + WEEK + 6), lambda _: 0.2)
    shop.at(LEARNED + WEEK + 6)
    shop.look()
    assert [one.status for one in shop.control.alerts(ACME)] == ["firing"]


def test_what_arrives_twice_counts_once_and_out_of_order_as_in_order(shop: Shop, tmp_path: Path) -> None:
    shop.traffic(range(LEARNED), lambda _: 0.87)
    for bucket in (LEARNED + 2, LEARNED, LEARNED + 1):  # the newest first
        shop.traffic([bucket], lambda _: 0.87)
    again = [
        NewScore(
            evaluator="task_success", evaluator_kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION,
            session_id=f"s{n}", value=0.0, at_ns=BEGIN + (LEARNED + 1) * STEP,
        )
        for n in range(shop.n - 11, shop.n + 1)
    ]  # fmt: skip
    for _ in range(3):  # the same sessions said again and again, as retries do
        ids = [f"again{n}" for n in range(len(again))]
        append_scores(shop.store, again, ids=ids, author="test", now_ns=shop.hands())
    shop.at(LEARNED + 3)
    shop.watch(band={"kind": "static", "low": 0.3}, for_points=1)
    definition = Definition.from_json(shop.control.monitor(ACME, "resolution").definition)
    window = Window(start_ns=BEGIN + LEARNED * STEP, end_ns=BEGIN + (LEARNED + 3) * STEP)
    (chart,) = backtest(shop.store, definition, window).as_json()["charts"]
    assert chart["n"] == [12, 12, 12]


def test_a_span_that_was_sent_twice_is_one_turn(shop: Shop) -> None:
    at = BEGIN + 3 * STEP
    one = row(app="shop", release="v1", session_id="s1", trace_id=1, span_id=1, start_ns=at, kind="AGENT")
    fill(shop.lake, [one])
    shop.at(5)
    shop.watch(name="traffic", series="turns", band={"kind": "static", "high": 5}, for_points=1)
    shop.look()
    assert (newest(shop, "traffic")["value"], newest(shop, "traffic")["n"]) == (1.0, 1.0)


def test_a_backtest_over_the_change_of_clocks_has_every_bucket_once(shop: Shop) -> None:
    change = 1_792_893_600 * NS_PER_S  # 25 October 2026, 02:00 UTC: an hour after Berlin's clocks went back
    definition = Definition.from_json(
        {"app": "shop", "series": "resolution", "band": {**BAND, "season": True, "tz": "Europe/Berlin"}}
    )
    window = Window(start_ns=change - 36 * STEP, end_ns=change + 36 * STEP)
    first = (window.start_ns - BEGIN) // STEP
    shop.traffic(range(first - 1200, first + 72), lambda _: 0.87, per=2)
    (chart,) = backtest(shop.store, definition, window).as_json()["charts"]
    assert chart["at_ns"] == [window.start_ns // STEP * STEP + n * STEP for n in range(72)]
    assert chart["n"] == [2.0] * 72
    assert "missing" not in chart["verdict"]
