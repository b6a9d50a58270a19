"""The page Jobs in a browser, over a real server with jobs of every state in its control database."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from server.scheduler import Scheduler
from server.works import Done, Schedule, Work
from store.control.monitor_records import JobState
from tests.dashboard.plots import of_plot
from tests.dashboard.scheduled import AWAY, N_RUNS, Scheduled, scheduled_dashboard
from tests.dashboard.test_hostile_pages import harmless, settled
from tests.dashboard.test_judges_page import cells
from tests.dashboard.test_pages import metric
from tests.dashboard.visiting import Visits
from tests.server.shell import AIRLINE, SHOP
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def scheduled(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scheduled]:
    with scheduled_dashboard(tmp_path_factory.mktemp("jobs-page")) as made:
        yield made


@pytest.fixture
def page(visits: Visits, scheduled: Scheduled, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh visit. Afterwards: no error on the console, no request to any other host."""
    with visits.page(scheduled.url, scheduled.viewer_url, height=1500, picture=request.node.name) as opened:
        yield opened


def test_what_fails_stands_first_with_its_error_and_all_jobs_below(page: Page, scheduled: Scheduled) -> None:
    page.goto(f"{scheduled.url}/jobs")
    for name, n in (("Jobs", 7), ("Dead", 1), ("Failing", 2), ("Running", 1), ("Asked for, not over", 2)):
        expect(metric(page, name)).to_have_text(str(n))
    first = page.locator(".st-key-assay-job-card-0")
    expect(first).to_contain_text("Dead")
    expect(first).to_contain_text("the rubric cannot be read")
    expect(first).to_contain_text("It failed 8 times in a row, and is tried every 15 minutes only.")
    expect(page.locator(".st-key-assay-job-card-1")).to_contain_text(AWAY)
    for text in (
        "Monitors",
        "every day at 03:00 UTC",
        "6 monitors, 14 series",
        "Retrying",
        "Succeeded",
        "2 runs begun",
    ):
        cells(page, "jobs-list-0", text)
    cells(page, "assay-grid-jobs-asked", "desk")
    harmless(page)


def test_a_click_opens_a_job_with_what_its_runs_took(page: Page, scheduled: Scheduled) -> None:
    page.goto(f"{scheduled.url}/jobs")
    names = ["judges", "clusters", "certificates", "replies", "clusters-nightly", "monitors", "online"]
    box = page.locator(".st-key-jobs-list-0 canvas").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 60, box["y"] + 38 + 42 * names.index("online") + 21)
    expect(page).to_have_url(re.compile("job=online"))
    expect(page.locator(".st-key-assay-job-head")).to_contain_text("Online evaluation")
    expect(page.locator(".st-key-assay-facts-job")).to_contain_text("every 10 s")
    plot = page.locator(".st-key-assay-chart-job-runs .js-plotly-plot")
    expect(plot).to_be_visible()
    assert of_plot(plot, "plot => plot.data.map(bars => [bars.name, bars.x.length])") == [
        ["succeeded", N_RUNS - 1], ["failed", 1],
    ]  # fmt: skip
    cells(page, "assay-grid-job-runs", "succeeded")


def test_a_dead_job_is_replayed_and_the_page_sees_it_done(page: Page, scheduled: Scheduled) -> None:
    page.goto(f"{scheduled.url}/jobs")
    page.locator(".st-key-job-card-0-replay button").click()
    wait_until(lambda: scheduled.job("judges").state is JobState.QUEUED, 60, "the replay to be asked for")
    expect(metric(page, "Dead")).to_have_text("0")
    schedule, done = Schedule(every_s=10.0), Done(told={"n_sessions": 3})
    work = Work(name="judges", schedule=schedule, tenants=lambda: {AIRLINE}, run=lambda *_: done)
    assert Scheduler(scheduled.shell.services, [work], "test").round("judges") == 1
    page.goto(f"{scheduled.url}/jobs?job=judges")
    expect(page.locator(".st-key-assay-job-head")).to_contain_text("Succeeded")
    expect(page.locator(".st-key-assay-facts-job")).to_contain_text("3 sessions")
    page.locator(".st-key-job-run button").click()
    expect(page.locator(".st-key-assay-job-head")).to_contain_text("Queued")
    assert scheduled.job("judges").state is JobState.QUEUED


def test_errors_are_text_and_nothing_else(page: Page, scheduled: Scheduled) -> None:
    page.goto(f"{scheduled.url}/jobs?job=judges")
    settled(page)
    cells(page, "assay-grid-job-runs", "onerror")
    harmless(page)


def test_a_viewer_sees_where_jobs_come_from_and_is_given_the_command(page: Page, scheduled: Scheduled) -> None:
    control = scheduled.shell.services.control
    page.goto(f"{scheduled.viewer_url}/jobs")
    expect(page.locator(".st-key-assay-empty-jobs")).to_contain_text("assay eval online set APP")
    page.goto(f"{scheduled.viewer_url}/jobs?job=online")
    expect(page.locator(".st-key-assay-failure")).to_contain_text("Nothing is stored under this id")
    assert control.take_job(SHOP, "clusters", "test", schedule="every 20 s") is not None
    control.end_job(SHOP, "clusters", "test", next_ns=0, error=AWAY)
    page.goto(f"{scheduled.viewer_url}/jobs?job=clusters")
    expect(page.locator(".st-key-assay-loud-job")).to_contain_text(AWAY)
    expect(page.locator(".st-key-job-replay")).to_have_count(0)
    page.locator(".st-key-job-command button").click()
    expect(page.get_by_text("assay jobs replay clusters")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 1600])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("where", ["jobs", "jobs?job=online"])
def test_the_page_keeps_within_its_width(
    visits: Visits, scheduled: Scheduled, where: str, dark: bool, width: int
) -> None:
    with visits.page(scheduled.url, width=width, height=1300, dark=dark) as page:
        page.goto(f"{scheduled.url}/{where}")
        settled(page)
        wide = page.evaluate("document.documentElement.scrollWidth")
        if folder := os.environ.get("ASSAY_SCREENSHOTS"):
            name = f"{'job' if '?' in where else 'jobs'}-{width}-{'dark' if dark else 'light'}.png"
            page.screenshot(path=str(Path(folder) / name), full_page=True)
        assert wide <= width
