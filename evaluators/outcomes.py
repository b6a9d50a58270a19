"""What became of sessions: the latest score of each by somebody who saw how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import ibis
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa

from store.engine import table_of
from store.tenant import TenantStore


def latest(store: TenantStore, ids: Sequence[str], as_of_ns: int | None) -> pl.DataFrame:
    """The latest score of each session by somebody who saw how it ended: of kind outcome, else an evaluation event.
    It may come days after the session, so all times are looked at."""
    given = {"wanted_sessions": pa.table({"session_id": pa.array(list(ids), pa.string())})}
    scores = store.frame(_ended(), None, as_of_ns, given=given)
    latest = scores.sort(pl.col("evaluator_kind") == "outcome", "at_ns", "ingested_at", "score_id")
    return latest.group_by("session_id", maintain_order=True).agg(
        outcome=pl.col("value").last(),
        outcome_label=pl.col("label").last(),
        outcome_evaluator=pl.col("evaluator").last(),
    )


@lru_cache(maxsize=1)
def _ended() -> ir.Table:
    scores = table_of("scores")
    rows = scores.semi_join(ibis.table({"session_id": "string"}, name="wanted_sessions"), "session_id")
    rows = rows.filter(rows.evaluator_kind.isin(["outcome", "event"]), rows.target == "session")
    when = ("score_id", "at_ns", "ingested_at")
    return rows.select("session_id", "tenant", *when, "evaluator", "evaluator_kind", "value", "label")
