"""Whether sessions failed, as it is known when it is asked: the newest score that tells, else what was noted of the
session when it was placed in a cluster.

An outcome may come days after its session. So it is joined when counts are read, and a membership need not be written
anew for it. Read are seven columns of the scores from the window's start on; kept while the engine works is one entry
per session of the window that has such a score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa

from core.clock import NS_PER_S
from core.windows import LAST_NS, Window
from store.engine import slot, table_of
from store.tenant import TenantStore

FAILS_BELOW: Final = 0.5  # a score below says that the session failed
_HOUR_NS: Final = 3_600 * NS_PER_S
_NAN: Final = float("nan")


@dataclass(frozen=True, kw_only=True)
class ToldBy:
    """Whose newest score tells whether a session failed: the evaluator's of this name, or, where it is None, the
    outcome's (else an evaluation event's), as evaluators/outcomes.py has it."""

    evaluator: str | None = None

    @property
    def values(self) -> dict[str, object]:
        """The values of the slots."""
        return {} if self.evaluator is None else {"failure": self.evaluator}


OUTCOME: Final = ToldBy()


def windows_of(window: Window) -> Mapping[str, Window]:
    """Sessions that begin in `window`, with scores whenever they came. No score is older than its session; a clock that
    is behind by an hour is forgiven."""
    late = Window(start_ns=max(window.start_ns - _HOUR_NS, -(2**63)), end_ns=LAST_NS)
    return dict.fromkeys(("memberships", "sessions"), window) | {"scores": late}


def now_told(rows: ir.Table, sessions: ir.Table, by_name: bool) -> ir.Table:
    """`rows` of memberships with `failed` as it is known now: by the newest score that tells (of the evaluator in the
    slot `failure`, where `by_name`), else as it was noted. `sessions` holds at least those of the rows: scores of
    others are dropped as they are read."""
    told = newest_told(sessions, by_name)
    joined = rows.left_join(told, rows.session_id == told.told_session)
    return joined.mutate(failed=ibis.coalesce(joined.told_failed, joined.failed)).select(rows.columns)


def newest_told(sessions: ir.Table, by_name: bool) -> ir.Table:
    """told_session, told_failed (null: the newest has no finite value) and tenant, of those of `sessions` that have a
    score that tells."""
    scores = table_of("scores")
    if by_name:
        rows = scores.filter(scores.evaluator == slot("failure", "string"), scores.target.isin(["session", "example"]))
    else:
        rows = scores.filter(scores.evaluator_kind.isin(["outcome", "event"]), scores.target == "session")
    rows = rows.semi_join(sessions, "session_id")
    first = ibis.literal(0) if by_name else (rows.evaluator_kind == "outcome").cast("int64")
    order = ibis.struct({"first": first, "at": rows.at_ns, "stored": rows.ingested_at, "id": rows.score_id})
    # An engine's argmax passes over nulls, and would take an older score where the newest has no value.
    newest = rows.group_by(told_session=rows.session_id).agg(
        score_tenant=rows.tenant.max(), value=ibis.coalesce(rows.value, _NAN).argmax(order)
    )
    unknown = newest.value.isnan() | newest.value.isinf()
    failed = ibis.ifelse(unknown, ibis.null("boolean"), newest.value < FAILS_BELOW)
    return newest.select("told_session", "score_tenant", told_failed=failed)


def with_failures(store: TenantStore, rows: pl.DataFrame, by: ToldBy) -> pl.DataFrame:
    """A few rows of memberships (session_id, at_ns, failed and any more) with `failed` as it is known now, in their
    order."""
    if not rows.height:
        return rows
    window = Window(start_ns=int(rows["at_ns"].min()), end_ns=LAST_NS)  # type: ignore[arg-type]
    given = {"these_sessions": pa.table({"session_id": pa.array(rows["session_id"].to_list(), pa.string())})}
    found = store.frame(_of_these(by.evaluator is not None), windows_of(window), values=by.values, given=given)
    told = found.select(session_id="told_session", told_failed="told_failed")
    joined = rows.join(told, on="session_id", how="left", maintain_order="left")
    return joined.with_columns(failed=pl.coalesce("told_failed", "failed")).drop("told_failed")


@lru_cache(maxsize=2)
def _of_these(by_name: bool) -> ir.Table:
    told = newest_told(ibis.table({"session_id": "string"}, name="these_sessions"), by_name)
    return told.rename(tenant="score_tenant")
