"""What a chart drew, asked of the browser."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator

from tests.waiting import wait_until


def of_plot(plot: Locator, script: str) -> Any:
    """What `script`, a function of the plot, answers once the plot is drawn.

    Between two runs of a page Streamlit may put another plot in a plot's place. The one that goes is emptied first, and
    is asked again then: by its place, which the next one has.
    """
    found: list[Any] = []

    def asked() -> bool:
        answer = plot.evaluate(f"plot => plot.data && plot._fullLayout ? [({script})(plot)] : null")
        found[:] = answer or []
        return bool(answer)

    wait_until(asked, 30.0, "a plot to be drawn")
    return found[0]
