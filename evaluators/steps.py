"""What happened in many sessions or traces, as frames: their spans, messages, tool calls and documents.

Which span counts as what:

* A turn is a trace; the turns of a session are in order of their first span.
* A model call is a model span (LLM, embedding, reranker) whose usage counts: of a call that an agent and a gateway both
  report, the gateway's. In rollups it is the same (collector/leaves.py); here the whole trace is looked at.
* A tool call is a TOOL span, unless its parent is a TOOL span of the same tool or call. Where a target has none at all,
  the tool calls are those that models asked for in their messages.
* Messages are what the top spans of a trace say (those whose parent is not in it). Where these say nothing, the input
  of the first and the output of the last of the highest spans that speak for an agent (AGENT, CHAIN, LLM).
* Documents are those of RETRIEVER spans, of RERANKER spans where there is no retriever.
* Of several spans with one id, the one stored last.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import ibis
import ibis.expr.types as ir
import polars as pl

from core.records import MODEL_KINDS, SpanKind
from core.windows import Window
from evaluators import spoken
from store.derive import MOST_TOKENS, MOST_USD, USABLE_START_NS
from store.engine import table_of
from store.said import SPEAKERS
from store.tenant import TenantStore

_MODELS: Final = sorted(kind.value for kind in MODEL_KINDS)
_ID: Final = ["trace_id", "span_id"]
_SILENT_KINDS: Final = ("TOOL", "RETRIEVER", "EMBEDDING", "RERANKER", "GUARDRAIL", "EVALUATOR", "MEMORY", "PROMPT")
_ASKS_TOOLS: Final = r"tool_call|toolCall|tool_use|function_call|toolName"  # in the output of a model
_MOST_DEEP: Final = 200

_LIGHT: Final = (
    *("tenant", "seq", "trace_id", "span_id", "parent_span_id", "name", "kind", "start_ns", "duration_ns"),
    *("status_code", "status_message", "error_type", "app", "release", "variant", "environment", "user_id"),
    *("session_id", "finish_reasons", "tool_name", "tool_call_id", "input_tokens", "output_tokens", "usage_counted"),
    *("ttft_ms", "cost_usd", "documents", "model_request"),
)
_OWNERS: Final = {"target": pl.String, "trace_id": pl.String, "turn": pl.Int64}
_MESSAGES: Final = {
    "target": pl.String,
    "turn": pl.Int64,
    "role": pl.String,
    "text": pl.String,
    "at_ns": pl.Int64,
    "span_id": pl.String,
}
CALLS: Final = {
    "target": pl.String,
    "turn": pl.Int64,
    "trace_id": pl.String,
    "span_id": pl.String,
    "name": pl.String,
    "arguments": pl.String,
    "result": pl.String,
    "error": pl.String,
    "start_ns": pl.Int64,
    "end_ns": pl.Int64,
}
_DOCUMENTS: Final = {"target": pl.String, "turn": pl.Int64, "documents": pl.String}


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Frames with a column `target` and a column `turn` (from 0), each in order of target, turn and time.

    `spans` has all spans with `end_ns` (null where the duration is not known), `error`, and the marks `is_top`,
    `is_model_call`; `calls` the tool calls, arguments and result as they were written; `documents` JSON as it was
    written, one row a retrieval.
    """

    spans: pl.DataFrame
    messages: pl.DataFrame
    calls: pl.DataFrame
    documents: pl.DataFrame


def read(
    store: TenantStore, owners: pl.DataFrame, window: Window | None, as_of_ns: int | None, *, results: bool = True
) -> Steps:
    """The steps of the traces in `owners` (target, trace_id, turn), whose spans begin in `window`. Without `results`
    what tools gave is left unread, and null."""
    wanted = owners.select("trace_id").unique().to_arrow()
    spans = marked(store.frame(_light(results), window, as_of_ns, given={"wanted": wanted}))
    spans = spans.join(owners.select(list(_OWNERS)), on="trace_id").sort("target", "turn", "start_ns", "seq", "span_id")
    own_calls = spans.filter("is_tool_call")
    toolless = spans.join(own_calls.select("target").unique(), on="target", how="anti")
    asked = _unsaid(spans, toolless)
    if asked.height:
        told = store.frame(_texts(), window, as_of_ns, given={"asked": asked.to_arrow()})
        told = told.unique(_ID, keep="any").select(*_ID, more_in="input", more_out="output")
        spans = spans.join(told, on=_ID, how="left", maintain_order="left").with_columns(
            input=pl.coalesce("input", "more_in"), output=pl.coalesce("output", "more_out")
        )
    toolless = spans.join(own_calls.select("target").unique(), on="target", how="anti")
    return Steps(
        spans=spans,
        messages=_messages(spans),
        calls=pl.concat([_calls_of_spans(spans), _calls_of_messages(store, toolless, window, as_of_ns, results)]).sort(
            "target", "turn", maintain_order=True
        ),
        documents=_documents(spans),
    )


