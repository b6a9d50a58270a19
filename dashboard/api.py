"""The one way from the pages to Assay: its HTTP API, with the key the dashboard was started with.

ApiFailure
├── Unreachable   no answer: the server is down, or ASSAY_URL points elsewhere
│   └── TooSlow   it took the question, and did not answer in time
├── NotAllowed    401 or 403: the key is missing, wrong, revoked, or of too low a role
├── NotFound      404: no such trace, span or session in this tenant
└── Refused       every other answer that is not a success (its title and detail are the server's)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

Row = dict[str, Any]
Parameters = Mapping[str, str | int | float | Sequence[str] | None]

_TIMEOUT: Final = httpx.Timeout(30.0, connect=3.0)


class ApiFailure(Exception):
    """An answer that is not the data. `detail` is text of the server or the network: show it as plain text only."""

    def __init__(self, detail: str, *, status: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status


class Unreachable(ApiFailure):
    """Nobody answered at ASSAY_URL, or not in time."""


class TooSlow(Unreachable):
    """The server is there: it took the question, and did not answer in time."""


class NotAllowed(ApiFailure):
    """The key may not read this (401: not a key; 403: its role is too low)."""


class NotFound(ApiFailure):
    """The tenant has nothing under this id."""


class Refused(ApiFailure):
    """The server answered with an error of another kind."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of a list; `next_cursor` is None on the last."""

    items: list[Row]
    next_cursor: str | None


