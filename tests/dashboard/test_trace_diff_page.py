"""The page Trace diff in a browser: two real trials of one task, the one that passed beside the one that failed."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.conftest import VISIBLE_S, Shown
from tests.importers.recorded import TAU_BENCH, needs_recordings
from tests.waiting import wait_until

pytestmark = [pytest.mark.timeout(600), needs_recordings]
PASSED, FAILED = "tau-bench-airline-gpt-4o-task2-trial2", "tau-bench-airline-gpt-4o-task2-trial0"


@pytest.fixture(scope="module")
def trials(shown: Shown, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Both sessions, once they can be read."""
    with gzip.open(TAU_BENCH, "rt", encoding="utf-8") as lines:
        wanted = [line for line in lines if json.loads(line)["task_id"] == 2]
    file = tmp_path_factory.mktemp("trials") / "task2.jsonl"
    file.write_text("".join(wanted), encoding="utf-8")
    done = shown.stack.cli("import", "tau-bench", str(file))
    assert done.returncode == 0, done.stderr
    with shown.stack.client() as client:

        def readable() -> bool:
            return client.get("/api/v1/traces/diff", params={"a": PASSED, "b": FAILED}).is_success

        wait_until(readable, VISIBLE_S, "the trials to be stored")
    return PASSED, FAILED


def test_both_sides_are_aligned_and_the_divergence_is_in_view(
    page: Page, shown: Shown, trials: tuple[str, str]
) -> None:
    page.goto(shown.url(f"trace_diff?a={trials[0]}&b={trials[1]}"))
    divergence = page.locator(".divergence")
    expect(divergence).to_have_text("First divergence")
    expect(divergence).to_be_in_viewport()
    parting = page.locator(".divergence + .row")
    expect(parting).to_contain_text("I have retrieved your reservation IDs.")
    expect(parting.locator(".cell").nth(1)).to_have_class(re.compile("none"))
    calculated = page.locator(".row.changed").filter(has_text="calculate")
    expect(calculated.locator(".differences")).to_contain_text("arguments.expression")
    expect(page.locator(".key.only_a")).to_have_text("17 only in A")
    _picture(page)


def test_equal_steps_unfold_and_a_step_opens_in_its_trace(page: Page, shown: Shown, trials: tuple[str, str]) -> None:
    page.goto(shown.url(f"trace_diff?a={trials[0]}&b={trials[1]}"))
    folded = page.locator(".fold")
    expect(folded.first).to_have_text("4 equal steps")
    before = page.locator(".row").count()
    folded.first.click()
    expect(page.locator(".row")).to_have_count(before + 4)
    page.get_by_role("button", name="Show every step").click()
    expect(page.locator(".row.equal")).to_have_count(17)
    page.get_by_role("button", name="Open this step in its trace").first.click()
    expect(page).to_have_url(re.compile(r"/trace\?trace_id=[0-9a-f]{32}&span_id=[0-9a-f]{16}"))
    expect(page.get_by_text("get_user_details").first).to_be_visible()


def test_hostile_text_stays_text(page: Page, shown: Shown) -> None:
    page.goto(shown.url(f"trace_diff?a={shown.hostile[0]}&b={shown.turns[0]}"))
    expect(page.locator(".row.changed, .row.only_a").first).to_be_visible()
    assert page.locator(".root img, .root script, .root a").count() == 0


def test_what_is_not_there_is_said_and_ids_can_be_given(page: Page, shown: Shown) -> None:
    page.goto(shown.url("trace_diff?a=nobody&b=nothing"))
    expect(page.locator(".st-key-assay-failure")).to_contain_text("nobody")
    page.goto(shown.url("trace_diff"))
    page.get_by_label("A: a trace's or a session's id").fill(shown.turns[0])
    page.get_by_label("B: another").fill(shown.turns[0])
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_text(re.compile(r"^All \d+ steps are equal\.$"))).to_be_visible()


def _picture(page: Page) -> None:
    if folder := os.environ.get("ASSAY_PICTURES"):
        page.screenshot(path=str(Path(folder) / "trace_diff.png"), full_page=False)