def marked(spans: pl.DataFrame) -> pl.DataFrame:
    """Each span once, with `tool`, `end_ns`, `error`, and what it counts as."""
    spans = spans.sort("seq", nulls_last=False, maintain_order=True).unique(_ID, keep="last", maintain_order=True)
    is_model = pl.col("kind").is_in(_MODELS)
    measured = pl.col("input_tokens").is_not_null() | pl.col("output_tokens").is_not_null()
    spans = spans.with_columns(
        tool=pl.coalesce("tool_name", pl.col("name").str.strip_prefix("execute_tool ")),
        end_ns=pl.col("start_ns") + pl.col("duration_ns"),
        measured=measured,
        failed=pl.col("status_code").fill_null(0) == 2,
        cost_usd=pl.col("cost_usd").cast(pl.Float64),
    )
    message = pl.when(pl.col("status_message").str.strip_chars() != "").then("status_message")
    said = pl.coalesce(message, "error_type")
    parents = spans.select(
        "trace_id",
        parent_span_id="span_id",
        parent_kind="kind",
        parent_tool="tool",
        parent_call="tool_call_id",
        has_parent=pl.lit(True),
    )
    inside = spans.filter(is_model & pl.col("parent_span_id").is_not_null()).group_by("trace_id", "parent_span_id")
    inside_of = inside.agg(holds=pl.lit(True), holds_measured=pl.col("measured").any())
    inside_of = inside_of.rename({"parent_span_id": "span_id"})
    spans = spans.join(parents, on=["trace_id", "parent_span_id"], how="left", maintain_order="left")
    spans = spans.join(inside_of, on=_ID, how="left", maintain_order="left")
    wrapper = pl.when("measured").then("holds_measured").otherwise("holds").fill_null(False)
    same = (pl.col("parent_tool") == pl.col("tool")) | (pl.col("parent_call") == pl.col("tool_call_id"))
    repeats = ((pl.col("parent_kind") == pl.col("kind")) & same.fill_null(False)).fill_null(False)
    tokens = {name: _between(name, 0, MOST_TOKENS) for name in ("input_tokens", "output_tokens")}
    return spans.with_columns(
        is_top=pl.col("has_parent").is_null(),
        is_model_call=is_model & pl.col("usage_counted").fill_null(False) & ~wrapper,
        is_tool_call=(pl.col("kind") == SpanKind.TOOL.value).fill_null(False) & ~repeats,
        error=pl.when("failed").then(pl.coalesce(said, pl.lit("error"))).otherwise("error_type"),
        cost_usd=_between("cost_usd", 0, MOST_USD),
        ttft_ms=pl.when(pl.col("ttft_ms").is_finite() & (pl.col("ttft_ms") >= 0)).then("ttft_ms"),
        **tokens,
    ).drop("has_parent", "parent_tool", "parent_call", "holds", "holds_measured", "measured")


def bounds() -> dict[str, pl.Expr]:
    """`start_ns` and `end_ns` over the spans of a group: times that can be no measurement count where no other is."""
    start = pl.col("start_ns")
    end = pl.coalesce("end_ns", "start_ns")
    usable = start.is_between(USABLE_START_NS[0], USABLE_START_NS[1] - 1)
    sane_end = end.is_between(USABLE_START_NS[0], USABLE_START_NS[1] - 1)
    return {
        "start_ns": pl.coalesce(start.filter(usable).min(), start.min()),
        "end_ns": pl.coalesce(end.filter(sane_end).max(), end.max()),
    }


def said_by(names: Sequence[str]) -> dict[str, pl.Expr]:
    """Columns over the spans of a group: what its first top span says, else its first span that says something."""
    return {
        name: pl.coalesce(pl.col(name).filter("is_top").drop_nulls().first(), pl.col(name).drop_nulls().first())
        for name in names
    }


def _between(name: str, low: float, high: float) -> pl.Expr:
    return pl.when(pl.col(name).is_between(low, high)).then(name)


