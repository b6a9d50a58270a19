"""Scores: what evaluators said of spans, turns and sessions. Append, list, and find by target."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import ibis
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa

from core.clock import to_datetime
from core.errors import InvalidInput
from core.ids import span_id, trace_id
from core.records import EvaluatorKind, TargetKind
from core.windows import Window
from store.engine import slot, table_of
from store.erased import still_there
from store.lake import partition_date
from store.schema import SCORES
from store.slices import slices
from store.spans import started_at
from store.tenant import TenantStore

MAX_METADATA_CHARS: Final = 20_000
ONLINE: Final = "online_"  # begins the ids of scores that were given while a session may go on: the newest one holds
LABEL: Final = "label_"  # and of labels by people, which may be adjudicated again
JUDGED: Final = "judge_"  # and of a judge's verdicts, of a session that went on or was chosen again

ORDER: Final = [
    *("score_id", "at", "evaluator", "evaluator_version", "evaluator_kind", "target", "trace_id", "span_id"),
    *("session_id", "value", "label", "explanation", "unscored", "author", "metadata", "at_ns"),
]
_FILTERS: Final = ("evaluator", "target", "trace_id", "session_id")


@dataclass(frozen=True, kw_only=True)
class NewScore:
    """A score to be written: a value, a label, or both; or `unscored` with the reason why there is neither.

    A span is named by trace_id and span_id, a turn by trace_id, a session by session_id.
    Raises InvalidInput naming the field.
    """

    evaluator: str
    evaluator_kind: EvaluatorKind
    target: TargetKind
    evaluator_version: str = "1"
    trace_id: str | None = None
    span_id: str | None = None
    session_id: str | None = None
    value: float | None = None
    label: str | None = None
    explanation: str | None = None
    unscored: str | None = None
    at_ns: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_outcome()
        self._check_target()
        if self.trace_id is not None:
            object.__setattr__(self, "trace_id", trace_id(self.trace_id))
        if self.span_id is not None:
            object.__setattr__(self, "span_id", span_id(self.span_id))
        if len(_json(self.metadata)) > MAX_METADATA_CHARS:
            raise InvalidInput(f"metadata is longer than {MAX_METADATA_CHARS:,} characters as JSON", field="metadata")

    @property
    def of_a_trace(self) -> bool:
        """Whether it is of a turn or a span."""
        return self.target in (TargetKind.TURN, TargetKind.SPAN)

    @property
    def about(self) -> str:
        """The id of the trace, or else of the session, that it is of."""
        return str(self.trace_id if self.of_a_trace else self.session_id)

    def _check_outcome(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            raise InvalidInput("value must be a finite number; say unscored with the reason instead", field="value")
        scored = self.value is not None or self.label is not None
        if scored and self.unscored is not None:
            raise InvalidInput("a score has a value or label, or is unscored; not both", field="unscored")
        if not scored and not self.unscored:
            raise InvalidInput("a score needs a value, a label, or unscored with the reason", field="value")

    def _check_target(self) -> None:
        needed = {
            TargetKind.SPAN: ("trace_id", "span_id"),
            TargetKind.TURN: ("trace_id",),
            TargetKind.SESSION: ("session_id",),
            TargetKind.EXAMPLE: ("session_id",),  # the session of the trial
        }[self.target]
        for name in needed:
            if not getattr(self, name):
                raise InvalidInput(f"a score of a {self.target.value} needs {name}", field=name)
        if self.target is not TargetKind.SPAN and self.span_id is not None:
            raise InvalidInput(f"a score of a {self.target.value} has no span_id", field="span_id")


@dataclass(frozen=True, kw_only=True)
class ScoresAsked:
    """Scores decided in `window`, newest first; None filters nothing."""

    window: Window
    evaluator: str | None = None
    target: TargetKind | None = None
    trace_id: str | None = None
    session_id: str | None = None
    limit: int = 50
    after: tuple[int, str] | None = None
    as_of_ns: int | None = None


def append_scores(
    store: TenantStore, scores: Sequence[NewScore], *, ids: Sequence[str], author: str, now_ns: int
) -> int:
    """Writes the scores under the given ids, durable on return. Their time is `now_ns` where they name none."""
    rows = [_row(store, score, ids[i], author, now_ns) for i, score in enumerate(scores)]
    return store.append("scores", pa.Table.from_pylist(rows, schema=SCORES))


def append_of_read(
    store: TenantStore, scores: Mapping[str, NewScore], read: Collection[str], *, author: str, now_ns: int
) -> int:
    """As `append_scores`, by id, of what was read from the lake a while ago (`read`: ids of sessions, and of the traces
    of turns): what is there no more gets no score, as its row would name what an erasure took. How many were written.
    """
    about = {name: one.about for name, one in scores.items()}
    of_turns = {one.about for one in scores.values() if one.of_a_trace} & set(read)
    with still_there(store, sorted((set(about.values()) & set(read)) - of_turns), sorted(of_turns)) as left:
        kept = {name: one for name, one in scores.items() if about[name] not in read or about[name] in left}
        if kept:
            append_scores(store, list(kept.values()), ids=list(kept), author=author, now_ns=now_ns)
        return len(kept)


def has_scores(store: TenantStore, ids: Sequence[str]) -> bool:
    """Whether any of these scores is stored."""
    wanted = {"wanted_scores": pa.table({"score_id": pa.array(list(ids), pa.string())})}
    return bool(store.frame(_known(), given=wanted).height)


def scores_by_id(store: TenantStore, ids: Sequence[str], window: Window | None = None) -> pl.DataFrame:
    """Those of these scores that are stored and were decided in `window`, one row of each, in no order."""
    wanted = {"wanted_scores": pa.table({"score_id": pa.array(list(ids), pa.string())})}
    found = store.frame(_of_ids(), window, given=wanted).unique("score_id", keep="first")
    return _shown(found)


def list_scores(store: TenantStore, asked: ScoresAsked) -> pl.DataFrame:
    """Rows of `ORDER`'s columns, latest first; of one session, its `newest`."""
    if asked.session_id is not None:
        return _list_of_session(store, asked)
    given = {name: getattr(asked, name) for name in _FILTERS if getattr(asked, name) is not None}
    order, row_id = asked.after if asked.after is not None else (2**63 - 1, "\U0010ffff")
    values = {**given, "after_order": order, "after_id": row_id}
    expr = _listing(frozenset(given), asked.limit)
    window = asked.window
    if asked.after is not None:
        end = max(window.start_ns + 1, min(window.end_ns, asked.after[0] + 1))
        window = Window(start_ns=window.start_ns, end_ns=end)
    found, n_found = [], 0
    for part in slices(store.files("scores", window), window, asked.limit * (20 if given else 2)):
        found.append(store.frame(expr, part, asked.as_of_ns, values=values))
        n_found += found[-1].height
        if n_found >= asked.limit:
            break
    return _shown(pl.concat(found)).head(asked.limit)


