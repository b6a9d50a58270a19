"""Single values as monitors hold their distributions against each other: one for each session and bucket, since turns
of a session are no independent draws. Of embeddings one vector for each session, of many sessions a sample."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.windows import LAST_NS, Window
from store import traces
from store.embeddings import N_FACETS
from store.engine import slot, table_of
from store.monitor_series import BucketsAsked, in_buckets, scored, wanted_scores
from store.monitor_splits import Split, bound
from store.sessions import MARGIN_S
from store.tenant import TenantStore, around

FACETS: Final = ("intent", "actions", "outcome")
MOST_VECTORS: Final = 10_000
_DIGITS: Final = 8  # of the hash that chooses
_ALL: Final = "g"  # after every hexadecimal digit
_VALUES: Final = ("at_ns", "split", "value")
_OF_TURNS: Final = frozenset(
    {"app", "release", "variant", "session_id", "duration_ms", "input_tokens", "output_tokens"}
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """When each session began, in order of time, and its vector, (n, dims) float32."""

    at_ns: NDArray[np.int64]
    vectors: NDArray[np.float32]


def turn_values(store: TenantStore, app: str, asked: BucketsAsked, figure: str) -> pl.DataFrame:
    """at_ns (of the bucket), split, value: the mean `figure` (duration_ms, input_tokens, output_tokens) of the turns of
    a session that began in the bucket."""
    split = bound(store, asked.by, asked.window)
    values = {**asked.bounds, "app": app}
    return _sorted(store.frame(_turns(split.split, figure), {"turns": asked.window}, values=values))


def session_values(store: TenantStore, app: str, asked: BucketsAsked, figure: str) -> pl.DataFrame:
    """at_ns, split, value: `figure` (cost_usd, n_turns) of what a session did in the bucket."""
    split = bound(store, asked.by, asked.window)
    windows, values = {**split.windows, "sessions": asked.window}, {**split.values, **asked.bounds, "app": app}
    return _sorted(store.frame(_sessions(split.split, figure), windows, values=values))


def score_values(store: TenantStore, app: str, asked: BucketsAsked, evaluators: tuple[str, ...]) -> pl.DataFrame:
    """at_ns (of the bucket in which it was decided), split, value, evaluator, kind: the mean of what an evaluator says
    of the targets of a session."""
    split = bound(store, asked.by, asked.window)
    near = Window(start_ns=around(asked.window, MARGIN_S).start_ns, end_ns=LAST_NS)
    windows = {**split.windows, "scores": asked.window, "sessions": near, "turns": near}
    values = {**split.values, **asked.bounds, "app": app}
    given = wanted_scores([(name, False) for name in evaluators])
    found = store.frame(_scores(split.split), windows, values=values, given=given)
    return found.select(*_VALUES, "evaluator", "kind").cast({"value": pl.Float64}).sort("at_ns", "value")


def vectors(store: TenantStore, app: str, window: Window, facet: str | None) -> Vectors:
    """The embeddings of the app's sessions that began in the window, by the embedder whose work is the newest: of one
    facet or, None, of all; without those that say nothing. Of more than 10,000 sessions a sample, by their id."""
    versions = store.frame(_versions(), window, values={"app": app}).sort("last_ns", "embedder")
    if not versions.height:
        return Vectors(at_ns=np.empty(0, dtype=np.int64), vectors=np.empty((0, 0), dtype=np.float32))
    newest = versions.row(-1, named=True)
    one_in = -(-newest["n"] // MOST_VECTORS)
    below = _ALL if one_in <= 1 else f"{16**_DIGITS // one_in:0{_DIGITS}x}"
    values = {"app": app, "embedder": newest["embedder"], "below": below}
    found = store.frame(_vectors(), window, values=values).unique("session_id", keep="any").sort("at_ns", "session_id")
    told = _matrix(found["vector"])
    if facet is not None and told.size:
        width = told.shape[1] // N_FACETS
        first = FACETS.index(facet) * width
        told = told[:, first : first + width]
    says = told.any(axis=1) if told.size else np.zeros(len(told), dtype=np.bool_)
    return Vectors(at_ns=found["at_ns"].to_numpy()[says], vectors=told[says])


def _matrix(raw: pl.Series) -> NDArray[np.float32]:
    """The vectors as rows. Those of another length than most, of which no embedder could be, are left out."""
    if not len(raw):
        return np.empty((0, 0), dtype=np.float32)
    size = int(raw.bin.size().median() or 0)  # type: ignore[arg-type]
    flat = b"".join(one if len(one) == size else bytes(size) for one in raw.to_list())
    return np.frombuffer(flat, dtype="<f2").reshape(len(raw), -1).astype(np.float32)


def _sorted(found: pl.DataFrame) -> pl.DataFrame:
    return found.select(_VALUES).cast({"value": pl.Float64}).drop_nulls("value").sort("at_ns", "value")


@lru_cache(maxsize=8)
def _turns(by: Split, figure: str) -> ir.Table:
    rows = traces.merged(table_of("turns"), _OF_TURNS)
    rows = in_buckets(rows.filter(rows.app == slot("app", "string")), rows.start_ns)
    rows = by.of(rows)
    who = ibis.coalesce(rows.session_id, rows.trace_id)
    return rows.group_by("at_ns", "split", who=who).agg(tenant=rows.tenant.max(), value=rows[figure].mean())


@lru_cache(maxsize=8)
def _sessions(by: Split, figure: str) -> ir.Table:
    rows = table_of("sessions")
    rows = in_buckets(rows.filter(rows.app == slot("app", "string")), rows.start_ns)
    rows = by.of(rows)
    return rows.group_by("at_ns", "split", "session_id").agg(
        tenant=rows.tenant.max(), value=rows[figure].cast("float64").sum()
    )


@lru_cache(maxsize=8)
def _scores(by: Split) -> ir.Table:
    rows = scored(by)
    rows = rows.filter(rows.app == slot("app", "string"), rows.value.notnull())
    who = ibis.coalesce(rows.session_id, rows.trace_id)
    return rows.group_by("at_ns", "split", "evaluator", kind=rows.evaluator_kind, who=who).agg(
        tenant=rows.tenant.max(), value=rows.value.mean()
    )


@lru_cache(maxsize=1)
def _versions() -> ir.Table:
    rows = table_of("embeddings")
    rows = rows.filter(rows.app == slot("app", "string"))
    return rows.group_by("embedder").agg(
        tenant=rows.tenant.max(), n=rows.session_id.nunique(), last_ns=rows.at_ns.max()
    )


@lru_cache(maxsize=1)
def _vectors() -> ir.Table:
    rows = table_of("embeddings")
    chosen = rows.session_id.hexdigest("md5").substr(0, _DIGITS) < slot("below", "string")
    rows = rows.filter(rows.app == slot("app", "string"), rows.embedder == slot("embedder", "string"), chosen)
    newest = rows.group_by("session_id").agg(seq=rows.seq.max())
    return rows.semi_join(newest, ["session_id", "seq"]).select("session_id", "tenant", "at_ns", "vector")
