"""The page Rollouts in a browser, over a real server with rollouts of every kind in its databases."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboard.parts.metric_words import e_value
from tests.dashboard.plots import of_plot
from tests.dashboard.rolled_out import DESK, RolledOut, rolled_out_dashboard
from tests.dashboard.test_hostile_pages import harmless, settled
from tests.dashboard.test_judges_page import cells
from tests.dashboard.test_pages import metric
from tests.dashboard.visiting import Visits
from tests.experiments.rollouts.shop import APP

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def rolled(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RolledOut]:
    with rolled_out_dashboard(tmp_path_factory.mktemp("rollouts-page")) as made:
        yield made


@pytest.fixture
def page(visits: Visits, rolled: RolledOut, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh visit. Afterwards: no error on the console, no request to any other host."""
    with visits.page(rolled.url, rolled.viewer_url, height=2200, picture=request.node.name) as opened:
        yield opened


def test_the_list_says_how_each_stands_and_a_click_opens_one(page: Page, rolled: RolledOut) -> None:
    page.goto(f"{rolled.url}/rollouts")
    for name in ("Running", "Promoted", "Rolled back", "Waiting"):
        expect(metric(page, name)).to_have_text("1")
    for text in ("Rolled back", "Promoted", "v3", "d2"):
        cells(page, "rollouts-list", text)
    listed = rolled.shell.client.get("/api/v1/rollouts", headers=rolled.headers()).json()["items"]
    row = next(at for at, one in enumerate(listed) if one["status"] == "rolled_back")
    box = page.locator(".st-key-rollouts-list canvas").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 60, box["y"] + 38 + 38 * row + 19)
    expect(page).to_have_url(re.compile(f"app={APP}&id={rolled.ids['rolled_back']}"))
    expect(page.locator(".st-key-assay-rollout-status")).to_contain_text("Rolled back")


def test_a_rollback_shows_why_with_both_numbers_and_its_e_value_past_the_boundary(
    page: Page, rolled: RolledOut
) -> None:
    told = rolled.told(APP, rolled.ids["rolled_back"])
    page.goto(f"{rolled.url}/rollouts?app={APP}&id={told['id']}")
    expect(page.locator(".st-key-assay-verdict-rollout")).to_contain_text("Rolled back")
    expect(page.locator(".st-key-assay-rollout-status")).to_contain_text(told["reasons"][0])
    plot = page.locator(".st-key-assay-chart-rollout-log10_e_harm .js-plotly-plot")
    expect(plot).to_be_visible()
    drawn = of_plot(plot, "plot => plot.data.map(line => [line.name, Math.max(...line.y)])")
    harmed = [one for one in told["guardrails"] if one["finding"] == "harm"]
    assert harmed
    highest = dict(drawn)
    boundaries = of_plot(plot, "plot => plot._fullLayout.shapes.filter(s => s.xref === 'paper').map(s => s.y0)")
    for one in harmed:
        assert highest[one["name"]] >= min(boundaries)
        cells(page, "assay-grid-rollout-guardrails", one["name"])
    cells(page, "assay-grid-rollout-guardrails", "harm")
    for one in harmed:  # past its boundary, 1 / (.35 x .05)
        assert one["e_harm"] >= one["boundary"]
        said = f"{e_value(math.log10(one['e_harm']))} / {one['boundary']:.0f}"
        cells(page, "assay-grid-rollout-guardrails", re.compile(f"^{re.escape(said)}$"))
    symbols = of_plot(plot, "plot => plot.data.map(line => [line.name, line.marker.symbol])")
    assert {name for name, seen in symbols if "star" in seen} == {one["name"] for one in harmed}
    expect(page.locator('[class*="st-key-assay-step-left"]')).to_have_count(1)
    assert page.get_by_role("button", name="Abort").count() == 0


def test_the_timeline_says_who_and_why_and_certificates_are_computed_again(page: Page, rolled: RolledOut) -> None:
    told = rolled.told(APP, rolled.ids["rolled_back"])
    page.goto(f"{rolled.url}/rollouts?app={APP}&id={told['id']}")
    timeline = page.locator(".st-key-assay-timeline")
    expect(timeline).to_contain_text("by ann")
    expect(timeline).to_contain_text(told["timeline"][-1]["text"][:80])
    page.get_by_role("button", name="Verify the certificates").click()
    expect(page.locator(".st-key-assay-rollout-verify")).to_contain_text("every figure and every decision is the same")
    timeline.get_by_role("button", name="Certificate").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("policy_hash")
    expect(dialog.locator(".st-key-assay-facts-certificate")).to_contain_text("roll back")
    expect(dialog).to_contain_text(told["reasons"][0])
    expect(dialog).to_contain_text("assay rollouts verify certificate.json")


