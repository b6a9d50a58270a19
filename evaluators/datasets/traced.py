"""Examples and prompts from traces: what users asked in stored sessions, and what the model was told with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import ibis
import ibis.expr.types as ir
import polars as pl

from core.errors import InvalidInput
from core.windows import Window
from evaluators import reading, spoken
from evaluators.datasets.contamination import Prompt
from evaluators.datasets.filtering import Filter
from evaluators.datasets.records import DEFAULT_SPLIT, MOST_TURNS, Example, Source
from evaluators.records import Expected, Trajectory
from evaluators.sessions import session_frame
from store.engine import slot, table_of
from store.scores import ScoresAsked, list_scores
from store.tenant import TenantStore

MOST_SESSIONS: Final = 10_000
_MOST_SCORES: Final = 200_000
_MOST_CALLS: Final = 300  # of which the system messages are read
_INSTRUCTIONS: Final = "gen_ai.system_instructions"
_AT_ONCE: Final = 200


def chosen_sessions(
    store: TenantStore, window: Window, *, app: str | None, where: Filter | None, limit: int
) -> list[str]:
    """Ids of the sessions that begin in the window and pass, the latest first. Raises InvalidInput over the limit."""
    if not 1 <= limit <= MOST_SESSIONS:
        raise InvalidInput(f"limit is a number from 1 to {MOST_SESSIONS:,}", field="limit")
    frame = session_frame(store, window, app=app)
    for name in sorted(where.evaluators) if where else ():
        frame = frame.join(_scores(store, window, name), on="session_id", how="left")
    found = []
    for row in frame.sort("start_ns", "session_id", descending=True, nulls_last=True).iter_rows(named=True):
        if where is None or where.passes(row):
            found.append(row["session_id"])
            if len(found) == limit:
                break
    return found


def examples_of(
    store: TenantStore,
    *,
    session_ids: Sequence[str] = (),
    trace_ids: Sequence[str] = (),
    within: Window | None = None,
    with_answer: bool = False,
    split: str = DEFAULT_SPLIT,
) -> Iterator[Example]:
    """An example of each session and trace in which a user said something, in that order; unknown ones are left out.

    `with_answer`: what the agent said at the end is what is expected.
    """
    for names, kind in ((session_ids, "session_ids"), (trace_ids, "trace_ids")):
        for start in range(0, len(names), _AT_ONCE):
            wanted = list(names[start : start + _AT_ONCE])
            found = reading.trajectories(store, **{kind: wanted}, within=within)  # type: ignore[arg-type]
            for name in wanted:
                if name in found and (made := _example(name, kind, found[name], with_answer, split)) is not None:
                    yield made


def prompts_of_app(store: TenantStore, window: Window, app: str) -> list[Prompt]:
    """The system instructions of an app's model calls in the window, each text once, with where it stands."""
    values: dict[str, object] = {"app": app, "from_ns": window.start_ns, "until_ns": window.end_ns}
    told = store.frame(_instructions(), window, values=values)
    found: dict[str, Prompt] = {}
    for row in told.iter_rows(named=True):
        text = _plain(row["instructions"])
        place = f"trace {row['trace_id']}, span {row['span_id']}: system instructions of {row['n']:,} calls"
        found.setdefault(text, Prompt(place=place, text=text))
    for row in store.frame(_inputs(), window, values=values).iter_rows(named=True):
        for said in spoken.messages_of(row["input"]):
            if said.role in ("system", "developer") and said.text:
                place = f"trace {row['trace_id']}, span {row['span_id']}: system message"
                found.setdefault(said.text, Prompt(place=place, text=said.text))
    return list(found.values())


def _example(name: str, kind: str, one: Trajectory, with_answer: bool, split: str) -> Example | None:
    turns = tuple(each.text for each in one.messages if each.role == "user" and each.text.strip())[:MOST_TURNS]
    if not turns:
        return None
    session = name if kind == "session_ids" else one.session_id
    trace = one.trace_ids[0] if one.trace_ids else None
    return Example(
        example_id="ex_" + hashlib.sha256(f"{kind}\0{name}".encode("utf-8", "surrogatepass")).hexdigest()[:20],
        turns=turns,
        expected=Expected(answer=one.answer if with_answer else None),
        split=split,
        metadata={key: value for key in ("app", "release", "variant") if (value := getattr(one, key)) is not None},
        source=Source(trace_id=trace, session_id=session, user_id=one.user_id),
    )


def _scores(store: TenantStore, window: Window, evaluator: str) -> pl.DataFrame:
    """session_id, `score:NAME` and `label:NAME`: the latest score of each session, whenever it was posted."""
    asked = Window(start_ns=window.start_ns, end_ns=max(window.end_ns, window.start_ns + 1))
    late = Window(start_ns=asked.start_ns, end_ns=2**63 - 1)
    found = list_scores(store, ScoresAsked(window=late, evaluator=evaluator, limit=_MOST_SCORES))
    latest = found.filter(pl.col("session_id").is_not_null()).unique("session_id", keep="first", maintain_order=True)
    return latest.select(
        "session_id", pl.col("value").alias(f"score:{evaluator}"), pl.col("label").alias(f"label:{evaluator}")
    )


@lru_cache(maxsize=1)
def _instructions() -> ir.Table:
    calls = (
        _calls()
        .mutate(instructions=lambda t: t.attributes.get(_INSTRUCTIONS))
        .filter(lambda t: t.instructions.notnull())
    )
    place = ibis.struct({"trace_id": calls.trace_id, "span_id": calls.span_id})
    first = ibis.struct({"at": calls.start_ns, "trace": calls.trace_id, "span": calls.span_id})
    rows = calls.group_by("instructions").agg(tenant=calls.tenant.max(), place=place.argmin(first), n=calls.count())
    rows = rows.order_by(ibis.desc("n"), "instructions").limit(1000)
    told = {name: rows.place[name] for name in ("trace_id", "span_id")}
    return rows.select("instructions", "tenant", "n", **told)


@lru_cache(maxsize=1)
def _inputs() -> ir.Table:
    calls = _calls()
    calls = (
        calls.filter(calls.input.notnull()).order_by(ibis.desc("start_ns"), "trace_id", "span_id").limit(_MOST_CALLS)
    )
    return calls.select("tenant", "trace_id", "span_id", "input")


def _calls() -> ir.Table:
    spans = table_of("spans")
    inside = (spans.start_ns >= slot("from_ns", "int64")) & (spans.start_ns < slot("until_ns", "int64"))
    return spans.filter(inside, spans.app == slot("app", "string"), spans.kind.isin(("LLM", "AGENT")))


def _plain(text: str) -> str:
    """The text in system instructions, which are a list of parts by the conventions."""
    try:
        said: Any = json.loads(text)
    except ValueError:
        return text
    parts = said if isinstance(said, list) else [said]
    told = [one.get("content") or one.get("text") for one in parts if isinstance(one, dict)]
    return "\n".join(one for one in told if isinstance(one, str)) or text
