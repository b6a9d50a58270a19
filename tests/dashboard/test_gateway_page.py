"""The page Gateway in a browser, over the real collector, server, gateway and dashboard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from dashboard.views import gateway
from tests.dashboard import gateway_traffic
from tests.dashboard.conftest import VISIBLE_S, Shown
from tests.dashboard.plots import of_plot
from tests.dashboard.test_hostile_pages import harmless, settled
from tests.dashboard.test_pages import metric
from tests.dashboard.visiting import Visits
from tests.loopback import listening
from tests.stack import running_stack
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def refused(shown: Shown) -> list[str]:
    """A day of calls that can be read; trace ids of those that were refused, the attack last."""
    traces = [*gateway_traffic.day(shown.stack), gateway_traffic.attack(shown.stack)]
    with shown.stack.client() as client:

        def n_refused(app: str) -> int:
            told = client.get("/api/v1/gateway/summary", params={"since": "24h", "app": app}).json()
            return int(told["outcomes"]["refused"])

        apps = {gateway_traffic.APP: 4, gateway_traffic.HOSTILE_APP: 1}
        wait_until(lambda: all(n_refused(app) == n for app, n in apps.items()), VISIBLE_S, "the calls to be stored")
    return traces


def test_the_page_shows_traffic_overhead_cache_upstreams_and_masked_values(
    page: Page, shown: Shown, refused: list[str]
) -> None:
    page.goto(shown.url(f"gateway?since=24h&app={gateway_traffic.APP}"))
    expect(metric(page, "Calls")).to_have_text(str(gateway_traffic.N_OK + 14 + 5 + 3 + 1 + 4))
    expect(metric(page, "Refused")).to_have_text("4.6%")
    expect(metric(page, "Cache hits of 83")).to_have_text("16.9%")
    expect(metric(page, "Overhead p95")).to_have_text(re.compile(r"^0\.\d+ ms$|^1\.\d ms$"))
    expect(page.locator(".st-key-assay-gateway-state")).to_contain_text("does not answer")
    expect(page.get_by_text("assay serve gateway")).to_be_visible()
    overhead = page.locator(".st-key-assay-chart-gateway-overhead")
    expect(overhead.locator(".ytick text").first).to_be_attached()
    names = [name.strip() for name in overhead.locator(".ytick text").all_text_contents()]
    assert set(names) >= {"the whole gateway", "masking (PII)", "content (compliance)", "cache"}
    budgets = "plot => plot.data[1].x"
    assert of_plot(overhead.locator(".js-plotly-plot"), budgets) == [500, 100, 50]
    expect(page.get_by_text("10 exact and 4 by meaning, of 83 that looked. They saved about $")).to_be_visible()
    masked = page.locator(".st-key-assay-chart-gateway-masked .ytick text")
    expect(masked.first).to_be_attached()
    assert {"email", "card"} <= {name.strip() for name in masked.all_text_contents()}
    cells = page.locator('[data-testid="stDataFrame"] canvas td')
    expect(cells.filter(has_text="status_503 5").first).to_be_attached()
    expect(page.get_by_test_id("stPlotlyChart")).to_have_count(5)
    expect(page.get_by_text("Only calls that went through the gateway: imported history")).to_be_visible()
    expect(page.get_by_text("Budgets, and how upstreams are now, are of all apps.")).to_be_visible()
    for name in ("Errors", "Refused", "Overhead p50", "Overhead p95", "Cache hits of 83"):
        tile = page.get_by_test_id("stMetric").filter(has_text=name)
        expect(tile.get_by_test_id("stTooltipIcon").first).to_be_attached()


def test_a_refused_call_says_why_and_leads_to_its_trace(page: Page, shown: Shown, refused: list[str]) -> None:
    page.goto(shown.url(f"gateway?since=24h&app={gateway_traffic.APP}"))
    expect(page.get_by_role("heading", name="Refused calls")).to_be_visible()
    grid = page.locator(".st-key-gateway-refused-grid")
    expect(grid.locator("canvas td").filter(has_text="limit_requests").first).to_be_attached()
    expect(grid.locator("canvas td").filter(has_text=re.compile("^no-weapons$")).first).to_be_attached()
    expect(grid.locator("canvas td").filter(has_text=re.compile("^desk-day$")).first).to_be_attached()
    expect(
        grid.locator("canvas td").filter(has_text=re.compile("^of the app .* has spent 0.00004 of")).first
    ).to_be_attached()
    settled(page)
    canvas = grid.locator("canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 300, box["y"] + 36 + 19)
    expect(page).to_have_url(re.compile(f"/trace\\?trace_id={refused[3]}"))


def test_a_trace_says_which_span_is_the_gateways_and_counts_once(page: Page, shown: Shown) -> None:
    trace_id, span_id = gateway_traffic.within_an_agent(shown.stack)
    with shown.stack.client() as client:

        def spans() -> list[dict[str, object]]:
            told = client.get(f"/api/v1/traces/{trace_id}")
            return list(told.json()["spans"]) if told.is_success else []

        wait_until(lambda: len(spans()) == 2, VISIBLE_S, "both spans to be stored")
        assert [span["scope_name"] for span in spans()] == ["pydantic-ai", "assay.gateway"]
        assert [span["usage_counted"] for span in spans()] == [False, True]
    page.goto(shown.url(f"trace?trace_id={trace_id}&span_id={span_id}"))
    rows = page.locator('[role="treeitem"]')
    expect(rows).to_have_count(2)
    agents, ours = rows.nth(0), rows.nth(1)
    expect(ours).to_contain_text("via gateway")
    expect(agents).not_to_contain_text("via gateway")
    counted = ours.locator(".cost").text_content()
    expect(agents.locator(".cost")).to_have_text(f"({counted})")
    expect(page.get_by_text("(in brackets): counted in another span")).to_be_visible()
    detail = page.locator(".st-key-assay-detail")
    for said in ("via gateway", "east", "support-fast", "miss", "email 2", "content:legal-threat"):
        expect(detail.get_by_text(said, exact=True).first).to_be_visible()


def test_without_calls_the_page_says_how_to_send_one(page: Page, shown: Shown, refused: list[str]) -> None:
    page.goto(shown.url("gateway?since=1m&app=nobody-calls"))
    expect(page.get_by_role("heading", name="No calls through the gateway here")).to_be_visible()
    expect(page.get_by_text(f"export OPENAI_BASE_URL=http://127.0.0.1:{shown.stack.port_base + 4}/v1")).to_be_visible()
    page.get_by_role("button", name="Show all time").click()
    expect(page).to_have_url(re.compile("since=all"))


def test_all_time_shows_figures_without_ten_years_of_axis(page: Page, shown: Shown, refused: list[str]) -> None:
    page.goto(shown.url(f"gateway?since=all&app={gateway_traffic.APP}"))
    expect(metric(page, "Calls")).to_be_visible()
    expect(page.locator(".st-key-assay-chart-gateway-overhead .ytick text").first).to_be_attached()
    (first, last) = of_plot(
        page.locator(".st-key-assay-chart-gateway-calls .js-plotly-plot"), "plot => plot._fullLayout.xaxis.range"
    )
    assert int(last[:4]) - int(first[:4]) <= 1


def test_hostile_text_stays_text(page: Page, shown: Shown, refused: list[str]) -> None:
    page.goto(shown.url("gateway?since=1h"))
    expect(page.locator(".st-key-assay-chart-gateway-overhead .ytick text").first).to_be_attached()
    settled(page)
    harmless(page)


def test_narrow_screens_do_not_overflow(page: Page, shown: Shown, refused: list[str]) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(shown.url(f"gateway?since=24h&app={gateway_traffic.APP}"))
    expect(page.get_by_test_id("stPlotlyChart").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_small_sums_and_budgets_of_nobody_have_words() -> None:
    shown = [gateway._dollars(usd) for usd in (None, 0, 0.5, 0.00001, 0.000000028, 1234.5, 0.0123)]
    assert shown == [None, "$0.00", "$0.50", "$0.00001", "$0.000000028", "$1,234.50", "$0.012"]
    rows = [{"scope": "user", "match": "*", "of": ""}, {"scope": "app", "match": "desk*", "of": ""}]
    rows += [{"scope": "team", "match": "*", "of": "support"}, {"scope": "tenant", "match": "*", "of": ""}]
    assert [gateway._whose(one) for one in rows] == ["no user named", "app desk*", "team support", "tenant"]


@pytest.fixture
def upstream() -> Iterator[str]:
    """The address of a model that answers every chat the same, dearly."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            message = {"role": "assistant", "content": "Hello."}
            usage = {"prompt_tokens": 500_000, "completion_tokens": 0, "total_tokens": 500_000}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            body = json.dumps({"id": "x1", "object": "chat.completion", "created": 1, "model": "sim-1"}
                              | {"choices": choices, "usage": usage}).encode()  # fmt: skip
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with listening(Answers) as url:
        yield f"{url}/v1"