def test_one_under_way_shows_its_steps_and_is_paused_and_resumed_after_a_question(
    page: Page, rolled: RolledOut
) -> None:
    page.goto(f"{rolled.url}/rollouts?app={APP}")
    expect(page.locator(".st-key-assay-verdict-rollout")).to_contain_text("Running")
    expect(page.locator('[class*="st-key-assay-step-here"]')).to_have_count(1)
    page.get_by_role("button", name="Pause").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Pause the rollout of v4 over v2 in shop.")
    assert rolled.told(APP)["status"] == "running"
    dialog.get_by_label("Why (kept in its timeline)").fill("waiting for the weekend <b>x</b>")
    dialog.get_by_label("Why (kept in its timeline)").press("Enter")
    dialog.get_by_role("button", name="Pause").click()
    expect(page.locator(".st-key-assay-verdict-rollout")).to_contain_text("Paused")
    expect(page.locator(".st-key-assay-timeline")).to_contain_text("waiting for the weekend <b>x</b>")
    assert rolled.told(APP)["status"] == "paused"
    expect(page.get_by_role("dialog")).to_have_count(0)
    settled(page)  # who presses while the page is drawn anew may see the question taken away with it
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(page.locator(".st-key-assay-verdict-rollout")).to_contain_text("Running")


def test_what_happens_elsewhere_comes_onto_an_open_page(page: Page, rolled: RolledOut) -> None:
    page.goto(f"{rolled.url}/rollouts?app={APP}")
    expect(page.locator(".st-key-assay-verdict-rollout")).to_contain_text("Running")
    act = f"/api/v1/rollouts/{APP}"
    rolled.shell.client.post(f"{act}/pause", json={}, headers=rolled.headers()).raise_for_status()
    expect(page.locator(".st-key-assay-verdict-rollout")).to_contain_text("Paused")
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    rolled.shell.client.post(f"{act}/resume", json={}, headers=rolled.headers()).raise_for_status()


def test_an_open_list_follows_what_happens(page: Page, rolled: RolledOut) -> None:
    page.goto(f"{rolled.url}/rollouts")
    cells(page, "rollouts-list", "Running")
    act = f"/api/v1/rollouts/{APP}"
    rolled.shell.client.post(f"{act}/pause", json={}, headers=rolled.headers()).raise_for_status()
    cells(page, "rollouts-list", "Paused")
    expect(metric(page, "Paused")).to_have_text("1")
    rolled.shell.client.post(f"{act}/resume", json={}, headers=rolled.headers()).raise_for_status()


def test_a_rollout_leads_to_the_traces_of_its_candidate(page: Page, rolled: RolledOut) -> None:
    page.goto(f"{rolled.url}/rollouts?app={APP}&id={rolled.ids['rolled_back']}")
    page.get_by_role("button", name="Traces of v3").click()
    expect(page).to_have_url(re.compile(f"/traces.*app={APP}&release=v3&since=[0-9]+d"))
    expect(page.locator('[class*="st-key-traces-grid"] canvas td').filter(has_text="v3").first).to_be_attached()


def test_one_that_waits_says_for_what_and_notes_of_checks_stay_text(page: Page, rolled: RolledOut) -> None:
    page.goto(f"{rolled.url}/rollouts?app={DESK}")
    expect(page.locator(".st-key-assay-verdict-rollout")).to_contain_text("Waiting")
    checks = page.locator(".st-key-assay-rollout-checks")
    expect(checks).to_contain_text("<img src=x")
    expect(checks.locator(".st-key-assay-required-0")).to_contain_text("there")
    for name in ("approval", "1"):
        expect(checks.locator(f".st-key-assay-required-{name}")).to_contain_text("missing")
    expect(page.locator(".st-key-assay-chart-none-evidence")).to_contain_text("No matured unit")
    page.get_by_role("button", name="Approve").click()  # of role admin: a power user reads the command
    expect(page.get_by_test_id("stPopoverBody")).to_contain_text(f"assay rollouts approve {DESK}")
    settled(page)
    harmless(page)


def test_a_viewer_reads_the_commands_instead_of_pressing(page: Page, rolled: RolledOut) -> None:
    page.goto(f"{rolled.viewer_url}/rollouts?app={APP}")
    expect(page.locator(".st-key-assay-verdict-rollout")).to_contain_text(re.compile("Running|Paused"))
    page.get_by_role("button", name=re.compile("or abort$")).click()
    expect(page.get_by_test_id("stPopoverBody")).to_contain_text(f"assay rollouts abort {APP}")
    expect(page.get_by_test_id("stPopoverBody")).to_contain_text("role power_user")


def test_narrow_screens_do_not_overflow(page: Page, rolled: RolledOut) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(f"{rolled.url}/rollouts?app={APP}&id={rolled.ids['promoted']}")
    expect(page.get_by_test_id("stPlotlyChart").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_an_app_without_a_rollout_is_said(page: Page, rolled: RolledOut) -> None:
    page.goto(f"{rolled.url}/rollouts?app=nobody")
    expect(page.get_by_text("this app has no rollout; begin one: assay deploy nobody RELEASE")).to_be_visible()


def test_abort_gives_the_baseline_all_sessions(page: Page, rolled: RolledOut) -> None:
    page.goto(f"{rolled.url}/rollouts?app={APP}")
    page.get_by_role("button", name="Abort").click()
    page.get_by_role("dialog").get_by_role("button", name="Abort").click()
    expect(page.locator(".st-key-assay-verdict-rollout")).to_contain_text("Aborted")
    (plan,) = [one for one in rolled.shell.services.control.live_plans() if one.plan.spec.app == APP]
    assert plan.plan.spec.weights == {"v2": 1.0, "v4": 0.0}
