"""What is embedded of a session: its intent, its actions and its outcome, as three short texts made from its spans.

No model is asked. Personal information is gone before: the collector masks it before anything is stored. What the texts
are made of stands in clustering/facet_texts.py and clustering/signs.py; here they are read, many sessions at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import ibis
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa
import xxhash

from clustering.cleaning import cleaned
from clustering.facet_texts import actions_of, intent_of, outcome_of
from clustering.told import Asked, Called, Spoken, Told
from clustering.traffic import is_trial
from clustering.usual import Facts, Usual, facts_of, signs_beside, usual_of
from core.errors import InvalidInput
from core.records import SpanKind
from core.windows import Window
from evaluators import outcomes, owners, spoken, steps
from store import traces
from store.engine import slot, table_of
from store.session_failures import FAILS_BELOW
from store.tenant import TenantStore, around

AT_ONCE: Final = 4_000  # sessions whose spans, with what tools gave, are in memory at a time
FACETS: Final = ("intent", "actions", "outcome")
FACET_COLUMNS: Final[dict[str, type[pl.DataType]]] = {
    "session_id": pl.String,
    "app": pl.String,
    "release": pl.String,
    "user_id": pl.String,
    "start_ns": pl.Int64,
    "end_ns": pl.Int64,
    "intent": pl.String,  # what the user asked, message by message
    "actions": pl.String,  # the tools in order, documents, the agent's last words
    "outcome": pl.String,  # how it went: signs, and what failed; empty for most
    "failed": pl.Boolean,  # null: not known
    "n_turns": pl.Int64,
    "cost_usd": pl.Float64,  # null: not known
    "duration_ms": pl.Float64,
    "n_tool_errors": pl.Int64,
    "text_hash": pl.Int64,  # XXH64 of the three texts
    "first_user_text": pl.String,
}
_SHOWN_CHARS: Final = 500  # of first_user_text
_ERROR_KINDS: Final = frozenset({SpanKind.TOOL.value, SpanKind.LLM.value})  # whose failures are told as calls


def facets(
    store: TenantStore,
    app: str,
    window: Window | None,
    *,
    session_ids: Sequence[str] | None = None,
    failure: str | None = None,
    as_of_ns: int | None = None,
    usual: Usual | None = None,
) -> pl.DataFrame:
    """One row of FACET_COLUMNS per session of the app that begins in `window`, or per one of `session_ids` that is
    known (whose spans begin in `window`, where both are given), ordered by start_ns and session_id. Each facet has at
    most MOST_CHARS characters, and is empty where the spans say nothing.

    `failed` is told by the session's newest score of the evaluator `failure` (below FAILS_BELOW), where one is named;
    else by its latest outcome score; where there is none, a turn whose root failed says that it did, and nothing says
    that it did not. Signs are told beside what is `usual`; None: among these very sessions. What is held in
    memory at a time is bounded (AT_ONCE sessions). Raises InvalidInput when neither a window nor ids are given.
    """
    return facets_and_usual(
        store, app, window, session_ids=session_ids, failure=failure, as_of_ns=as_of_ns, usual=usual
    )[0]


def facets_and_usual(
    store: TenantStore,
    app: str,
    window: Window | None,
    *,
    session_ids: Sequence[str] | None = None,
    failure: str | None = None,
    as_of_ns: int | None = None,
    usual: Usual | None = None,
    runs: Collection[str] = (),
) -> tuple[pl.DataFrame, Usual]:
    """As `facets`, with what they were held against: what was given, or was learned from these sessions. The trials of
    evaluation `runs` that begin in the window are left out: nobody asked for them who uses the app."""
    whole, seen = facets_and_facts(
        store, app, window, session_ids=session_ids, failure=failure, as_of_ns=as_of_ns, runs=runs
    )
    held = usual_of(seen.values()) if usual is None else usual
    return told_beside(whole, seen, held), held


def facets_and_facts(
    store: TenantStore,
    app: str,
    window: Window | None,
    *,
    session_ids: Sequence[str] | None = None,
    failure: str | None = None,
    as_of_ns: int | None = None,
    runs: Collection[str] = (),
) -> tuple[pl.DataFrame, dict[str, Facts]]:
    """The frame of `facets` without outcome and text_hash, and each session's facts, by which these are told."""
    if session_ids is None and window is None:
        raise InvalidInput("a window or the ids of the sessions are needed", field="window")
    if session_ids is None and window is not None:
        parts = _by_window(store, app, window, as_of_ns, runs)
    else:
        parts = _by_id(session_ids, window)
    seen: dict[str, Facts] = {}
    frames = [_read(store, app, ids, within, failure, as_of_ns, seen) for ids, within in parts]
    return pl.concat([pl.DataFrame(schema=FACET_COLUMNS), *frames]).sort("start_ns", "session_id"), seen


