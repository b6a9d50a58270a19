"""One lake for many questions: two tenants with the same ids, apps and releases that are missing or no ASCII, sessions
that begin at one moment, scores that replace each other, are no number, or come at the last nanosecond of an hour."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from core.clock import NS_PER_S
from core.windows import Window, day_of
from store.lake import Lake
from store.schema import SCORES
from store.tenant import TenantStore
from tests.store.build import T0, fill, row, span, trace
from tests.store.places import store_at

APP: Final = "größe 🛫"
HOUR_NS: Final = 3600 * NS_PER_S
EDGE_NS: Final = (T0 // HOUR_NS + 1) * HOUR_NS  # the first full hour after T0
WINDOW: Final = Window(start_ns=T0 - HOUR_NS, end_ns=T0 + 12 * HOUR_NS)
DIMS: Final = ("release", "variant", "environment")


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A session: what its spans say, and where its turns begin."""

    number: int
    name: str
    app: str | None
    release: str | None
    variant: str | None
    environment: str | None
    user: str | None
    begins_ns: int
    n_turns: int
    models: tuple[str | None, ...]
    tools: tuple[str, ...]
    country: str | None

    @property
    def traces(self) -> list[str]:
        """The ids of its turns, in order."""
        return [trace(self.number * 10 + turn + 1) for turn in range(self.n_turns)]


def visits() -> list[Visit]:
    """Sixteen sessions of the tenant acme, two of them at each moment."""
    return [
        Visit(
            number=n,
            name={3: "sé 😀'%_3", 7: "run_1.ex.0", 8: "run_10"}.get(n, f"s{n}"),
            app=(APP, "airline", None)[(n // 2) % 3],
            release=("r1", "r2", None)[n % 3],
            variant=("control", None, "tréatment")[n % 4 % 3],
            environment="prod" if n % 2 else None,
            user=None if n == 4 else f"u{n % 5}",
            begins_ns=EDGE_NS + n // 2 * 1800 * NS_PER_S - (1 if n in (7, 12) else 0),
            n_turns=1 + n % 3,
            models=(("gpt-4o", None, "模型"), ("b", "a", "b"), (None,))[n % 3],
            tools=(("search", "book"), ("search",), ())[n % 3],
            country=("DE", None, "ÑÜ", "")[n % 4],
        )
        for n in range(16)
    ]


def spans_of(one: Visit, tenant: str = "acme") -> Iterator[dict[str, Any]]:
    """A root with a country, model calls and tools of each turn, of which the first tool of every third fails."""
    said = {name: getattr(one, name) for name in ("app", *DIMS)}
    for turn, trace_id in enumerate(one.traces):
        at_ns = one.begins_ns + turn * 60 * NS_PER_S
        same = {**said, "tenant": tenant, "trace_id": trace_id, "session_id": one.name, "user_id": one.user}
        first = (one.number * 10 + turn + 1) * 100
        attributes = {} if one.country is None else {"country": one.country}
        yield row(**same, span_id=first, kind="AGENT", start_ns=at_ns, ms=100 * (one.number + 1), attributes=attributes)
        for n, model in enumerate(one.models):
            usage: dict[str, Any] = {"usage_counted": True, "input_tokens": 10 * (n + 1), "output_tokens": None}
            usage |= {"cost_usd": None if one.number % 4 == 3 else Decimal("0.000000001") * (one.number + 1)}
            at = {"start_ns": at_ns + n + 1, "parent": first, "ms": 5}
            yield row(**same, **usage, **at, span_id=first + 10 + n, kind="LLM", model_request=model)
        for n, tool in enumerate(one.tools):
            failed = {"status_code": 2} if n == 0 and one.number % 3 == 0 else {}
            at = {"start_ns": at_ns + 10 + n, "parent": first, "ms": 5}
            yield row(**same, **failed, **at, span_id=first + 20 + n, kind="TOOL", tool_name=tool)


def tied() -> list[list[dict[str, Any]]]:
    """Sessions whose spans of one moment came in different commits: what says nothing came first; turns of two releases
    begin at once; and the later one says another app."""
    at_ns = EDGE_NS + 5 * HOUR_NS
    mute = row(trace_id=900, span_id=9001, parent=9000, session_id="tied", start_ns=at_ns)
    said = row(trace_id=900, span_id=9000, session_id="tied", start_ns=at_ns, app=APP, release="r2", kind="AGENT")
    late = row(trace_id=901, span_id=9010, session_id="tied", start_ns=at_ns + 1, app="airline", release="r1")
    same: dict[str, Any] = {"session_id": "twins", "start_ns": at_ns, "app": APP, "kind": "AGENT"}
    twins = [
        row(**same, trace_id=911, span_id=9110, release="r1", attributes={"country": "FR"}),
        row(**same, trace_id=910, span_id=9100, release="r2", attributes={"country": "DE"}),
    ]
    return [[mute, twins[0]], [said, twins[1]], [late]]


def fill_busy(lake: Lake) -> None:
    """The visits of both tenants, each whole in one of two commits, with what is tied and a trace of no session."""
    for part in (visits()[:8], visits()[8:]):
        fill(lake, [given for tenant in ("acme", "globex") for one in part for given in spans_of(one, tenant)])
    alone = row(trace_id=999, span_id=9990, start_ns=EDGE_NS, app=APP, release="r1", kind="AGENT", ms=7)
    for commit in ([alone], *tied()):
        fill(lake, commit)


def score(evaluator: str, kind: str, of: str, value: float | None, at_ns: int, **more: Any) -> dict[str, Any]:
    """A row of SCORES of the session `of`, of the turn where it is a trace id, of the span where it is TRACE/SPAN."""
    is_span, is_turn = "/" in of, len(of) == 32
    named: dict[str, Any] = {"target": "span" if is_span else "turn" if is_turn else "session"}
    if is_span or is_turn:
        named |= {"trace_id": of[:32], "span_id": of[33:] or None}
    else:
        named |= {"session_id": of}
    whole = {"tenant": "acme", "date": day_of(at_ns), "evaluator": evaluator, "evaluator_kind": kind, "at_ns": at_ns}
    whole |= {"evaluator_version": "1", "value": value, "score_id": f"{evaluator} {kind} {of} {at_ns}"}
    return whole | named | more


def append(store: TenantStore, rows: Sequence[dict[str, Any]]) -> None:
    """One commit of scores, whatever the doors would say of them."""
    store.append("scores", pa.Table.from_pylist(list(rows), schema=SCORES))


def span_of(turn: str, number: int) -> str:
    """The name of a span of a turn, as scores of spans have it."""
    return f"{turn}/{span(number)}"


def busy_at(folder: Path) -> tuple[TenantStore, TenantStore]:
    """A filled lake on the engine that is chosen: the stores of acme and of globex."""
    lake, whole = store_at(folder)
    fill_busy(lake)
    return whole.tenant("acme"), whole.tenant("globex")


def searched(number: int, session: str, found: list[dict[str, str]] | None, at_ns: int) -> dict[str, Any]:
    """A retriever's span of the app that found these documents; None: it does not say."""
    told = None if found is None else json.dumps(found, ensure_ascii=False)
    return row(
        trace_id=number, span_id=number, app=APP, kind="RETRIEVER", session_id=session, documents=told, start_ns=at_ns
    )
