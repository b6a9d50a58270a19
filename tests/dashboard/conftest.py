"""The real stack with its dashboard, traces in it, and a browser in front of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.dashboard import traffic
from tests.dashboard.visiting import Visits
from tests.stack import Stack, running_stack
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.dashboard.judged import Judged

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
VISIBLE_S: Final = 120.0
# A page takes a seventh less processor time without a GPU to imitate and services of its maker's to look for.
LEAN: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-quic",
    "--no-first-run",
)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A stack with traces in it, and the ids of what was sent."""

    stack: Stack
    turns: list[str]
    hostile: tuple[str, str]
    big: tuple[str, str]

    def url(self, path: str = "") -> str:
        """The address of a page of the dashboard."""
        return f"{self.stack.dashboard}/{path}"


@pytest.fixture(scope="session")
def shown(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """The stack, once everything that was sent can be read. Asks for the browser first: without one nothing starts."""
    with running_stack(tmp_path_factory.mktemp("dashboard"), dashboard=True) as stack:
        turns = traffic.conversation(stack)
        attack = traffic.hostile_trace(stack)
        big = traffic.big_trace(stack)
        with stack.client() as client:

            def n_spans(trace_id: str) -> int:
                answer = client.get(f"/api/v1/traces/{trace_id}", params={"limit": 1})
                return int(answer.json()["n_spans"]) if answer.is_success else 0

            wanted = {turns[0]: 3, turns[1]: 3, attack[0]: 2, big[0]: traffic.N_BIG}
            wait_until(
                lambda: all(n_spans(one) == n for one, n in wanted.items()), VISIBLE_S, "the traces to be stored"
            )
            _score(stack, turns[0])
        yield Shown(stack=stack, turns=turns, hostile=attack, big=big)


@pytest.fixture(scope="session")
def judged(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    """Judges of every state with what they judged, for the pages Judges and Scores."""
    from tests.dashboard.judged import judged_dashboard

    with judged_dashboard(tmp_path_factory.mktemp("judged")) as made:
        yield made


def _score(stack: Stack, trace_id: str) -> None:
    about = {"evaluator": "politeness", "evaluator_kind": "judge", "target": "turn", "trace_id": trace_id}
    items = [
        {**about, "value": 0.875, "label": "warm", "explanation": "Greets and answers."},
        {**about, "evaluator": "grounded", "unscored": "no retrieval in this turn"},
        {
            "evaluator": "trip_booked",
            "evaluator_kind": "rule",
            "target": "session",
            "session_id": traffic.SESSION,
            "value": 0.0,
            "label": "fail",
        },
    ]
    with stack.client() as client:
        client.post("/api/v1/scores", json={"items": items}).raise_for_status()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's chromium. Without it the tests of the pages are skipped; in CI they fail, saying what to install."""
    if CHROMIUM is None:
        reason = "no chromium on this machine: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(LEAN))
        yield running
        running.close()


@pytest.fixture(scope="session")
def visits(browser: Browser) -> Visits:
    """Visits to any dashboard, in tabs that the tests share."""
    return Visits(browser)


@pytest.fixture
def page(visits: Visits, shown: Shown) -> Iterator[Page]:
    """A fresh visit. Afterwards: no error on the console, no request to any other host."""
    with visits.page(shown.stack.dashboard, patience_s=45) as opened:
        yield opened
