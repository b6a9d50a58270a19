"""The page Evaluations in a browser, over the real server and dashboard; outputs of files are the runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.conftest import Shown
from tests.dashboard.test_hostile_pages import settled
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
NAME, N = "evaluated", 12


def picture(page: Page, name: str) -> None:
    """A picture of the page where ASSAY_PICTURES names a folder, for who wants to look."""
    if folder := os.environ.get("ASSAY_PICTURES"):
        settled(page)
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


@pytest.fixture(scope="module")
def run_id(shown: Shown) -> str:
    """A run over outputs of a file: every third answer is wrong, one trial crashed, one output is hostile."""
    examples = [
        {"example_id": f"ask-{n}", "input": f"What is {n} and {n}?", "expected": {"answer": str(2 * n)}}
        for n in range(N)
    ]
    outputs: list[dict[str, Any]] = [
        {
            "example_id": f"ask-{n}", "output": str(2 * n) if n % 3 else "<img src=x onerror=alert(1)> **no idea**",
            "usage": {"cost_usd": 0.002, "input_tokens": 100, "output_tokens": 7}, "latency_ms": 800 + 10 * n,
        }
        for n in range(N - 1)
    ]  # fmt: skip
    outputs.append({"example_id": f"ask-{N - 1}", "error": "the agent crashed"})
    with shown.stack.client() as client:
        made = client.post(f"/api/v1/datasets/{NAME}/examples", json={"create": True, "examples": examples})
        made.raise_for_status()
        wanted = {"dataset": NAME, "app": "travel", "release": "v7", "source": "file", "outputs": outputs}
        answer = client.post("/api/v1/runs", json=wanted | {"evaluators": ["answer_match", "cost", "latency"]})
        answer.raise_for_status()
        found = str(answer.json()["run_id"])
        wait_until(lambda: client.get(f"/api/v1/runs/{found}").json()["status"] == "done", 120, "the run to end")
    return found


def cell(page: Page, text: str) -> Any:
    return page.locator('[data-testid="stDataFrame"] canvas td').filter(has_text=text).first


def click_first_trial(page: Page) -> None:
    canvas = page.locator('[data-testid="stDataFrame"]').nth(1).locator("canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 60, box["y"] + 35 + 17)


def test_the_list_shows_how_each_run_stands(page: Page, shown: Shown, run_id: str) -> None:
    page.goto(shown.url("evaluations"))
    expect(page.get_by_role("heading", name="Evaluations")).to_be_visible()
    expect(cell(page, "v7")).to_be_attached()
    expect(cell(page, "done 12/12, 1 failed")).to_be_attached()
    expect(cell(page, f"{NAME}@1")).to_be_attached()
    picture(page, "evaluations")


def test_a_run_shows_figures_and_a_trial_why_it_has_its_score(page: Page, shown: Shown, run_id: str) -> None:
    page.goto(shown.url(f"evaluations?run={run_id}"))
    expect(page.locator(".st-key-assay-run-state")).to_contain_text("11 of 12 trials done, 1 failed")
    expect(cell(page, "answer_match")).to_be_attached()
    expect(cell(page, "not finished 1")).to_be_attached()
    picture(page, "evaluations-run")
    settled(page)
    click_first_trial(page)
    trial = page.locator(".st-key-assay-trial")
    expect(trial.get_by_text("<img src=x onerror=alert(1)> **no idea**").first).to_be_visible()
    expect(trial).to_contain_text("answer_match")
    picture(page, "evaluations-trial")


def test_failed_trials_are_found_and_say_why(page: Page, shown: Shown, run_id: str) -> None:
    page.goto(shown.url(f"evaluations?run={run_id}"))
    page.get_by_role("radio", name="Failed").click()
    expect(cell(page, "the agent crashed")).to_be_attached()
    expect(cell(page, "ask-0")).not_to_be_attached()


def test_an_unknown_run_says_so(page: Page, shown: Shown, run_id: str) -> None:
    page.goto(shown.url("evaluations?run=run_none"))
    expect(page.get_by_text("there is no run").first).to_be_visible()


def test_a_card_says_what_looks_at_sessions_as_they_end(page: Page, shown: Shown, run_id: str) -> None:
    page.goto(shown.url("evaluations"))
    card = page.locator(".st-key-assay-online")
    expect(card).to_contain_text("assay eval online set APP")
    with shown.stack.client() as client:
        body = {"evaluators": ["loop_free", "pii_leak"], "share": 0.5}
        client.put("/api/v1/evaluators/online/<b>desk<%2Fb>", json=body).raise_for_status()
    page.reload()
    expect(card).to_contain_text("<b>desk</b>: loop_free, pii_leak  ·  50% of sessions")
    picture(page, "evaluations-online")
