"""What a monitor would have done: every alert of the time, not only the newest."""

from __future__ import annotations

from pathlib import Path

from core.windows import Window
from monitors.definition import Definition
from monitors.service_backtest import backtest
from tests.monitors.watching import BAND, BEGIN, STEP, open_shop


def test_alerts_that_were_over_long_before_the_end_are_told_with_their_ends(tmp_path: Path) -> None:
    falls = [*range(100, 106), *range(200, 206), *range(297, 300)]
    with open_shop(tmp_path / "shop") as shop:
        shop.at(300)
        shop.traffic(range(300), lambda bucket: 0.05 if bucket in falls else 0.9)
        definition = Definition.from_json({"app": "shop", "series": "resolution", "band": BAND, "direction": "down"})
        window = Window(start_ns=BEGIN + 50 * STEP, end_ns=BEGIN + 300 * STEP)
        told = backtest(shop.store, definition, window).as_json()
    fired = [(one["from_ns"] - BEGIN) // STEP for one in told["alerts"]]
    assert fired == [101, 201, 298]  # the second breach in a row
    ends = [one["until_ns"] for one in told["alerts"]]
    assert ends[2] is None
    assert all(one is not None and 106 <= (one - BEGIN) // STEP - 100 * at <= 115 for at, one in enumerate(ends[:2]))
    assert told["alerts_per_week"] > 3
    assert all(one["severity"] == "page" and "below" in one["text"] for one in told["alerts"])
