"""Visits to the pages in tabs that are kept from one test to the next.

A context of its own for every visit downloads and compiles Streamlit's scripts anew, which is three fifths of what a
visit costs. A kept tab finds them in the browser's memory. Everything else that a visit may leave behind is taken away
before the next one: cookies, storage, the size of the window, the dark, and the page itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from playwright.sync_api import Browser, CDPSession, ConsoleMessage, Page, Request, expect

# Runs before the scripts of every document: the first of a visit finds what a browser without a past has.
_EMPTIED: Final = """if (location.protocol.startsWith("http") && sessionStorage.getItem("assay-visit") !== "{visit}") {{
    sessionStorage.clear();
    localStorage.clear();
    sessionStorage.setItem("assay-visit", "{visit}");
}}"""


@dataclass(kw_only=True)
class Seen:
    """What a page did besides showing itself."""

    homes: tuple[str, ...] = ()
    complaints: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def console(self, message: ConsoleMessage) -> None:
        """Notes errors on the console."""
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location.get('url')})")

    def request(self, request: Request) -> None:
        """Notes requests that leave this machine's dashboards."""
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc not in {urlsplit(home).netloc for home in self.homes}:
            self.foreign.append(request.url)


class _Tab:
    """One tab of the browser, in a context of its own."""

    def __init__(self, browser: Browser) -> None:
        self.page: Page = browser.new_context(timezone_id="Europe/Berlin").new_page()
        self._cdp: CDPSession = self.page.context.new_cdp_session(self.page)
        self._n_visits = 0
        self._emptied: str | None = None
        self._seen = Seen()
        self.page.on("console", lambda message: self._seen.console(message))
        self.page.on("pageerror", lambda error: self._seen.complaints.append(f"uncaught: {error}"))
        self.page.on("request", lambda request: self._seen.request(request))

    def begin(self, seen: Seen, width: int, height: int, dark: bool) -> None:
        """Makes it a browser without a past."""
        self._n_visits += 1
        if self._emptied is not None:
            self._cdp.send("Page.removeScriptToEvaluateOnNewDocument", {"identifier": self._emptied})
        source = {"source": _EMPTIED.format(visit=self._n_visits)}
        self._emptied = self._cdp.send("Page.addScriptToEvaluateOnNewDocument", source)["identifier"]
        self.page.context.clear_cookies()
        self.page.set_viewport_size({"width": width, "height": height})
        # Streamlit's shimmer and spinner are painted sixty times a second for as long as a page is waited for.
        self.page.emulate_media(color_scheme="dark" if dark else "light", reduced_motion="reduce")
        self._seen = seen

    def end(self) -> None:
        """Leaves the page, once everything that it said was heard."""
        self.page.evaluate("0")
        self._seen = Seen()  # that nobody reads
        self.page.goto("about:blank")


class Visits:
    """Lends tabs of a browser; as many as are used at one time."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._idle: list[_Tab] = []

    @contextmanager
    def page(
        self,
        *homes: str,
        width: int = 1440,
        height: int = 900,
        dark: bool = False,
        patience_s: float = 60,
        picture: str = "",
    ) -> Iterator[Page]:
        """A visit to dashboards at `homes`. Afterwards: no error on the console, no request to any other host.

        With `picture`, a picture of how it ended is kept under this name where ASSAY_SCREENSHOTS names a folder.
        """
        tab = self._idle.pop() if self._idle else _Tab(self._browser)
        seen = Seen(homes=homes)
        tab.begin(seen, width, height, dark)
        tab.page.set_default_timeout(1000 * patience_s)
        expect.set_options(timeout=1000 * patience_s)
        yield tab.page
        if picture and (folder := os.environ.get("ASSAY_SCREENSHOTS")):
            tab.page.screenshot(path=f"{folder}/{picture[:60]}.png", full_page=True)
        tab.end()
        self._idle.append(tab)
        assert seen.foreign == []
        assert seen.complaints == []


class Look:
    """A visit that several tests share. None of them presses anything: who looks where the one before looked finds
    the page open."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._at = ""

    def __call__(self, address: str) -> Page:
        """The page at this address."""
        if address != self._at:
            self._page.goto(address)
            self._at = address
        return self._page
