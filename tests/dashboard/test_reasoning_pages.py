"""The pages Agent and Releases in a browser, over the real collector, server and dashboard."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import product

import pytest
from playwright.sync_api import Page, expect

from dashboard.text import inert
from tests.dashboard import agent_traffic, hostile
from tests.dashboard.conftest import VISIBLE_S, Shown
from tests.dashboard.test_hostile_pages import harmless, settled
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True, kw_only=True)
class Agents:
    """Trace ids by release, and that of the attack."""

    turns: dict[str, list[str]]
    attack: str


@pytest.fixture(scope="module")
def agents(shown: Shown) -> Agents:
    """Turns of v1, v2 and v3 with their outcomes, two releases registered; all readable."""
    stack = shown.stack
    turns = {
        "v1": [agent_traffic.refund(stack, "v1", at_s=900 - 120 * place) for place in range(4)],
        "v2": [agent_traffic.refund(stack, "v2", variant="treatment", at_s=500, slow=2.5)],
        "v3": [agent_traffic.refund(stack, "v3", at_s=300)],
    }
    attack = agent_traffic.attack(stack)
    agent_traffic.register(stack)
    wanted = [*(one for found in turns.values() for one in found), attack]
    with stack.client() as client:

        def stored() -> bool:
            return all(client.get(f"/api/v1/traces/{one}", params={"limit": 1}).is_success for one in wanted)

        wait_until(stored, VISIBLE_S, "the turns to be stored")
    agent_traffic.score(stack, turns)
    return Agents(turns=turns, attack=attack)


def test_a_turn_shows_its_reasoning(page: Page, shown: Shown, agents: Agents) -> None:
    page.goto(shown.url(f"agent?trace_id={agents.turns['v1'][0]}"))
    expect(page.get_by_text(agent_traffic.ASKED).first).to_be_visible()
    expect(page.get_by_text("plan then execute").first).to_be_visible()
    expect(page.get_by_text("supervisor → planner → order")).to_be_visible()
    expect(page.get_by_text("answered", exact=True)).to_be_visible()
    expect(page.get_by_text("4, resumed", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Agent", exact=True)).to_be_attached()
    chart = page.locator(".st-key-assay-chart-agent-turn")
    expect(chart.locator(".ytick text").first).to_be_attached()
    lanes = chart.locator(".ytick text").all_text_contents()
    assert {"guardrails", "memory", "supervisor", "order · step 1", "order · step 2"} <= set(lanes)
    first = page.locator('[class*="st-key-assay-agent-step-0"]').first
    expect(first).to_contain_text("Look the order up before anything is said.")
    expect(first).to_contain_text("confidence 0.91")
    expect(first).to_contain_text("get_order")
    second = page.locator('[class*="st-key-assay-agent-step-1"]').first
    expect(second).to_contain_text("create_return")
    found = second.locator('[class*="st-key-assay-doc-"]')
    expect(found).to_have_count(2)
    expect(found.filter(has_text="policy-returns")).to_contain_text(re.compile("score 0.81.*cited.*Torn gear", re.S))
    expect(found.filter(has_text="policy-other")).not_to_contain_text("cited")
    expect(page.locator('[class*="st-key-assay-source-"]')).to_contain_text("policy-returns")
    third = page.locator('[class*="st-key-assay-agent-step-2"]').first
    expect(third).to_contain_text("Tell the user, with the policy.")
    expect(second).to_contain_text("near the cap of $200")
    expect(page.locator(".st-key-assay-agent-route")).to_contain_text("refund")
    expect(page.locator(".st-key-assay-agent-limits")).to_contain_text("Steps: 3 of 12")
    expect(page.locator(".st-key-assay-agent-guardrails")).to_contain_text("one e-mail address")
    memory = page.locator(".st-key-assay-agent-memory")
    expect(memory).to_contain_text("prefers refunds to card")
    expect(memory).to_contain_text("the user's profile · score 0.41 · 12 days old")
    expect(memory).to_contain_text("an earlier session · score 0.128 · 12 h old")
    expect(page.get_by_text("give the money back · only if order delivered")).to_be_visible()
    page.get_by_role("button", name="Open trace").click()
    expect(page).to_have_url(re.compile(f"/trace\\?trace_id={agents.turns['v1'][0]}"))
    page.get_by_role("button", name="Open reasoning").click()
    expect(page).to_have_url(re.compile(f"/agent\\?trace_id={agents.turns['v1'][0]}"))


@pytest.mark.parametrize("where", ["agent", "trace"])
def test_each_row_of_facts_is_one_line(page: Page, shown: Shown, agents: Agents, where: str) -> None:
    page.goto(shown.url(f"{where}?trace_id={agents.turns['v1'][0]}"))
    settled(page)
    for width, row in product((1440, 1280), (where, f"{where}-from")):
        page.set_viewport_size({"width": width, "height": 800})
        facts = page.locator(f".st-key-assay-facts-{row} [data-testid=stText]")
        expect(facts.first).to_be_visible()
        boxes = [one.bounding_box() for one in facts.all()]
        assert len({round(box["y"]) for box in boxes if box}) == 1, facts.all_text_contents()


def test_the_latest_turns_of_agents_lead_to_one(page: Page, shown: Shown, agents: Agents) -> None:
    page.goto(shown.url("agent?since=24h"))
    canvas = page.locator('[data-testid="stDataFrame"] canvas').first
    expect(page.locator('[data-testid="stDataFrame"] canvas td').filter(has_text="LK-10023").first).to_be_attached()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 300, box["y"] + 36 + 19)
    expect(page).to_have_url(re.compile("trace_id=[0-9a-f]{32}"))
    expect(page.get_by_text("What happened when")).to_be_visible()


def test_keys_go_through_the_turns_of_a_session(page: Page, shown: Shown) -> None:
    first, second = shown.turns[:2]
    page.goto(shown.url(f"agent?trace_id={first}"))
    expect(page.get_by_role("button", name="Later turn")).to_be_enabled()
    expect(page.get_by_role("button", name="Earlier turn")).to_be_disabled()
    settled(page)
    page.keyboard.press("j")
    expect(page).to_have_url(re.compile(second))
    expect(page.get_by_role("button", name="Earlier turn")).to_be_enabled()
    settled(page)
    page.keyboard.press("k")
    expect(page).to_have_url(re.compile(first))
    settled(page)
    page.keyboard.press("o")
    expect(page).to_have_url(re.compile(f"/trace\\?trace_id={first}"))


def test_a_turn_that_still_runs_and_a_message_that_was_redacted_whole_say_so(page: Page, shown: Shown) -> None:
    trace_id = agent_traffic.told_an_address(shown.stack)
    session = agent_traffic.unfinished(shown.stack)
    with shown.stack.client() as client:
        wanted = (f"/api/v1/sessions/{session}", f"/api/v1/traces/{trace_id}")
        wait_until(lambda: all(client.get(one).is_success for one in wanted), VISIBLE_S, "both to be stored")
    page.goto(shown.url("sessions?since=1h"))
    cells = page.locator('[data-testid="stDataFrame"] canvas td')
    expect(cells.filter(has_text="(still running)").first).to_be_attached()
    page.goto(shown.url(f"agent?trace_id={trace_id}"))
    expect(page.get_by_text("[EMAIL] (all of the message, redacted)")).to_be_visible()


def test_a_turn_resumed_after_an_approval_says_so_where_the_user_would_speak(page: Page, shown: Shown) -> None:
    trace_id = agent_traffic.approved(shown.stack)
    with shown.stack.client() as client:
        wait_until(lambda: client.get("/api/v1/sessions/s-approved").is_success, VISIBLE_S, "it to be stored")
    page.goto(shown.url(f"agent?trace_id={trace_id}"))
    expect(page.get_by_text("2, resumed after approval", exact=True)).to_be_visible()
    expect(page.get_by_test_id("stChatMessage").first).to_contain_text(
        re.compile("System.*Resumed after approval", re.S)
    )
    page.get_by_role("button", name="Open session").click()
    turn = page.locator('[class*="st-key-assay-turn-"]').first
    expect(turn).to_contain_text(re.compile("System.*Resumed after approval", re.S))
    expect(turn).not_to_contain_text("User")


def test_an_empty_window_says_what_to_do(page: Page, shown: Shown, agents: Agents) -> None:
    page.goto(shown.url("agent?start=2020-01-01T00:00:00Z&end=2020-01-02T00:00:00Z&since=1m"))
    expect(page.get_by_text("No agent turns here")).to_be_visible()
    page.get_by_role("button", name="Show all time").click()
    expect(page.locator('[data-testid="stDataFrame"] canvas').first).to_be_visible()
    page.goto(shown.url("releases?since=1m&app=" + agent_traffic.APP))
    expect(page.get_by_text("No turn of this time range names it.").first).to_be_visible()
    expect(page.get_by_text("gpt-4.1-mini").first).to_be_visible()


def test_releases_show_what_they_are_and_what_traffic_says(page: Page, shown: Shown, agents: Agents) -> None:
    page.goto(shown.url(f"releases?since=24h&app={agent_traffic.APP}"))
    cards = page.locator('[class*="st-key-assay-release-"]')
    first = cards.filter(has_text="gpt-4.1-mini").filter(has_text="control").filter(has_text="registered").last
    expect(first).to_contain_text("0.75 (0.301 to 0.954) · n 4")
    expect(first).to_contain_text("wrong_order 1")
    expect(first).to_contain_text("a3 1 · b0 1 · b1 1 · and 2 more labels")
    unknown = page.locator('[class*="st-key-assay-release-"]').filter(has_text="seen in traffic only")
    expect(unknown.first).to_contain_text("v3")
    changed = page.locator('[class*="st-key-assay-release-"]').filter(has_text="another model seen")
    expect(changed.first).to_contain_text("v2")
    names = page.locator('[class*="st-key-assay-heading-small-release-"]').all_inner_texts()
    assert [name.strip() for name in names[:3]] == ["v2", "v1", "v3"]  # the newest first, whoever was seen last
    first.get_by_text("4 parameters").click()
    expect(first).to_contain_text("limits.tokens")
    expect(page.get_by_role("heading", name="Scores by release")).to_be_visible()
    expect(page.get_by_test_id("stPlotlyChart")).to_have_count(5)
    diff = page.locator('[data-testid="stDataFrame"] canvas td')
    expect(diff.filter(has_text="parameters.temperature")).to_be_attached()
    expect(diff.filter(has_text="parameters.refund_cap_usd")).to_have_count(0)
    unknown.get_by_role("button", name="Traces").click()
    expect(page).to_have_url(re.compile("traces.*release=v3"))
    expect(page.get_by_text("1 trace in the last 24 hours")).to_be_visible()


def test_hostile_text_stays_text(page: Page, shown: Shown, agents: Agents) -> None:
    page.goto(shown.url(f"agent?trace_id={agents.attack}"))
    expect(page.get_by_text(inert(hostile.EVERYTHING)).first).to_be_visible()
    expect(page.locator(".st-key-assay-chart-agent-turn .ytick text").first).to_be_attached()
    settled(page)
    harmless(page)
    page.goto(shown.url("releases?since=24h"))
    expect(page.get_by_text("seen in traffic only").first).to_be_visible()
    page.get_by_role("combobox", name="App").first.click()
    page.get_by_role("option").filter(has_text="<script>").first.click()
    expect(page.get_by_text("<script>window.assayPwned").first).to_be_visible()
    settled(page)
    harmless(page)


def test_narrow_screens_do_not_overflow(page: Page, shown: Shown, agents: Agents) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    for path in (f"agent?trace_id={agents.turns['v1'][0]}", f"releases?since=24h&app={agent_traffic.APP}"):
        page.goto(shown.url(path))
        expect(page.get_by_test_id("stPlotlyChart").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_the_command_lists_shows_and_registers(shown: Shown, agents: Agents) -> None:
    run = shown.stack.cli
    listed = run("releases", "list", "--app", agent_traffic.APP)
    assert listed.returncode == 0, listed.stderr
    assert re.search(r"v1 +yes +4 .* 0\.75 \(0\.301 to 0\.954, n 4\)", listed.stdout)
    assert re.search(r"v3 +no +1 ", listed.stdout)
    told = json.loads(run("releases", "show", agent_traffic.APP, "v1", "--json").stdout)
    assert (told["parameters"], told["traffic"]["n_turns"]) == (agent_traffic.PARAMETERS, 4)
    assert "wrong_order 1" in run("releases", "show", agent_traffic.APP, "v1").stdout
    register = ("releases", "register", "desk", "v1", "--model", "m", "--parameters")
    answers = [run(*register, text) for text in ('{"a": 1}', '{"a": 1}', '{"a": 2}', "[1]", "@/no/such/file")]
    assert [answer.returncode for answer in answers] == [0, 0, 1, 2, 2]
    assert "registered already" in answers[1].stdout
    assert "another parameters" in answers[2].stderr
    assert run("releases", "show", "desk", "v9").returncode == 6
