"""The distribution of single values: what moves while the mean stands still, with the false alarms asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.windows import Window
from monitors.definition import Definition
from monitors.grids import Row
from monitors.sampling import Held, Samples, sample_rows
from monitors.service_backtest import backtest
from monitors.service_monitors import definition_of
from store import monitor_samples
from store.embeddings import packed, write_embeddings
from tests.monitors.watching import ACME, BEGIN, STEP, Shop, open_shop

HOUR: Final = 3600 * NS_PER_S
DAY: Final = 24 * HOUR
BAND: Final = {"kind": "distribution", "window_s": 6 * 3600, "reference_s": 86_400}


def samples_of(values: NDArray[Any], every_s: int = 120) -> Samples:
    at_ns = BEGIN + np.arange(len(values), dtype=np.int64) * (every_s * NS_PER_S)
    return Samples(at_ns=at_ns, values=values)


def figures(samples: Samples, days: tuple[int, int], level: float = 1e-4, **band: Any) -> list[Row]:
    window = Window(start_ns=BEGIN + days[0] * DAY, end_ns=BEGIN + days[1] * DAY)
    held = Held.of({**BAND, **band}, vectors=samples.values.ndim == 2)
    return sample_rows("s", samples, window, 3600, held, level)


def test_a_spread_that_widens_around_the_same_mean_is_seen() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(1000, 50, 720 * 3)
    values[-120:] = 1000 + 200 * rng.choice([-1, 1], 120)
    found = figures(samples_of(values), (2, 3))
    assert all(one.x < 4 for one in found[:19])
    assert found[-1].x > 6
    assert found[-1].n == 180


def test_what_does_not_change_passes_the_edge_as_often_as_its_chance() -> None:
    rng = np.random.default_rng(2)
    found = figures(samples_of(rng.lognormal(7, 1, 720 * 62)), (2, 62), least=0.0, window_s=3 * 3600)
    apart = [one.x for one in found[::3]]  # windows that share nothing
    assert len(apart) == 480
    for chance in (0.2, 0.05):
        share = float(np.mean([x > -math.log10(chance) for x in apart]))
        assert share == pytest.approx(chance, abs=4 * math.sqrt(chance / len(apart)))


def test_a_night_is_held_against_nights() -> None:
    rng = np.random.default_rng(3)
    at = np.arange(720 * 6)
    values = rng.normal(1000 + 400 * np.sin(at / 720 * 2 * np.pi), 50)
    by_hours = figures(samples_of(values), (4, 6), reference_s=3 * 86_400)
    by_all = figures(samples_of(values), (4, 6), reference_s=3 * 86_400, hours="all")
    assert max(one.x for one in by_hours) < 4
    assert max(one.x for one in by_all) > 20


def test_what_cannot_be_said_is_no_point() -> None:
    assert figures(samples_of(np.arange(10.0)), (1, 2)) == []  # too few
    assert figures(samples_of(np.full(1440, 3.0)), (1, 2)) == []  # all the same: there is nothing to tell apart
    assert figures(samples_of(np.full(1440, np.nan)), (1, 2)) == []


def test_scores_of_few_kinds_are_compared_by_cells() -> None:
    rng = np.random.default_rng(4)
    values = rng.choice([0.0, 0.5, 1.0], 1440, p=[0.1, 0.8, 0.1])
    values[-90:] = rng.choice([0.0, 0.5, 1.0], 90, p=[0.45, 0.1, 0.45])
    found = figures(samples_of(values), (1, 2))
    assert found[-1].x > 6
    assert found[0].x < 4


def test_embeddings_that_turn_to_another_subject_are_seen_and_told_again_alike() -> None:
    rng = np.random.default_rng(5)
    vectors = rng.normal(0, 1, (720 * 2, 12)).astype(np.float32)
    vectors[-120:, 0] += 2.0
    found = figures(samples_of(vectors), (1, 2), level=1e-3)
    assert [one.x > 3 for one in found[:6]] == [False] * 6
    assert found[-1].x > 3
    assert figures(samples_of(vectors), (1, 2), level=1e-3) == found


@pytest.mark.parametrize(
    ("series", "band", "field"),
    [("p95_latency", {"measure": "energy"}, "band"), ("p95_latency", {"hours": "some"}, "band"),
     ("p95_latency", {"window_s": 7200, "reference_s": 7200}, "band"), ("traffic", {}, "band"),
     ("safety", {}, "band"), ("ttft_p95", {}, "band"), ("mix:release", {"measure": "ks"}, "band"),
     ("embeddings:whole", {"measure": "ks"}, "band"), ("embeddings:mood", {}, "series")],
)  # fmt: skip
def test_what_has_no_distribution_or_no_such_measure_is_refused(series: str, band: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        definition_of({"app": "shop", "series": series, "band": {"kind": "distribution", **band}})
    assert refused.value.field == field


def test_embeddings_take_no_other_band_and_a_distribution_no_lower_side() -> None:
    for told in ({"series": "embeddings:whole", "band": {"kind": "ema"}},
                 {"series": "resolution", "band": BAND, "direction": "down"}):  # fmt: skip
        with pytest.raises(InvalidInput):
            definition_of({"app": "shop", **told})
    made = definition_of({"app": "shop", "series": "resolution", "band": BAND})
    assert (made.direction.value, made.step, made.spec.unit) == ("up", "1h", "-log10 p")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path) as made:
        yield made


HOURS: Final = 12  # buckets of an hour
LEARNED: Final = 36 * HOURS


def test_a_monitor_of_the_shape_of_latency_pages_while_its_mean_is_calm(shop: Shop) -> None:
    rng = np.random.default_rng(6)
    shop.traffic(range(0, LEARNED, 2), lambda _: 0.9, per=1, ms=lambda: float(rng.normal(1000, 30)))
    shop.at(LEARNED)
    shop.watch(name="shape", series="p95_latency", band=BAND, step="1h", for_points=1)
    shop.watch(name="mean", series="input_tokens", band=BAND, step="1h")
    shop.look()
    assert shop.control.alerts(ACME) == []
    after = range(LEARNED, LEARNED + 7 * HOURS, 2)
    shop.traffic(after, lambda _: 0.9, per=1, ms=lambda: float(1000 + rng.choice([-200, 200])))
    shop.at(LEARNED + 8 * HOURS)
    shop.look()
    (alert,) = shop.control.alerts(ACME)
    assert (alert.monitor, alert.series, alert.status) == ("shape", "p95_latency", "firing")
    definition = Definition.from_json(shop.control.monitor(ACME, "shape").definition)
    end = BEGIN + (LEARNED + 7 * HOURS) * STEP
    told = backtest(shop.store, definition, Window(start_ns=end - 12 * HOUR, end_ns=end)).as_json()
    assert [one["series"] for one in told["alerts"]] == ["p95_latency"]
    assert told["alerts"][0]["from_ns"] >= BEGIN + LEARNED * STEP
    assert told["expected_false_alarms_per_week"] == pytest.approx(0.1)


@pytest.mark.parametrize("series", ["resolution", "cost_per_session"])
def test_scores_and_cost_have_distributions_of_their_own_by_release(shop: Shop, series: str) -> None:
    for release, cost in (("v1", "0.01"), ("v2", "0.02")):
        for first, factor in ((0, 1), (4, 3)):
            buckets = range(first, LEARNED, 8)
            more = {"cost_usd": factor * Decimal(cost), "usage_counted": True}
            shop.traffic(buckets, lambda _: 0.5, per=2, release=release, **more)
    definition = definition_of({"app": "shop", "series": series, "by": "release", "band": BAND})
    end = BEGIN + LEARNED * STEP
    told = backtest(shop.store, definition, Window(start_ns=end - 6 * HOUR, end_ns=end)).as_json()
    assert {one["series"] for one in told["charts"]} == {f"{series}{{release=v1}}", f"{series}{{release=v2}}"}
    assert told["n_points"] == 12
    assert told["alerts"] == []


def test_a_monitor_of_embeddings_reads_the_vectors_of_sessions(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    shop.traffic(range(0, LEARNED, 2), lambda _: 0.9, per=1)
    vectors = np.zeros((shop.n, 12), dtype=np.float32)
    vectors[:, :4] = rng.normal(0, 1, (shop.n, 4))
    vectors[-36:, 0] += 4.0  # the last six hours are about something else
    at_ns = [BEGIN + bucket * STEP + STEP // 2 for bucket in range(0, LEARNED, 2)]
    rows = pl.DataFrame(
        {"session_id": [f"s{n + 1}" for n in range(shop.n)], "at_ns": at_ns, "app": ["shop"] * shop.n,
         "embedder": ["e1"] * shop.n, "text_hash": list(range(shop.n))}
    ).with_columns(packed(vectors))  # fmt: skip
    write_embeddings(shop.store, rows, now_ns=shop.hands())
    end = BEGIN + LEARNED * STEP
    everything = Window(start_ns=BEGIN, end_ns=end)
    assert len(monitor_samples.vectors(shop.store, "shop", everything, None).at_ns) == shop.n
    monkeypatch.setattr(monitor_samples, "MOST_VECTORS", shop.n // 2)
    assert 0.3 * shop.n < len(monitor_samples.vectors(shop.store, "shop", everything, None).at_ns) < 0.7 * shop.n
    monkeypatch.undo()
    for facet, n_alerts in (("intent", 1), ("whole", 1), ("actions", 0)):
        definition = definition_of(
            {"app": "shop", "series": f"embeddings:{facet}", "band": BAND, "false_pages_per_week": 2}
        )
        told = backtest(shop.store, definition, Window(start_ns=end - 9 * HOUR, end_ns=end)).as_json()
        assert len(told["alerts"]) == n_alerts, facet
        assert (told["n_points"] > 0) == (facet != "actions")
