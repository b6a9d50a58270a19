"""A trace written by an attacker is shown letter by letter: nothing runs, nothing is fetched, nothing is styled."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Page, expect

from dashboard.text import inert
from tests.dashboard import hostile, traffic
from tests.dashboard.conftest import Shown

pytestmark = pytest.mark.timeout(600)


def harmless(page: Page) -> None:
    """Nothing of the attack became part of the page (the page fixture looks at requests and the console)."""
    assert page.evaluate("window.assayPwned") is None
    drawn = "svg image:not([*|href^='data:image/png'])"  # a heat map of ours is such a picture
    for what in ("script[src*='beacon']", "img[src*='beacon']", "a[href^='javascript']", ".katex", drawn, "del"):
        assert page.locator(what).count() == 0, what
    assert page.locator("strong, em, h1").filter(has_text="loud").count() == 0


def settled(page: Page) -> None:
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")


def test_the_trace_page(page: Page, shown: Shown) -> None:
    trace_id, span_id = shown.hostile
    page.goto(shown.url(f"trace?trace_id={trace_id}&span_id={span_id}"))
    detail = page.locator(".st-key-assay-detail")
    expect(detail.get_by_text(inert(hostile.EVERYTHING)).first).to_be_visible()
    expect(page.get_by_role("tree").get_by_text("<script>window.assayPwned = 1</script>").first).to_be_visible()
    for tab in ("Attributes", "Events 1", "JSON"):
        detail.get_by_role("tab", name=tab).click()
        expect(detail.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        expect(detail.get_by_role("tabpanel").filter(visible=True)).to_contain_text("assayPwned")
        harmless(page)
    rows = page.get_by_role("tree")
    for view in ("Waterfall", "Log"):
        page.get_by_role("button", name=view).click()
        expect(page.get_by_role("button", name=view)).to_have_attribute("aria-pressed", "true")
        expect(rows.get_by_text("<script>window.assayPwned = 1</script>").first).to_be_visible()
        harmless(page)
    page.get_by_role("button", name="Copy ids").click()
    harmless(page)


@pytest.mark.parametrize("path", ["?since=24h", "traces?since=24h", "sessions?since=24h"])
def test_overview_and_lists(page: Page, shown: Shown, path: str) -> None:
    page.goto(shown.url(path))
    expect(page.get_by_test_id("stDataFrame").first).to_be_visible()
    settled(page)
    page.get_by_role("combobox", name="App").first.click()
    expect(page.get_by_role("option").filter(has_text=traffic.HOSTILE_APP[:20])).to_be_visible()
    harmless(page)


def test_the_session_page(page: Page, shown: Shown) -> None:
    with shown.stack.client() as client:
        found = client.get("/api/v1/sessions", params={"since": "1d", "app": traffic.HOSTILE_APP}).raise_for_status()
    session_id = found.json()["items"][0]["session_id"]
    page.goto(shown.url(f"session?{httpx.QueryParams({'session_id': session_id})}"))
    expect(page.get_by_text(inert(hostile.EVERYTHING)).first).to_be_visible()
    harmless(page)


def test_the_browser_is_told_to_load_nothing_from_elsewhere(shown: Shown) -> None:
    answer = httpx.get(shown.url())
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "img-src 'self' data: blob:" in policy
    assert "connect-src 'self'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