CONFIG = """version: 1
upstreams:
  east: {{wire: openai, base_url: "{address}", keys: ["${{env:A_MODEL_KEY}}"]}}
  west: {{wire: openai, base_url: "http://127.0.0.1:9/v1", keys: ["${{env:A_MODEL_KEY}}"], retries: 0,
         breaker: {{failures: 2, window_s: 300, open_s: 200}}}}
models:
  support-fast: {{targets: [{{upstream: west, model: sim-1}}, {{upstream: east, model: sim-1}}], cache: "off"}}
policies:
  budgets:
    - {{name: desk-day, scope: app, match: parcel-desk, period: day, limit_usd: 0.5, then: refuse}}
    - {{name: whole-month, scope: tenant, match: "*", period: month, limit_usd: 8, then: warn}}
"""


def test_a_running_gateway_shows_its_upstreams_and_spend_against_budgets(
    visits: Visits, tmp_path: Path, upstream: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "gateway.yaml").write_text(CONFIG.format(address=upstream))
    key = {"A_MODEL_KEY": "not-a-key"}
    with running_stack(tmp_path, dashboard=True, gateway=True, environment=key) as stack:
        about = {**stack.headers, "x-assay-app": gateway_traffic.APP}
        url = f"http://127.0.0.1:{stack.port_base + 4}/v1/chat/completions"
        asked = {"model": "support-fast", "messages": [{"role": "user", "content": "Hello, ann@example.com"}]}
        told = [httpx.post(url, json=asked, headers=about, timeout=30).status_code for _ in range(4)]
        assert told[:3] == [200, 200, 200]  # 0.2 USD each
        assert told[3] in (402, 403, 429), told
        with stack.client() as client:

            def n_calls() -> int:
                return int(client.get("/api/v1/gateway/summary", params={"since": "1h"}).json()["n_calls"])

            wait_until(lambda: n_calls() == 4, VISIBLE_S, "the calls to be stored")
        with visits.page(stack.dashboard, height=1800) as page:
            page.goto(f"{stack.dashboard}/gateway?since=1h")
            expect(page.locator(".st-key-assay-gateway-state")).to_contain_text("running")
            expect(page.get_by_role("heading", name="Spend against budgets")).to_be_visible(timeout=45_000)
            upstreams = page.locator(".st-key-assay-grid-upstreams canvas td")
            expect(upstreams.filter(has_text="given a rest").first).to_be_attached(timeout=45_000)
            expect(upstreams.filter(has_text="breaker_open").first).to_be_attached()
            spent = page.locator(".st-key-assay-grid-budgets-spent canvas td")
            budgets = page.locator('[class*="st-key-assay-grid-budgets"] canvas td')
            expect(spent.filter(has_text="desk-day").first).to_be_attached(timeout=45_000)
            assert spent.filter(has_text="whole-month").count() == 0
            expect(budgets.filter(has_text="app parcel-desk").first).to_be_attached(timeout=45_000)
            expect(budgets.filter(has_text="whole-month").first).to_be_attached()
            expect(budgets.filter(has_text=re.compile(r"^\$0\.60$"))).to_have_count(2)
            expect(
                page.locator(".st-key-gateway-refused-grid canvas td").filter(has_text="budget").first
            ).to_be_attached()
