"""The page Gates in a browser, over a real server with runs in its databases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from core.records import Role
from tests.dashboard.alone import running_dashboard
from tests.dashboard.plots import of_plot
from tests.dashboard.test_hostile_pages import harmless, settled
from tests.dashboard.test_pages import metric
from tests.dashboard.visiting import Visits
from tests.server.gate_runs import keep
from tests.server.shell import AIRLINE, Shell, running_shell, served
from tests.server.test_gates import POLICY, named

pytestmark = pytest.mark.timeout(600)
ATTACK = '<img src=x onerror="document.title=1">**b** [x](javascript:alert(1)) \u202egnp'


@dataclass(frozen=True, kw_only=True)
class Gated:
    """The dashboard's address and what gates decided, by what they said."""

    url: str
    decisions: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def gated(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    folder = tmp_path_factory.mktemp("gates-page")
    with running_shell(folder, trusted_hosts=("*",)) as shell, served(shell.services) as api:
        decisions = _decisions(shell)
        with running_dashboard(api, shell.keys[AIRLINE, Role.VIEWER], folder / "dashboard.log") as url:
            yield Gated(url=url, decisions=decisions)


def _decisions(shell: Shell) -> dict[str, dict[str, Any]]:
    hostile = named("v9", better=0.08)
    named_so = hostile.rows.with_columns(stratum=hostile.rows["stratum"].replace({"refund": ATTACK}))
    runs = [named("v1"), named("v2", better=0.08), named("v3", better=-0.45)]
    for made in [*runs, replace(hostile, rows=named_so, release=ATTACK)]:
        keep(shell.services, AIRLINE, made)
    asked = {"pass": "v2", "fail": "v3", "inconclusive": "v7", "hostile": ATTACK}
    found = {}
    for word, candidate in asked.items():
        body = {"candidate": candidate, "baseline": "v1", "policy": POLICY}
        answer = shell.client.post("/api/v1/gates/desk/decide", json=body, headers=shell.headers(Role.USER))
        assert answer.status_code == 200, answer.text
        found[word] = answer.json()
    return found


@pytest.fixture
def page(visits: Visits, gated: Gated, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh visit. Afterwards: no error on the console, no request to any other host."""
    with visits.page(gated.url, height=2200, picture=request.node.name) as opened:
        yield opened


def test_the_newest_decision_is_shown_and_a_click_shows_another(page: Page, gated: Gated) -> None:
    page.goto(f"{gated.url}/gates")
    expect(metric(page, "Pass")).to_have_text("1")
    expect(metric(page, "Fail")).to_have_text("1")
    expect(metric(page, "Inconclusive")).to_have_text("2")
    listed = page.locator(".st-key-gates-list canvas td")
    expect(listed.filter(has_text="v3").first).to_be_attached()
    canvas = page.locator(".st-key-gates-list canvas").first
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 300, box["y"] + 36 + 38 * 2 + 19)  # third from the top: the one that failed
    expect(page).to_have_url(re.compile(f"gate={gated.decisions['fail']['gate_id']}"))
    expect(page.locator(".st-key-assay-gate-decision")).to_contain_text("v3 in place of v1")


def test_a_failed_gate_shows_harm_intervals_and_regressions(page: Page, gated: Gated) -> None:
    told = gated.decisions["fail"]
    page.goto(f"{gated.url}/gates?gate={told['gate_id']}")
    expect(page.locator(".st-key-assay-gate-decision")).to_contain_text("fail")
    expect(page.locator(".st-key-assay-gate-why")).to_contain_text("answer_match is worse:")
    first = page.locator(".st-key-assay-chart-gate-metric-0")
    expect(first.locator(".ytick text").first).to_be_attached()
    names = [name.strip() for name in first.locator(".ytick text").all_text_contents()]
    assert set(names) == {"all examples", "refund", "booking"}
    shapes = of_plot(first.locator(".js-plotly-plot"), "plot => plot._fullLayout.shapes.map(s => s.x0)")
    assert shapes == [0, -0.1]
    cells = page.locator(".st-key-assay-grid-gate-metrics canvas td")
    expect(cells.filter(has_text=re.compile("^worse$")).first).to_be_attached()
    worst = page.locator(".st-key-gate-worst canvas td")
    expect(worst.filter(has_text=told["worst"][0]["example_id"]).first).to_be_attached()
    expect(page.get_by_text("assay gate verify gate.json")).to_be_visible()
    canvas = page.locator(".st-key-gate-worst canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 100, box["y"] + 36 + 18)
    expect(page).to_have_url(re.compile(r"/trace_diff\?a=run_v1\.ex_.*b=run_v3\.ex_"))


def test_a_pass_says_where_nothing_was_gained(page: Page, gated: Gated) -> None:
    page.goto(f"{gated.url}/gates?gate={gated.decisions['pass']['gate_id']}")
    expect(page.locator(".st-key-assay-gate-decision")).to_contain_text("pass")
    expect(page.locator(".st-key-assay-gate-notes")).to_contain_text("tool_f1")
    assert page.locator(".st-key-assay-gate-why").count() == 0
    page.get_by_role("button", name="Compare the runs").click()
    expect(page).to_have_url(re.compile(r"/comparison\?a=run_v1&b=run_v2"))


def test_an_inconclusive_one_says_what_is_missing_and_what_would_settle_it(page: Page, gated: Gated) -> None:
    page.goto(f"{gated.url}/gates?gate={gated.decisions['inconclusive']['gate_id']}")
    expect(page.locator(".st-key-assay-gate-why")).to_contain_text("the candidate 'v7' has no run")
    expect(page.locator(".st-key-assay-gate-settle")).to_contain_text("a finished run of each release")


def test_names_from_traces_stay_text(page: Page, gated: Gated) -> None:
    page.goto(f"{gated.url}/gates?gate={gated.decisions['hostile']['gate_id']}")
    expect(page.locator(".st-key-assay-gate-decision")).to_contain_text("<img src=x")
    expect(page.locator(".st-key-assay-chart-gate-metric-0 .ytick text").first).to_be_attached()
    settled(page)
    harmless(page)


def test_narrow_screens_do_not_overflow(page: Page, gated: Gated) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(f"{gated.url}/gates?gate={gated.decisions['fail']['gate_id']}")
    expect(page.get_by_test_id("stPlotlyChart").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_an_unknown_decision_is_said(page: Page, gated: Gated) -> None:
    page.goto(f"{gated.url}/gates?gate=gate_nothing")
    expect(page.get_by_text("there is no decision")).to_be_visible()
