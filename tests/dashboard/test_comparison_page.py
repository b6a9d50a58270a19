"""The page Comparison in a browser: two runs over files of outputs, made through the API."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard import hostile
from tests.dashboard.conftest import VISIBLE_S, Shown
from tests.dashboard.plots import of_plot
from tests.dashboard.test_hostile_pages import harmless, settled
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
N = 40


@pytest.fixture(scope="module")
def runs(shown: Shown) -> tuple[str, str]:
    """A baseline that answers all, and a candidate that fails every fourth example and one with a hostile name."""
    names = [hostile.EVERYTHING[:100] if n == 0 else f"question-{n}" for n in range(N)]
    examples = [
        {
            "example_id": name,
            "input": f"Question {n}",
            "expected": {"answer": f"Answer {n}"},
            "metadata": {"stratum": "billing" if n % 2 else "delivery"},
        }
        for n, name in enumerate(names)
    ]
    with shown.stack.client() as client:
        made = client.post("/api/v1/datasets/compared/examples", json={"create": True, "examples": examples})
        assert made.is_success, made.text

        def run(release: str, wrong: int) -> str:
            outputs = [
                {
                    "example_id": name,
                    "output": "I do not know." if wrong and n % wrong == 0 else f"Answer {n}",
                    "latency_ms": 900 + 7 * n + (120 if wrong else 0),
                }
                for n, name in enumerate(names)
            ]
            body = {"dataset": "compared", "app": "shop", "release": release, "source": "file", "outputs": outputs}
            answer = client.post("/api/v1/runs", json=body | {"evaluators": ["answer_match", "answer_f1"]})
            assert answer.is_success, answer.text
            run_id = str(answer.json()["run_id"])
            over = lambda: client.get(f"/api/v1/runs/{run_id}").json()["status"] == "done"  # noqa: E731
            wait_until(over, VISIBLE_S, f"{run_id} to be done")
            return run_id

        return run("v1", 0), run("v2", 4)


def picture(page: Page, name: str) -> None:
    """A picture of the page where ASSAY_PICTURES names a folder, for who wants to look."""
    if folder := os.environ.get("ASSAY_PICTURES"):
        settled(page)
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def cells(page: Page, key: str) -> Any:
    return page.locator(f".st-key-{key} canvas td")


def test_the_page_says_what_got_worse_and_how_sure_that_is(page: Page, shown: Shown, runs: tuple[str, str]) -> None:
    page.goto(shown.url(f"comparison?a={runs[0]}&b={runs[1]}"))
    expect(page.get_by_role("heading", name="Comparison")).to_be_visible()
    verdict = page.locator(".st-key-assay-comparison-verdict")
    expect(verdict).to_contain_text(re.compile(r"3 worse"))
    expect(page.locator(".st-key-assay-table canvas").first).to_be_attached()
    picture(page, "comparison")
    metrics = cells(page, "assay-grid-comparison-metrics")
    expect(metrics.filter(has_text="-25.0 pp").first).to_be_attached()
    expect(metrics.filter(has_text="mcnemar exact").first).to_be_attached()
    dots = page.locator(".st-key-assay-chart-comparison-shares .js-plotly-plot")
    assert of_plot(dots, "plot => plot.data.map(one => one.name)") == ["worse"]
    assert of_plot(dots, "plot => plot.data[0].x.every(x => x < 0)")
    expect(cells(page, "assay-grid-comparison-strata").filter(has_text="delivery").first).to_be_attached()
    harmless(page)


def test_an_example_opens_both_trials_side_by_side(page: Page, shown: Shown, runs: tuple[str, str]) -> None:
    page.goto(shown.url(f"comparison?a={runs[0]}&b={runs[1]}"))
    expect(page.get_by_text("10 of 40 examples: 0 better, 10 worse, 30 the same.", exact=False)).to_be_visible()
    table = page.locator(".st-key-assay-table [data-testid=stDataFrame]").last
    expect(table.locator("canvas td").filter(has_text=re.compile("^question-12$")).first).to_be_attached()
    settled(page)
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 120, box["y"] + 57)
    expect(page).to_have_url(re.compile(r"/trace_diff\?a=run_.*&b=run_"))


def test_runs_are_chosen_on_the_page(page: Page, shown: Shown, runs: tuple[str, str]) -> None:
    page.goto(shown.url("comparison"))
    expect(page.get_by_text("Choose both runs; they have to be over the same examples.")).to_be_visible()
    for name, release in (("Baseline", "v1"), ("Candidate", "v2")):
        page.get_by_role("combobox", name=re.compile(name)).click()
        page.get_by_role("option").filter(has_text=f"{release} · compared").first.click()
    expect(page.locator(".st-key-assay-compared-candidate")).to_contain_text("v2")
    expect(page).to_have_url(re.compile(f"a={runs[0]}&b={runs[1]}"))


def test_runs_that_cannot_be_compared_say_why(page: Page, shown: Shown, runs: tuple[str, str]) -> None:
    page.goto(shown.url(f"comparison?a={runs[0]}&b=run_nowhere"))
    expect(page.get_by_text("there is no run 'run_nowhere'")).to_be_visible()
