"""What judges said of a run's trials: verdicts are scores of target example that name the run in their metadata."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa

from core.records import EvaluatorKind, TargetKind
from core.windows import LAST_NS, Window
from store.control.run_records import RunRecord, TrialRecord
from store.engine import slot, table_of
from store.judged import VERDICT
from store.tenant import TenantStore

COLUMNS: Final = ("example_id", "trial", "metric", "value", "unscored")
_SKEW_NS: Final = 3_600_000_000_000  # of clocks of servers


def judged_in(store: TenantStore, run: RunRecord, trials: Sequence[TrialRecord]) -> tuple[pl.DataFrame, dict[str, str]]:
    """COLUMNS of every verdict over the run's trials, the newest of each trial and judge; and by judge the version it
    is of: the one that judged last. Verdicts of its other versions are left out, and so are those beside another run's
    answers: which of two is better is no metric of one."""
    known = pl.DataFrame(
        [(one.session_id, one.example_id, one.trial) for one in trials],
        schema={"session_id": pl.String(), "example_id": pl.String(), "trial": pl.Int32()},
        orient="row",
    )
    window = Window(start_ns=run.created_at_ns - _SKEW_NS, end_ns=LAST_NS)
    sessions = {"judged_sessions": pa.table({"session_id": pa.array(known["session_id"].to_list(), pa.string())})}
    values = {"kind": EvaluatorKind.JUDGE.value, "target": TargetKind.EXAMPLE.value}
    said = store.frame(_verdicts(), window, values=values, given=sessions)
    own = said.filter(
        pl.col("metadata").str.json_path_match("$.run_id") == run.run_id,
        pl.col("metadata").str.json_path_match("$.against").is_null(),
        pl.col("score_id").str.starts_with(VERDICT),
    )
    newest = own.sort("at_ns", "ingested_at", "score_id", descending=True)
    versions = dict(newest.unique("evaluator", keep="first").select("evaluator", "evaluator_version").rows())
    held = newest.filter(pl.col("evaluator_version") == pl.col("evaluator").replace_strict(versions, default=None))
    held = held.unique(["session_id", "evaluator"], keep="first", maintain_order=True)
    rows = known.join(held, on="session_id", how="inner").rename({"evaluator": "metric"})
    return rows.select(COLUMNS).sort("metric", "example_id", "trial"), versions


@lru_cache(maxsize=1)
def _verdicts() -> ir.Table:
    scores = table_of("scores")
    rows = scores.filter(scores.evaluator_kind == slot("kind", "string"), scores.target == slot("target", "string"))
    rows = rows.semi_join(ibis.table({"session_id": "string"}, name="judged_sessions"), "session_id")
    return rows.select(
        "tenant", "ingested_at", "score_id", "evaluator", "evaluator_version", "at_ns", "session_id", "value",
        "unscored", "metadata",
    )  # fmt: skip
