"""The page Datasets and Add to dataset in a browser, over the real collector, server and dashboard."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard import hostile, traffic
from tests.dashboard.conftest import Shown
from tests.dashboard.test_hostile_pages import harmless, settled
from tests.dashboard.test_pages import click_row

pytestmark = pytest.mark.timeout(600)
NAME = "travel-golden"


def picture(page: Page, name: str) -> None:
    """A picture of the page where ASSAY_PICTURES names a folder, for who wants to look."""
    if folder := os.environ.get("ASSAY_PICTURES"):
        settled(page)
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def post(shown: Shown, name: str, **body: Any) -> None:
    with shown.stack.client() as client:
        client.post(f"/api/v1/datasets/{quote(name)}/examples", json={"create": True, **body}).raise_for_status()


@pytest.fixture(scope="module")
def filled(shown: Shown) -> str:
    """A dataset of three versions."""
    first = [
        {"example_id": f"trip-{n}", "input": f"Book a trip to town number {n}", "split": "dev" if n % 3 else "test"}
        for n in range(12)
    ]
    gold = {"answer": "Booked.", "tool_calls": [{"name": "book", "arguments": {"town": "Lisbon"}}], "refusal": False}
    second = [{"example_id": "gold", "input": ["I want to go to Lisbon.", "On Friday."], "expected": gold}]
    changed = [{"example_id": "trip-1", "input": "Book a trip to Porto", "split": "dev"}]
    post(shown, NAME, examples=first, note="the first dozen", description="What travellers ask")
    post(shown, NAME, examples=second, note="a gold conversation")
    post(shown, NAME, examples=changed, replace=True)
    return NAME


def cell(page: Page, text: str) -> Any:
    return page.locator('[data-testid="stDataFrame"] canvas td').filter(has_text=text).first


def test_the_list_opens_a_dataset_and_shows_an_example(page: Page, shown: Shown, filled: str) -> None:
    page.goto(shown.url("datasets"))
    expect(page.get_by_role("heading", name="Datasets")).to_be_visible()
    expect(cell(page, NAME)).to_be_attached()
    expect(cell(page, "dev 8, test 5")).to_be_attached()
    picture(page, "datasets")
    page.goto(shown.url(f"datasets?name={NAME}"))
    expect(page.get_by_text("What travellers ask")).to_be_visible()
    expect(page.locator(".st-key-assay-facts-dataset")).to_contain_text("13")
    expect(cell(page, "Book a trip to Porto")).to_be_attached()
    page.get_by_placeholder("text or id").fill("lisbon")
    page.keyboard.press("Enter")
    expect(cell(page, "I want to go to Lisbon.")).to_be_attached()
    expect(cell(page, "Book a trip to Porto")).not_to_be_attached()
    settled(page)
    click_row(page, "I want to go to Lisbon.", 4)
    detail = page.locator(".st-key-assay-example")
    expect(detail.get_by_text("On Friday.")).to_be_visible()
    expect(detail.get_by_text("Booked.")).to_be_visible()
    expect(detail).to_contain_text('"name": "book"')
    picture(page, "datasets-example")


def into(page: Page, dataset: str) -> None:
    """Chooses the dataset: other tests' are there too."""
    chosen = page.get_by_role("dialog").get_by_role("combobox", name="Dataset")
    if chosen.input_value() != dataset:
        chosen.click()
        page.get_by_role("option", name=dataset, exact=True).click()
    expect(chosen).to_have_value(dataset)


def test_versions_and_what_changed_between_them(page: Page, shown: Shown, filled: str) -> None:
    page.goto(shown.url(f"datasets?name={NAME}"))
    page.get_by_role("tab", name="Versions").click()
    expect(cell(page, "the first dozen")).to_be_attached()
    changes = page.locator(".st-key-assay-dataset-changes")
    expect(changes).to_contain_text("0 added")
    expect(changes).to_contain_text("1 changed")
    expect(page.get_by_text("trip-1", exact=True)).to_be_visible()
    picture(page, "datasets-versions")
    page.goto(shown.url(f"datasets?name={NAME}&version=1"))
    expect(page.locator(".st-key-assay-facts-dataset")).to_contain_text("the first dozen")


def test_a_session_becomes_an_example_in_two_clicks(page: Page, shown: Shown, filled: str) -> None:
    page.goto(shown.url(f"session?session_id={traffic.SESSION}"))
    page.get_by_role("button", name="Add to dataset").click()
    into(page, NAME)
    expect(page.get_by_role("button", name="Add", exact=True)).to_be_visible()
    picture(page, "add-to-dataset")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("Added: version 4 has 14 examples.")).to_be_visible()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("It is in version 4 already.")).to_be_visible()
    page.get_by_role("button", name=f"Open {NAME}").click()
    expect(page.locator(".st-key-assay-facts-dataset")).to_contain_text("from the page of the session")
    with shown.stack.client() as client:
        found = client.get(f"/api/v1/datasets/{NAME}/examples", params={"limit": 100}).json()["items"][-1]
    assert found["source"]["session_id"] == traffic.SESSION
    assert len(found["input"]["turns"]) == 2


def test_a_trace_becomes_an_example(page: Page, shown: Shown, filled: str) -> None:
    page.goto(shown.url(f"trace?trace_id={shown.turns[0]}"))
    page.get_by_role("button", name="Add to dataset").click()
    into(page, NAME)
    page.get_by_text("Expect the agent's answer").click()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("Added: version")).to_be_visible()


def test_hostile_examples_are_text(page: Page, shown: Shown) -> None:
    name = "<img onerror=alert(1) src=x> **loud** :red[loud]"
    said = {
        "example_id": "=cmd|x <b>loud</b>",
        "input": hostile.EVERYTHING,
        "split": "dev",
        "metadata": {"note": hostile.EVERYTHING},
    }
    post(shown, name, examples=[said], description=hostile.EVERYTHING[:2000])
    page.goto(shown.url("datasets"))
    expect(cell(page, "onerror")).to_be_attached()
    settled(page)
    harmless(page)
    page.goto(shown.url("datasets?name=" + quote(name)))
    expect(page.locator(".st-key-assay-facts-dataset")).to_be_visible()
    settled(page)
    click_row(page, "dev", 2)
    expect(page.locator(".st-key-assay-example")).to_be_visible()
    settled(page)
    harmless(page)


def test_a_dataset_that_is_not_there_is_said(page: Page, shown: Shown) -> None:
    page.goto(shown.url("datasets?name=nothing"))
    expect(page.get_by_text("there is no dataset 'nothing'")).to_be_visible()