class Api:
    """Asks one Assay server. Thread-safe; one per dashboard process."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=16, max_keepalive_connections=8)
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=_TIMEOUT, limits=limits)

    @classmethod
    def of_environment(cls) -> Api:
        """The server of ASSAY_URL (default http://127.0.0.1:8080) with the key of ASSAY_API_KEY."""
        return cls(os.environ.get("ASSAY_URL") or "http://127.0.0.1:8080", os.environ.get("ASSAY_API_KEY", ""))

    def get(self, path: str, parameters: Parameters | None = None) -> Row:
        """The JSON object at `/api/v1` + `path`. Raises `ApiFailure`."""
        query = httpx.QueryParams([pair for key, value in (parameters or {}).items() for pair in _pairs(key, value)])
        return self._answer(lambda: self._asked(f"/api/v1{path}", query))

    def post(self, path: str, body: Row, timeout_s: float | None = None) -> Row:
        """The JSON object that POST `/api/v1` + `path` answers. Sent once: who did not hear may look. Raises
        `ApiFailure`, also after `timeout_s` (None: as long as any other)."""
        patience = _TIMEOUT if timeout_s is None else httpx.Timeout(timeout_s, connect=3.0)
        return self._answer(lambda: self._http.post(f"/api/v1{path}", json=body, timeout=patience))

    def put(self, path: str, body: Row) -> Row:
        """The JSON object that PUT `/api/v1` + `path` answers. Raises `ApiFailure`."""
        return self._answer(lambda: self._http.put(f"/api/v1{path}", json=body))

    def patch(self, path: str, body: Row) -> Row:
        """The JSON object that PATCH `/api/v1` + `path` answers. Raises `ApiFailure`."""
        return self._answer(lambda: self._http.patch(f"/api/v1{path}", json=body))

    def delete(self, path: str, parameters: Mapping[str, str] | None = None) -> Row:
        """What DELETE `/api/v1` + `path` answers, empty where that is nothing. Raises `ApiFailure`."""
        return self._answer(lambda: self._http.delete(f"/api/v1{path}", params=parameters))

    def _answer(self, ask: Callable[[], httpx.Response]) -> Row:
        try:
            response = ask()
        except httpx.ReadTimeout as error:
            raise TooSlow(f"{self.url} took the question, and did not answer in time.") from error
        except httpx.TimeoutException as error:
            raise Unreachable(f"{self.url} did not answer in time ({type(error).__name__}).") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{self.url}: {error or type(error).__name__}") from error
        if not response.is_success:
            raise _failure(response)
        if response.status_code == httpx.codes.NO_CONTENT:
            return {}
        try:
            answer = response.json()
        except ValueError as error:
            raise Refused(
                f"{self.url} answered with something that is not JSON.", status=response.status_code
            ) from error
        if not isinstance(answer, dict):
            raise Refused(f"{self.url} answered with JSON of an unknown shape.", status=response.status_code)
        return answer

    def page(self, path: str, parameters: Parameters) -> Page:
        """One page of the list at `path`."""
        answer = self.get(path, parameters)
        return Page(items=list(answer.get("items", [])), next_cursor=answer.get("next_cursor"))

    def _asked(self, path: str, query: httpx.QueryParams) -> httpx.Response:
        """One GET; asked once more when the server closed the idle connection just as it was used again."""
        try:
            return self._http.get(path, params=query)
        except httpx.RemoteProtocolError:
            return self._http.get(path, params=query)

    def together(self, wanted: Sequence[tuple[str, Parameters]]) -> list[list[Row]]:
        """The items of several lists, asked for at the same time, in the order of `wanted`."""
        with ThreadPoolExecutor(max_workers=min(6, len(wanted) or 1)) as pool:
            return list(pool.map(lambda one: self.page(*one).items, wanted))

    def objects(self, wanted: Sequence[tuple[str, Parameters]]) -> list[Row]:
        """Several objects, asked for at the same time, in the order of `wanted`."""
        with ThreadPoolExecutor(max_workers=min(6, len(wanted) or 1)) as pool:
            return list(pool.map(lambda one: self.get(*one), wanted))

    def trace(self, trace_id: str, *, limit: int, cursor: str | None = None) -> Row:
        """The trace with its first `limit` spans in start order, without their content."""
        return self.get(f"/traces/{_segment(trace_id)}", {"limit": limit, "cursor": cursor, "fields": "light"})

    def trace_whole(self, trace_id: str, *, limit: int) -> Row:
        """The trace with its first `limit` spans in start order, with inputs, outputs and attributes."""
        return self.get(f"/traces/{_segment(trace_id)}", {"limit": limit, "fields": "full"})

    def release(self, app: str, name: str) -> Row:
        """One release, with the traffic of the last hour."""
        return self.get(f"/releases/{_segment(app)}/{_segment(name)}", {"since": "1h"})

    def span(self, trace_id: str, span_id: str) -> Row:
        """One span, whole."""
        return self.get(f"/traces/{_segment(trace_id)}/spans/{_segment(span_id)}")

    def session(self, session_id: str, *, limit: int, cursor: str | None = None) -> Row:
        """The session with its first `limit` turns in order."""
        return self.get(f"/sessions/{_segment(session_id)}", {"limit": limit, "cursor": cursor})

    def sessions(self, ids: Sequence[str], *, limit: int) -> list[Row | None]:
        """Several sessions at once, each with its first `limit` turns; None for one that is no longer stored."""

        def one(session_id: str) -> Row | None:
            try:
                return self.session(session_id, limit=limit)
            except NotFound:
                return None

        with ThreadPoolExecutor(max_workers=min(6, len(ids) or 1)) as pool:
            return list(pool.map(one, ids))

    def run(self, run_id: str) -> Row:
        """An evaluation run: how far it is, and its figures once it is over."""
        return self.get(self.run_path(run_id))

    def run_path(self, run_id: str, part: str = "") -> str:
        """The path of a run, or of its trials or scores."""
        return f"/runs/{_segment(run_id)}" + (f"/{part}" if part else "")

    def dataset(self, name: str) -> Row:
        """One dataset with its versions."""
        return self.get(f"/datasets/{_segment(name)}")

    def examples(self, name: str, parameters: Parameters) -> Row:
        """A page of the examples of a version."""
        return self.get(f"/datasets/{_segment(name)}/examples", parameters)

    def dataset_diff(self, name: str, before: int, after: int) -> Row:
        """Ids of the examples that were added, removed and changed."""
        return self.get(f"/datasets/{_segment(name)}/diff", {"before": before, "after": after})

    def add_examples(self, name: str, body: Row) -> Row:
        """Adds examples to a dataset. Raises `ApiFailure`."""
        return self.post(f"/datasets/{_segment(name)}/examples", body)

    def degraded(self) -> bool:
        """Whether files of the lake are damaged, so that anything shown may lack rows. Raises `ApiFailure`."""
        return bool((self.get("/health").get("checks") or {}).get("lake") == "degraded")

    def otlp_endpoint(self) -> str:
        """Where exporters send: ASSAY_OTLP_URL, else the HTTP door beside this server (4318, or one port below)."""
        told = os.environ.get("ASSAY_OTLP_URL")
        if told:
            return told.rstrip("/")
        parts = urlsplit(self.url)
        port = 4318 if parts.port in (None, 8080) else parts.port - 1
        return f"{parts.scheme or 'http'}://{parts.hostname or '127.0.0.1'}:{port}"

    def gate(self, gate_id: str) -> Row:
        """One decision of a gate with its evidence. Raises `ApiFailure`."""
        return self.get(f"/gates/{_segment(gate_id)}")

    def judge_path(self, name: str, *parts: str) -> str:
        """The path of a judge, or of what is below it."""
        return "/".join(["/judges", *(_segment(part) for part in (name, *parts))])

    def experiment_path(self, name: str, *parts: str) -> str:
        """The path of an experiment, or of what is below it."""
        return "/".join(["/experiments", *(_segment(part) for part in (name, *parts))])

    def rollout_path(self, app: str, *parts: str, rollout_id: str = "") -> str:
        """The path of an app's open or newest rollout (or of that with this id), or of what is below it."""
        path = "/".join(["/rollouts", *(_segment(part) for part in (app, *parts))])
        return f"{path}?id={_segment(rollout_id)}" if rollout_id else path

    def cluster_path(self, cluster_id: str, *parts: str) -> str:
        """The path of a cluster, or of what is below it."""
        return "/".join(["/clusters", *(_segment(part) for part in (cluster_id, *parts))])

    def monitor_path(self, name: str, *parts: str) -> str:
        """The path of a monitor, or of what is below it."""
        return "/".join(["/monitors", *(_segment(part) for part in (name, *parts))])

    def channel_path(self, name: str, *parts: str) -> str:
        """The path of a channel, or of what is below it."""
        return "/".join(["/channels", *(_segment(part) for part in (name, *parts))])

    def incident_path(self, incident: str, *parts: str) -> str:
        """The path of an incident, such as I-17, or of what is below it."""
        return "/".join(["/incidents", *(_segment(part) for part in (incident, *parts))])

    def silence_path(self, silence: str) -> str:
        """The path of a silence."""
        return f"/silences/{_segment(silence)}"

    def delivery_path(self, delivery: str, *parts: str) -> str:
        """The path of a message to a channel, or of what is done with it."""
        return "/".join(["/deliveries", *(_segment(part) for part in (delivery, *parts))])

    def job_path(self, name: str, *parts: str) -> str:
        """The path of a job, or of what is done with it."""
        return "/".join(["/jobs", *(_segment(part) for part in (name, *parts))])

    def queue_path(self, name: str, *parts: str) -> str:
        """The path of a label queue, or of what is below it."""
        return "/".join(["/label-queues", *(_segment(part) for part in (name, *parts))])

    def with_key(self, key: str) -> Api:
        """The same server, asked with another key."""
        return Api(self.url, key)

    def gateway_url(self) -> str:
        """Where model calls are sent: ASSAY_GATEWAY_URL, else the gateway beside this server (8090, or two ports
        above)."""
        told = os.environ.get("ASSAY_GATEWAY_URL")
        if told:
            return told.rstrip("/")
        parts = urlsplit(self.url)
        port = 8090 if parts.port in (None, 8080) else parts.port + 2
        return f"{parts.scheme or 'http'}://{parts.hostname or '127.0.0.1'}:{port}"


def _segment(text: str) -> str:
    return quote(text, safe="")


def _pairs(key: str, value: str | int | float | Sequence[str] | None) -> list[tuple[str, str]]:
    if value is None or value == "":
        return []
    if isinstance(value, (str, int, float)):
        return [(key, str(value))]
    return [(key, one) for one in value]


def _failure(response: httpx.Response) -> ApiFailure:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    said = problem if isinstance(problem, dict) else {}
    detail = str(said.get("detail") or said.get("title") or f"HTTP {response.status_code}")
    match response.status_code:
        case 401 | 403:
            return NotAllowed(detail, status=response.status_code)
        case 404:
            return NotFound(detail, status=404)
        case 502 | 503 | 504:
            return Unreachable(f"The server answered {response.status_code}: {detail}", status=response.status_code)
        case _:
            return Refused(detail, status=response.status_code)