def told_beside(whole: pl.DataFrame, seen: Mapping[str, Facts], usual: Usual) -> pl.DataFrame:
    """The frame with its outcomes, told beside what is usual, and the hashes of its texts."""
    told = [outcome_of(signs_beside(seen[name], usual)) for name in whole["session_id"]]
    hashes = [text_hash(one) for one in zip(whole["intent"], whole["actions"], told, strict=True)]
    return whole.with_columns(outcome=pl.Series(told, dtype=pl.String), text_hash=pl.Series(hashes, dtype=pl.Int64))


def display_text(row: Mapping[str, Any]) -> str:
    """One line by which a person knows a session again: what the user said first, else what the agent did."""
    return row["first_user_text"] or row["actions"] or row["outcome"] or ""


def how_it_went(row: Mapping[str, Any]) -> str:
    """A session's signs, or the agent's last words where it shows none."""
    return row["outcome"] or str(row["actions"] or "").rpartition("\n")[2]


def text_hash(texts: Sequence[str]) -> int:
    """XXH64 over the texts of a session as a signed number: equal ones need no new embedding."""
    found = xxhash.xxh64_digest("\0".join(texts).encode("utf-8", "surrogatepass"))
    return int.from_bytes(found, "big", signed=True)


def _by_window(
    store: TenantStore, app: str, window: Window, as_of_ns: int | None, runs: Collection[str]
) -> Iterator[tuple[list[str], Window | None]]:
    found = owners.beginning_in(store, window, app, as_of_ns).sort("start_ns", "session_id")
    traffic = [not is_trial(name, runs) for name in found["session_id"]] if runs else []
    found = found.filter(pl.Series(traffic, dtype=pl.Boolean)) if runs else found
    for part in found.iter_slices(AT_ONCE):
        yield part["session_id"].to_list(), around(traces.held_in(part, "start_ns", "end_ns"), traces.MARGIN_S)


def _by_id(session_ids: Sequence[str] | None, window: Window | None) -> Iterator[tuple[list[str], Window | None]]:
    ids = list(dict.fromkeys(session_ids or ()))
    for at in range(0, len(ids), AT_ONCE):
        yield ids[at : at + AT_ONCE], window


def _read(
    store: TenantStore,
    app: str,
    ids: list[str],
    window: Window | None,
    failure: str | None,
    as_of_ns: int | None,
    seen: dict[str, Facts],
) -> pl.DataFrame:
    """FACET_COLUMNS of these sessions but for what hangs on others, of which the facts are added to `seen`."""
    owned, within = owners.of_sessions(store, ids, window, as_of_ns)
    if within is None:
        return pl.DataFrame(schema=FACET_COLUMNS)
    read = steps.read(store, owned, within, as_of_ns)
    heads = _heads(read).filter(pl.col("app") == app)
    if heads.is_empty():
        return pl.DataFrame(schema=FACET_COLUMNS)
    heads = heads.join(_texts(read, heads["session_id"].to_list(), seen), on="session_id", how="left")
    heads = heads.join(_failed(store, ids, failure, as_of_ns), on="session_id", how="left")
    broke = pl.col("broke") if failure is None else pl.lit(False)
    failed = pl.coalesce("told", pl.when(broke).then(pl.lit(True)))
    return heads.with_columns(failed=failed).select([pl.col(name).cast(kind) for name, kind in FACET_COLUMNS.items()])


def _heads(read: steps.Steps) -> pl.DataFrame:
    """One row a session: what its spans say of it, and whether the root of a turn failed (`broke`)."""
    called = pl.col("is_model_call")
    cost = pl.col("cost_usd").filter(called)
    heads = read.spans.group_by("target").agg(
        **steps.bounds(),
        **steps.said_by(("app", "release", "user_id")),
        n_turns=pl.col("turn").n_unique(),
        cost_usd=pl.when(cost.count() > 0).then(cost.sum()),
        broke=(pl.col("is_top") & pl.col("failed") & pl.col("parent_span_id").is_null()).any(),
    )
    errors = read.calls.group_by("target").agg(n_tool_errors=pl.col("error").is_not_null().sum())
    took = (pl.col("end_ns") - pl.col("start_ns")).cast(pl.Float64) / 1e6
    return (
        heads.join(errors, on="target", how="left")
        .with_columns(pl.col("n_tool_errors").fill_null(0), duration_ms=pl.when(took >= 0).then(took))
        .rename({"target": "session_id"})
    )


def _texts(read: steps.Steps, ids: Sequence[str], seen: dict[str, Facts]) -> pl.DataFrame:
    told = told_of(read)
    rows = []
    for session_id in ids:
        one = told.get(session_id, Told())
        first = next((text for text in one.said_by("user") if text), "")
        rows.append((session_id, intent_of(one), actions_of(one), cleaned(first, _SHOWN_CHARS)))
        seen[session_id] = facts_of(one)
    kinds = {name: FACET_COLUMNS[name] for name in ("session_id", "intent", "actions", "first_user_text")}
    nothing = {name: pl.lit(None, FACET_COLUMNS[name]) for name in ("outcome", "text_hash")}
    return pl.DataFrame(rows, schema=kinds, orient="row").with_columns(**nothing)