def _list_of_session(store: TenantStore, asked: ScoresAsked) -> pl.DataFrame:
    """All of a session's scores are read: which of them holds is not said by a page of them."""
    values = {"session_id": asked.session_id}
    found = store.frame(_of_session(), asked.window, asked.as_of_ns, values=values)
    found = newest(found.sort("at_ns", "score_id"))
    for name in _FILTERS:
        if getattr(asked, name) is not None:
            found = found.filter(pl.col(name) == getattr(asked, name))
    if asked.after is not None:
        at_ns, score_id = asked.after
        earlier = (pl.col("at_ns") < at_ns) | ((pl.col("at_ns") == at_ns) & (pl.col("score_id") < score_id))
        found = found.filter(earlier)
    return _shown(found.reverse().head(asked.limit))


def scores_of(
    store: TenantStore, *, trace_ids: Sequence[str] = (), session_id: str | None = None, as_of_ns: int | None = None
) -> pl.DataFrame:
    """All scores of these traces (their spans too) and of the session, in order of time. Of what online evaluation
    said of one target by one evaluator, only the newest: it saw most of it; of labels too."""
    wanted = {"wanted": pa.table({"trace_id": pa.array(list(trace_ids), pa.string())})}
    parts = [store.frame(_of_traces(), as_of_ns=as_of_ns, given=wanted)]
    if session_id is not None:
        parts.append(store.frame(_of_session(), as_of_ns=as_of_ns, values={"session_id": session_id}))
    return _shown(newest(pl.concat(parts).unique("score_id", keep="first").sort("at_ns", "score_id")))


