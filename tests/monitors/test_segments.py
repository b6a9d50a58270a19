"""A series by what sessions have in common: an attribute of the spans of their first turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import monitors.service_series as service_series
from core.errors import InvalidInput
from core.windows import Window
from monitors.definition import Definition
from monitors.service_series import Wanted, rows_of
from tests.monitors.watching import ACME, BEGIN, STEP, Shop, open_shop

LEARNED = 40


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path) as made:
        yield made


def rates(shop: Shop, by: str, series: str = "resolution") -> dict[str, tuple[float, float]]:
    """By series the mean and the number of observations of the first buckets."""
    definition = Definition.from_json({"app": "shop", "series": series, "by": by})
    window = Window(start_ns=BEGIN, end_ns=BEGIN + LEARNED * STEP)
    wanted = Wanted(name="m", app="shop", spec=definition.spec, step_s=300, by=by, window=window)
    found: dict[str, list[tuple[float, float]]] = {}
    for one in rows_of(shop.store, [wanted])["m"]:
        found.setdefault(one.key, []).append((one.x, one.n))
    return {
        key: (sum(x * n for x, n in some) / sum(n for _, n in some), sum(n for _, n in some))
        for key, some in found.items()
    }  # fmt: skip


def test_sessions_are_told_apart_by_what_their_spans_say(shop: Shop) -> None:
    shop.traffic(range(10), lambda _: 1.0, per=3, attributes={"country": "DE", "assay.channel": "web"})
    shop.traffic(range(10), lambda _: 0.0, per=2, attributes={"assay.country": "FR"})
    shop.traffic(range(10), lambda _: 0.0, per=1)
    assert rates(shop, "attribute:country") == {
        "resolution{attribute:country=DE}": (1.0, 30.0),
        "resolution{attribute:country=FR}": (0.0, 20.0),
        "resolution{attribute:country=(none)}": (0.0, 10.0),
    }
    assert rates(shop, "attribute:channel")["resolution{attribute:channel=web}"] == (1.0, 30.0)
    assert rates(shop, "attribute:country", "turns")["turns{attribute:country=DE}"] == (1.0, 30.0)


def test_tool_calls_belong_to_the_segment_of_their_session(shop: Shop) -> None:
    shop.traffic(range(4), lambda _: 1.0, per=2, attributes={"country": "DE"})
    shop.traffic(range(4), lambda _: 1.0, per=1, kind="TOOL", tool_name="search", attributes={"country": "FR"})
    assert rates(shop, "attribute:country", "tool_errors") == {"tool_errors{attribute:country=FR}": (0.0, 4.0)}


def test_one_country_that_fails_is_paged_for_while_the_whole_hides_it(shop: Shop) -> None:
    shop.traffic(range(LEARNED), lambda _: 0.95, per=20, attributes={"country": "DE"})
    shop.traffic(range(LEARNED), lambda _: 0.95, per=6, attributes={"country": "FR"})
    shop.at(LEARNED)
    shop.watch(name="countries", by="attribute:country", band={"kind": "static", "low": 0.5})
    shop.watch(name="whole", band={"kind": "static", "low": 0.5})
    shop.look()
    shop.traffic(range(LEARNED, LEARNED + 3), lambda _: 0.95, per=20, attributes={"country": "DE"})
    shop.traffic(range(LEARNED, LEARNED + 3), lambda _: 0.0, per=6, attributes={"country": "FR"})
    shop.at(LEARNED + 3)
    shop.look()
    assert [(one.monitor, one.series) for one in shop.control.alerts(ACME)] == [
        ("countries", "resolution{attribute:country=FR}")
    ]


def test_of_very_many_groups_the_largest_are_watched(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_series, "MOST_OF_ATTRIBUTE", 2)
    for country, per in (("DE", 3), ("FR", 2), ("IT", 1), ("ES", 2)):
        shop.traffic(range(2), lambda _: 1.0, per=per, attributes={"country": country})
    assert set(rates(shop, "attribute:country")) == {
        "resolution{attribute:country=DE}", "resolution{attribute:country=ES}",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("series", "by"),
    [("p95_latency", "attribute:country"), ("resolution", "attribute:"), ("resolution", "attribute:user.id"),
     ("resolution", "country"), ("traffic", "environment"), ("cluster:C-0001", "release")],
)  # fmt: skip
def test_what_cannot_be_split_is_refused(series: str, by: str) -> None:
    told: dict[str, Any] = {"app": "shop", "series": series, "by": by}
    with pytest.raises(InvalidInput) as refused:
        Definition.from_json(told)
    assert refused.value.field == "by"