def _unsaid(spans: pl.DataFrame, toolless: pl.DataFrame) -> pl.DataFrame:
    """The spans whose texts have to be read on top: trace_id, span_id, and whether input and output are wanted."""
    speaks = pl.col("is_top") & ~pl.col("kind").is_in(_SILENT_KINDS)
    heard = spans.group_by("trace_id").agg(
        no_in=~(speaks & pl.col("input").is_not_null()).any(), no_out=~(speaks & pl.col("output").is_not_null()).any()
    )
    lower = spans.filter(pl.col("kind").is_in(SPEAKERS), pl.col("parent_span_id").is_not_null())
    lower = lower.join(heard.filter(pl.col("no_in") | pl.col("no_out")), on="trace_id")
    remote = spans.filter(speaks, pl.col("parent_span_id").is_not_null())
    asking = toolless.filter(pl.col("kind") == "LLM", pl.col("output").is_null())
    true, false = pl.lit(True), pl.lit(False)
    parts = [
        lower.select(*_ID, want_in="no_in", want_out="no_out"),
        remote.select(*_ID, want_in=true, want_out=true),
        asking.select(*_ID, want_in=false, want_out=true),
    ]
    return pl.concat(parts).group_by(_ID).agg(pl.col("want_in", "want_out").any())


def _messages(spans: pl.DataFrame) -> pl.DataFrame:
    """What users and the agent said, in order."""
    speaks = (pl.col("is_top") & ~pl.col("kind").is_in(_SILENT_KINDS)) | pl.col("kind").is_in(SPEAKERS)
    told = spans.filter(speaks, pl.col("input").is_not_null() | pl.col("output").is_not_null())
    names = ("target", "turn", "trace_id", "span_id", "parent_span_id", "start_ns", "end_ns", "is_top")
    rows = told.select(*names, "input", "output", "kind")
    by_turn: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for row in rows.iter_rows(named=True):
        by_turn[row["target"], row["turn"]].append(row)
    unheard = [row["trace_id"] for turn in by_turn.values() if _needs_depth(turn) for row in turn[:1]]
    depth = _depths(spans.filter(pl.col("trace_id").is_in(unheard))) if unheard else {}
    found = [(target, turn, *one) for (target, turn), rows_of in by_turn.items() for one in _spoken_in(rows_of, depth)]
    return pl.DataFrame(found, schema=_MESSAGES, orient="row")


def _needs_depth(rows: list[dict[str, Any]]) -> bool:
    tops = [row for row in rows if row["is_top"]]
    return not any(row["input"] is not None for row in tops) or not any(row["output"] is not None for row in tops)


def _spoken_in(rows: list[dict[str, Any]], depth: dict[tuple[str, str], int]) -> list[tuple[str, str, int | None, str]]:
    """The messages of one turn: role, text, time, span."""
    tops = [row for row in rows if row["is_top"]]
    asking = [row for row in tops if row["input"] is not None] or _highest(rows, "input", depth)[:1]
    saying = [row for row in tops if row["output"] is not None]
    if not saying:
        saying = sorted(_highest(rows, "output", depth), key=_ended)[-1:]
    heard = [
        ("user", text, row["start_ns"], row["span_id"]) for row in asking for text in spoken.user_texts(row["input"])
    ]
    said = [("assistant", spoken.answer_text(row["output"]), _ended(row), row["span_id"]) for row in saying]
    found: list[tuple[str, str, int | None, str]] = []
    seen: set[tuple[str, str]] = set()
    for role, text, at_ns, span_id in sorted([*heard, *said], key=lambda one: one[2]):
        if text and (role, text) not in seen:
            seen.add((role, text))
            found.append((role, text, at_ns, span_id))
    return found


def _highest(rows: list[dict[str, Any]], name: str, depth: dict[tuple[str, str], int]) -> list[dict[str, Any]]:
    told = [row for row in rows if row[name] is not None]
    least = min((depth.get((row["trace_id"], row["span_id"]), 0) for row in told), default=0)
    return [row for row in told if depth.get((row["trace_id"], row["span_id"]), 0) == least]


def _ended(row: dict[str, Any]) -> int:
    end = row["end_ns"]
    return int(row["start_ns"] if end is None else end)


def _depths(spans: pl.DataFrame) -> dict[tuple[str, str], int]:
    """How far below the top of its trace each span is; a loop of parents ends at _MOST_DEEP."""
    parent = {(trace, span): up for trace, span, up in spans.select(*_ID, "parent_span_id").iter_rows()}
    found = {}
    for trace, span in parent:
        n, at = 0, span
        while n < _MOST_DEEP and (up := parent.get((trace, at))) is not None and (trace, up) in parent:
            n, at = n + 1, up
        found[trace, span] = n
    return found