def newest(scores: pl.DataFrame) -> pl.DataFrame:
    """Without the online scores, labels and verdicts that a later row of the same evaluator and target replaced. Rows
    are in order of time; score_id, evaluator, target, session_id and trace_id are read."""
    kind = pl.lit(None, pl.Int32)
    for number, prefix in enumerate((ONLINE, LABEL, JUDGED)):
        kind = pl.when(pl.col("score_id").str.starts_with(prefix)).then(number).otherwise(kind)
    numbered = scores.with_row_index("row").with_columns(replaced=kind)
    last = pl.col("row") == pl.col("row").max().over("target", "session_id", "trace_id", "evaluator", "replaced")
    return numbered.filter(pl.col("replaced").is_null() | last).drop("row", "replaced")


def known_scores(store: TenantStore, ids: Sequence[str], window: Window | None = None) -> set[str]:
    """Which of these scores are stored, decided in `window`."""
    wanted = {"wanted_scores": pa.table({"score_id": pa.array(list(ids), pa.string())})}
    return set(store.frame(_all_known(), window, given=wanted)["score_id"])


def _row(store: TenantStore, score: NewScore, score_id: str, author: str, now_ns: int) -> dict[str, object]:
    at_ns = now_ns if score.at_ns is None else score.at_ns
    return {
        "tenant": store.tenant,
        "date": partition_date(at_ns),
        "seq": None,
        "ingested_at": to_datetime(now_ns),  # until it is stored
        "score_id": score_id,
        "at_ns": at_ns,
        "evaluator": score.evaluator,
        "evaluator_version": score.evaluator_version,
        "evaluator_kind": score.evaluator_kind.value,
        "target": score.target.value,
        "trace_id": score.trace_id,
        "span_id": score.span_id,
        "session_id": score.session_id,
        "value": score.value,
        "label": score.label,
        "explanation": score.explanation,
        "unscored": score.unscored,
        "author": author,
        "metadata": _json(score.metadata) if score.metadata else None,
    }


def _json(value: dict[str, Any]) -> str:
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("metadata must be plain JSON without NaN or infinity", field="metadata") from error


def _shown(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(at=started_at("at_ns"), value=pl.when(pl.col("value").is_finite()).then("value")).select(
        ORDER
    )


@lru_cache(maxsize=64)
def _listing(asked: frozenset[str], limit: int) -> ir.Table:
    scores = table_of("scores")
    order, last = slot("after_order", "int64"), slot("after_id", "string")
    after = (scores.at_ns < order) | ((scores.at_ns == order) & (scores.score_id < last))
    rows = scores.filter(after, *[scores[name] == slot(name, "string") for name in sorted(asked)])
    return rows.order_by(ibis.desc("at_ns"), ibis.desc("score_id")).limit(limit)


@lru_cache(maxsize=1)
def _of_traces() -> ir.Table:
    scores = table_of("scores")
    return scores.semi_join(ibis.table({"trace_id": "string"}, name="wanted"), "trace_id")


@lru_cache(maxsize=1)
def _of_ids() -> ir.Table:
    return table_of("scores").semi_join(ibis.table({"score_id": "string"}, name="wanted_scores"), "score_id")


@lru_cache(maxsize=1)
def _of_session() -> ir.Table:
    scores = table_of("scores")
    return scores.filter(scores.session_id == slot("session_id", "string"))


@lru_cache(maxsize=1)
def _all_known() -> ir.Table:
    scores = table_of("scores")
    rows = scores.semi_join(ibis.table({"score_id": "string"}, name="wanted_scores"), "score_id")
    return rows.select("score_id", "tenant")


@lru_cache(maxsize=1)
def _known() -> ir.Table:
    return _all_known().limit(1)
