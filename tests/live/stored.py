"""What Assay's HTTP API answers about one live program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from tests.live.running import Ran
from tests.stack import Stack
from tests.waiting import wait_until

VISIBLE_WITHIN_S = 60  # a machine under load, or a first start that still compiles its scanner
MODEL_KINDS = ("LLM", "EMBEDDING")
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """All spans of one app, read once they are all there."""

    client: httpx.Client
    app: str
    spans: list[Row]

    def get(self, path: str, **query: object) -> Any:
        """The JSON of GET /api/v1`path`; fails showing the problem when the answer is not 200."""
        return get(self.client, path, **query)

    def of_kind(self, *kinds: str) -> list[Row]:
        """Spans of these kinds in order of start."""
        return [span for span in self.spans if span["kind"] in kinds]

    @property
    def answered(self) -> list[Row]:
        """The model calls that count and were not refused."""
        return [s for s in self.of_kind(*MODEL_KINDS) if s["usage_counted"] and s["status"] != "error"]

    @property
    def traces(self) -> list[Row]:
        """The app's traces, oldest first."""
        rows: list[Row] = self.get("/traces", app=self.app, since="1d")["items"]
        return sorted(rows, key=lambda row: row["start_ns"])

    def full(self, span: Row) -> Row:
        """One span with its messages, attributes, events and links."""
        found: Row = self.get(f"/traces/{span['trace_id']}/spans/{span['span_id']}")
        return found


def get(client: httpx.Client, path: str, **query: object) -> Any:
    """The JSON of GET /api/v1`path`."""
    answer = client.get(f"/api/v1{path}", params={name: str(value) for name, value in query.items()})
    assert answer.status_code == httpx.codes.OK, f"{answer.request.url}: {answer.status_code} {answer.text[:1_000]}"
    return answer.json()


def stored(stack: Stack, ran: Ran, *, since: str = "1d") -> Stored:
    """Waits until exactly the program's spans are there; one too many fails as well."""
    client = stack.client()

    def n_spans() -> int:
        return int(get(client, "/spans/count", app=ran.app, since=since)["count"])

    wait_until(lambda: n_spans() >= ran.n_spans, VISIBLE_WITHIN_S, f"{ran.n_spans} spans of {ran.app}")
    assert n_spans() == ran.n_spans

    def n_in_traces() -> int:
        traces = get(client, "/traces", app=ran.app, since=since, limit=1_000)["items"]
        return sum(int(trace["n_spans"]) for trace in traces)

    # Turns are derived in a commit of their own, shortly after the spans'.
    wait_until(lambda: n_in_traces() >= ran.n_spans, VISIBLE_WITHIN_S, f"the traces of {ran.app}")
    rows: list[Row] = []
    cursor: str | None = None
    while True:
        query = {"app": ran.app, "since": since, "limit": 1_000} | ({"cursor": cursor} if cursor else {})
        page = get(client, "/spans", **query)
        rows += page["items"]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert len({(row["trace_id"], row["span_id"]) for row in rows}) == ran.n_spans
    return Stored(client=client, app=ran.app, spans=sorted(rows, key=lambda row: row["start_ns"]))


def assert_tree_connected(spans: list[Row]) -> None:
    """Every trace has exactly one root, and every other span's parent is there."""
    by_trace: dict[str, list[Row]] = {}
    for span in spans:
        by_trace.setdefault(span["trace_id"], []).append(span)
    for trace_id, members in by_trace.items():
        ids = {span["span_id"] for span in members}
        parents = [span["parent_span_id"] for span in members]
        assert parents.count(None) == 1, trace_id
        assert {parent for parent in parents if parent} <= ids, trace_id
