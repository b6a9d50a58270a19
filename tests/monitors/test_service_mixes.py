"""A diagnosis of an app whose model calls name the model that answered, over the real lake and control database."""

from __future__ import annotations

from pathlib import Path

from tests.monitors.watching import ACME, BEGIN, STEP, open_shop
from tests.store.build import fill, row

LEARNED = 100  # buckets of history


def test_an_incident_is_diagnosed_where_another_model_answers(tmp_path: Path) -> None:
    with open_shop(tmp_path) as shop:
        shop.traffic(range(LEARNED + 6), lambda at: 0.87 if at < LEARNED else 0.3)
        calls = [
            row(
                trace_id=10_000 + number, span_id=10_000 + number, app="shop", release="v1", kind="LLM", ms=500,
                session_id=f"s{number}", start_ns=BEGIN + bucket * STEP + place * (STEP // 13), usage_counted=True,
                model_request="big", model_response="big" if bucket < LEARNED or place % 2 else "small",
            )
            for bucket in range(LEARNED + 6)
            for place, number in enumerate(range(bucket * 12 + 1, bucket * 12 + 13))
        ]  # fmt: skip
        fill(shop.lake, calls)
        shop.at(LEARNED)
        shop.watch()
        shop.look()
        shop.at(LEARNED + 6)
        shop.look()
        (incident,) = shop.control.incidents(ACME)
        assert incident.diagnosis is not None
        moved = {one["sign"]: one for one in incident.diagnosis["moved"]}
        assert moved["model"]["move"] == "up"
        assert "small" in moved["model"]["change"]["said"]