def _calls_of_spans(spans: pl.DataFrame) -> pl.DataFrame:
    calls = spans.filter("is_tool_call")
    return calls.select(
        *("target", "turn", "trace_id", "span_id"),
        name="tool",
        arguments="input",
        result="output",
        error="error",
        start_ns="start_ns",
        end_ns="end_ns",
    ).cast(CALLS)  # type: ignore[arg-type]


def _calls_of_messages(
    store: TenantStore, toolless: pl.DataFrame, window: Window | None, as_of_ns: int | None, results: bool
) -> pl.DataFrame:
    """The tool calls that models asked for, in targets without spans of tools, with the answers of later messages."""
    asking = toolless.filter(pl.col("kind") == "LLM", pl.col("output").str.contains(_ASKS_TOOLS))
    asking = asking.filter((pl.col("parent_kind") != "LLM").fill_null(True))
    if asking.is_empty():
        return pl.DataFrame(schema=CALLS)
    answers = _answers(store, toolless, asking, window, as_of_ns) if results else {}
    return pl.DataFrame(list(_asked_for(asking, answers)), schema=CALLS, orient="row")


def _answers(
    store: TenantStore, toolless: pl.DataFrame, asking: pl.DataFrame, window: Window | None, as_of_ns: int | None
) -> dict[tuple[str, str], str]:
    """What tools answered, by target and call id, as the inputs of model calls repeat it."""
    later = toolless.filter(pl.col("kind") == "LLM").join(asking.select("target").unique(), on="target", how="semi")
    wanted = later.select(*_ID, want_in=pl.lit(True), want_out=pl.lit(False)).unique()
    told = store.frame(_texts(), window, as_of_ns, given={"asked": wanted.to_arrow()})
    inputs = later.select("target", *_ID).join(told.select(*_ID, "input"), on=_ID).drop_nulls("input")
    answers: dict[tuple[str, str], str] = {}
    for target, text in inputs.select("target", "input").iter_rows():
        for message in spoken.messages_of(text):
            answers |= {(target, call_id): _text(answer) for call_id, answer in message.results if call_id}
    return answers


def _asked_for(asking: pl.DataFrame, answers: dict[tuple[str, str], str]) -> Iterator[tuple[Any, ...]]:
    seen: set[tuple[str, str]] = set()
    names = ("target", "turn", "trace_id", "span_id", "start_ns", "end_ns", "output")
    for target, turn, trace_id, span_id, start_ns, end_ns, output in asking.select(names).iter_rows():
        for call in (call for message in spoken.messages_of(output) for call in message.calls):
            if call.call_id is not None and (trace_id, call.call_id) in seen:
                continue
            seen |= {(trace_id, call.call_id)} if call.call_id is not None else set()
            result = answers.get((target, call.call_id or ""))
            at_ns = start_ns if end_ns is None else end_ns
            yield (target, turn, trace_id, span_id, call.name, _text(call.arguments), result, None, at_ns, None)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else spoken.json_text(value)


def _documents(spans: pl.DataFrame) -> pl.DataFrame:
    told = spans.filter(pl.col("documents").is_not_null())
    found = told.filter(pl.col("kind") == "RETRIEVER", (pl.col("parent_kind") != "RETRIEVER").fill_null(True))
    ranked = told.filter(pl.col("kind") == "RERANKER").join(found.select("target").unique(), on="target", how="anti")
    return pl.concat([one.select(list(_DOCUMENTS)) for one in (found, ranked)]).sort(
        "target", "turn", maintain_order=True
    )


@lru_cache(maxsize=2)
def _light(results: bool) -> ir.Table:
    """The spans of the wanted traces, without long texts but those of roots and tools."""
    spans = table_of("spans")
    rows = spans.semi_join(ibis.table({"trace_id": "string"}, name="wanted"), "trace_id")
    is_root = rows.parent_span_id.isnull()
    with_tools = is_root | (rows.kind == SpanKind.TOOL.value)
    texts = {
        "input": ibis.cases((with_tools, rows.input)),
        "output": ibis.cases((with_tools if results else is_root, rows.output)),
    }
    return rows.select(*_LIGHT, **texts, model=ibis.coalesce(rows.model_response, rows.model_request))


@lru_cache(maxsize=1)
def _texts() -> ir.Table:
    """The texts of the spans that are asked for."""
    spans = table_of("spans")
    asked = ibis.table({**dict.fromkeys(_ID, "string"), "want_in": "bool", "want_out": "bool"}, name="asked")
    rows = spans.join(asked, _ID)
    return rows.select(
        "tenant",
        *_ID,
        input=ibis.cases((rows.want_in, rows.input)),
        output=ibis.cases((rows.want_out, rows.output)),
    )
