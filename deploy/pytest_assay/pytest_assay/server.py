"""Assay over HTTP, with the standard library alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

_TIMEOUT_S = 60.0
_ENDED = ("done", "failed", "cancelled")


class AssayFailed(Exception):
    """The server is not there, or says no; the text says which and what to do."""


class _NoRedirect(HTTPRedirectHandler):
    """A key is shown to the address that was named, and to no other."""

    def redirect_request(self, *_: Any) -> None:
        """Answers None: the redirect is an error."""


class Server:
    """One Assay."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise AssayFailed(f"{url!r} is no address of a server; as http://127.0.0.1:8080")
        self.url = url.rstrip("/")
        self._headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        local = parts.hostname in ("127.0.0.1", "::1", "localhost")
        self._opener = build_opener(_NoRedirect, *([ProxyHandler({})] if local else []))

    def get(self, path: str, **asked: Any) -> Any:
        """A GET's JSON. Raises AssayFailed."""
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        address = f"{self.url}/api/v1{path}" + (f"?{query}" if query else "")
        return self._ask(Request(address, headers=self._headers))  # noqa: S310 - http or https, checked above

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """A POST's JSON. Raises AssayFailed."""
        data = json.dumps(body, allow_nan=False).encode()
        address = f"{self.url}/api/v1{path}"
        return self._ask(Request(address, data=data, headers=self._headers, method="POST"))  # noqa: S310

    def examples(self, dataset: str, version: int | None, split: str | None) -> tuple[list[dict[str, Any]], int]:
        """The examples of a dataset, and which version they are of. Raises AssayFailed."""
        path, found, cursor = f"/datasets/{quote(dataset, safe='')}/examples", [], None
        while True:
            page = self.get(path, version=version, split=split, limit=500, cursor=cursor)
            found += page["items"]
            version, cursor = page["version"], page.get("next_cursor")
            if not cursor:
                return found, int(version or 0)

    def run(self, body: Mapping[str, Any], within_s: float) -> dict[str, Any]:
        """A run of given outputs, once it is over. Raises AssayFailed: not over in time."""
        run: dict[str, Any] = self.post("/runs", body)
        until = time.monotonic() + within_s
        while run["status"] not in _ENDED:
            if time.monotonic() > until:
                raise AssayFailed(f"run {run['run_id']} is not over after {within_s:g} s; it is {run['status']}")
            time.sleep(0.25)
            run = self.get(f"/runs/{run['run_id']}")
        return run

    def scores(self, run_id: str) -> Iterator[dict[str, Any]]:
        """What evaluators said of each trial of a run."""
        cursor = None
        while True:
            page = self.get(f"/runs/{run_id}/scores", limit=500, cursor=cursor)
            yield from page["items"]
            cursor = page.get("next_cursor")
            if not cursor:
                return

    def newest_run(self, app: str, dataset: str, release: str, not_this: str) -> str | None:
        """The newest finished run of a release over a dataset, but this one."""
        rows = self.get("/runs", app=app, dataset=dataset, release=release, status="done", limit=10)["items"]
        return next((row["run_id"] for row in rows if row["run_id"] != not_this), None)

    def directions(self, names: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Direction and unit of evaluators, where the server tells them."""
        rows = self.get("/evaluators")["items"]
        return {row["name"]: (row["direction"], row["unit"]) for row in rows if not names or row["name"] in names}

    def _ask(self, request: Request) -> Any:
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
                return json.load(answer)
        except HTTPError as error:
            raise AssayFailed(f"{self.url} answered {error.code}: {_words(error)}") from None
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise AssayFailed(f"{self.url} cannot be reached: {reason}; is Assay up, and ASSAY_URL right?") from None
        except ValueError:
            raise AssayFailed(f"{self.url} answered with no JSON; is it Assay's API?") from None


def _words(error: HTTPError) -> str:
    try:
        said = json.load(error)
        return str(said.get("detail") or said.get("title") or said)[:500]
    except (ValueError, AttributeError):
        return error.reason
