"""The page Planner in a browser, over a real server: nothing is stored, so an empty one will do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from core.records import Role
from tests.dashboard.alone import running_dashboard
from tests.dashboard.plots import of_plot
from tests.dashboard.test_pages import metric
from tests.dashboard.visiting import Visits
from tests.server.shell import AIRLINE, Shell, running_shell, served

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True, kw_only=True)
class Planning:
    """The dashboard's address, and the server behind it."""

    shell: Shell
    url: str


@pytest.fixture(scope="module")
def planning(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planning]:
    folder = tmp_path_factory.mktemp("planner-page")
    with (
        running_shell(folder, trusted_hosts=("*",)) as shell,
        served(shell.services) as api,
        running_dashboard(api, shell.keys[AIRLINE, Role.VIEWER], folder / "dashboard.log") as url,
    ):
        yield Planning(shell=shell, url=url)


@pytest.fixture
def page(visits: Visits, planning: Planning, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh visit. Afterwards: no error on the console, no request to any other host."""
    with visits.page(planning.url, height=1200, picture=request.node.name) as opened:
        yield opened


def test_the_answer_is_the_apis_and_the_curve_passes_through_what_was_asked(page: Page, planning: Planning) -> None:
    page.goto(f"{planning.url}/planner?sessions=2.3")
    asked = {"baseline": 0.86, "mde": 0.03, "users_per_day": 800, "sessions_per_user": 2.3, "icc": 0.2}
    told = planning.shell.client.post("/api/v1/experiments/plan", json=asked, headers=planning.shell.headers()).json()
    expect(metric(page, "Users in all")).to_have_text(f"{told['units']:,}")
    expect(metric(page, "Days")).to_have_text(str(told["days"]))
    plot = page.locator(".st-key-assay-chart-planner-curve .js-plotly-plot")
    expect(plot).to_be_visible()
    assert of_plot(plot, "plot => [plot.data[1].x[0], plot.data[1].y[0]]") == [3, 80]
    curve = of_plot(plot, "plot => plot.data[0].x.map((x, at) => [x, plot.data[0].y[at]])")
    assert [100 * one["power"] for one in told["curve"]] == pytest.approx([y for _, y in curve])
    near = min(curve, key=lambda point: abs(point[0] - 3))
    assert near[1] == pytest.approx(80, abs=2)
    expect(page.get_by_text("2.3 sessions a user")).to_be_visible()
    expect(page.get_by_text(f"--horizon {told['units']} --users 800/day")).to_be_visible()


def test_another_effect_changes_the_answer_and_the_address(page: Page, planning: Planning) -> None:
    page.goto(f"{planning.url}/planner")
    before = metric(page, "Users in all")
    expect(before).to_have_text(re.compile(r"^[0-9,]+$"))
    n_before = int(before.inner_text().replace(",", ""))
    field = page.get_by_label("Effect to find, points")
    field.fill("6")
    field.press("Enter")
    expect(page).to_have_url(re.compile("mde=6"))
    expect(before).not_to_have_text(f"{n_before:,}")
    assert int(before.inner_text().replace(",", "")) < n_before / 3


def test_a_mean_needs_its_spread(page: Page, planning: Planning) -> None:
    page.goto(f"{planning.url}/planner?kind=a+mean&mean=0.03&effect=0.002&sd=0.02")
    told = planning.shell.client.post(
        "/api/v1/experiments/plan",
        json={"kind": "mean", "baseline": 0.03, "mde": 0.002, "sd": 0.02, "users_per_day": 800},
        headers=planning.shell.headers(),
    ).json()
    expect(metric(page, "Users in all")).to_have_text(f"{told['units']:,}")


def test_what_cannot_be_is_said_in_the_servers_words(page: Page, planning: Planning) -> None:
    page.goto(f"{planning.url}/planner?mde=20")
    refused = page.locator(".st-key-assay-planner-refused")
    expect(refused).to_contain_text("a rate of 0.86 that moves by 0.2: both rates lie between 0 and 1")


def test_narrow_screens_do_not_overflow(page: Page, planning: Planning) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(f"{planning.url}/planner")
    expect(page.get_by_test_id("stPlotlyChart").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