def told_of(read: steps.Steps) -> dict[str, Told]:
    """The sessions' steps as records, by session."""
    messages = _grouped(read.messages.filter(pl.col("role").is_in(["user", "assistant"])), _message)
    calls = _grouped(read.calls, _call)
    models = _grouped(read.spans.filter("is_model_call"), _model)
    agents = _grouped(read.spans.filter(pl.col("kind") == SpanKind.AGENT.value), lambda row: row["name"])
    errors = _grouped(read.spans.filter("failed", ~pl.col("kind").is_in(sorted(_ERROR_KINDS))), _error)
    documents = _grouped(read.documents, _documents)
    releases = dict(read.spans.group_by("target").agg(**steps.said_by(("release",))).iter_rows())
    ends = read.spans.filter("is_top").group_by("target", maintain_order=True).agg(pl.col("failed").last())
    broken = dict(ends.iter_rows())
    turns = read.spans.group_by("target").agg(pl.col("turn").n_unique())
    return {
        name: Told(
            messages=tuple(messages[name]),
            calls=tuple(calls[name]),
            models=tuple(models[name]),
            agents=tuple(agents[name]),
            retrieved=tuple(tuple(document for document, _ in found) for found in documents[name]),
            texts=tuple(one for found in documents[name] for one in found),
            release=releases.get(name),
            errors=tuple(errors[name]),
            n_turns=n_turns,
            broken=bool(broken.get(name)),
        )
        for name, n_turns in turns.iter_rows()
    }


def _grouped(frame: pl.DataFrame, made: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in frame.iter_rows(named=True):
        found[row["target"]].append(made(row))
    return found


def _message(row: Mapping[str, Any]) -> Spoken:
    return Spoken(role=row["role"], turn=row["turn"], text=row["text"])


def _call(row: Mapping[str, Any]) -> Called:
    took = None if row["end_ns"] is None or row["start_ns"] is None else (row["end_ns"] - row["start_ns"]) / 1e6
    return Called(
        turn=row["turn"],
        name=row["name"] or "unknown",
        arguments=spoken.arguments_of(row["arguments"]),
        result=row["result"],
        error=row["error"],
        duration_ms=took,
    )


def _model(row: Mapping[str, Any]) -> Asked:
    return Asked(
        turn=row["turn"],
        asked=row["model_request"],
        answered=row["model"],
        duration_ms=None if row["duration_ns"] is None else row["duration_ns"] / 1e6,
        input_tokens=row["input_tokens"],
        finish_reasons=row["finish_reasons"],
        error=row["error"],
    )


def _error(row: Mapping[str, Any]) -> str:
    return f"{row['name']} failed: {row['error']}"


def _documents(row: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Each document's id, and a hash of its text."""
    found = spoken.documents_of(row["documents"])
    return tuple((name, xxhash.xxh64_intdigest(text.encode("utf-8", "surrogatepass"))) for name, text, _ in found)


def _failed(store: TenantStore, ids: Sequence[str], failure: str | None, as_of_ns: int | None) -> pl.DataFrame:
    """session_id and `told`: whether the score that tells says that the session failed; null where there is none."""
    if failure is None:
        found = outcomes.latest(store, ids, as_of_ns).select("session_id", value="outcome")
    else:
        given = {"wanted_sessions": pa.table({"session_id": pa.array(list(ids), pa.string())})}
        scores = store.frame(_scored(), None, as_of_ns, values={"evaluator": failure}, given=given)
        newest = scores.sort("at_ns", "ingested_at", "score_id", nulls_last=False)
        found = newest.group_by("session_id", maintain_order=True).agg(pl.col("value").last())
    value = pl.when(pl.col("value").is_finite()).then("value")
    return found.select("session_id", told=value < FAILS_BELOW)


@lru_cache(maxsize=1)
def _scored() -> ir.Table:
    """What an evaluator said of the wanted sessions as a whole."""
    scores = table_of("scores")
    rows = scores.semi_join(ibis.table({"session_id": "string"}, name="wanted_sessions"), "session_id")
    rows = rows.filter(rows.evaluator == slot("evaluator", "string"), rows.target.isin(["session", "example"]))
    return rows.select("score_id", "session_id", "tenant", "at_ns", "ingested_at", "value")


__all__ = [
    *("FACETS", "FACET_COLUMNS", "FAILS_BELOW"),
    *("display_text", "facets", "facets_and_facts", "facets_and_usual"),
    *("how_it_went", "text_hash", "told_beside", "told_of"),
]
