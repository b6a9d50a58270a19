"""What a comparison and a gate read of a run: one row per example, trial and metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from core.errors import InvalidInput

COLUMNS: Final = pl.Schema(
    {
        "example_id": pl.String(),
        "trial": pl.Int32(),
        "metric": pl.String(),
        "value": pl.Float64(),  # null: there is none, and `unscored` says why
        "unscored": pl.String(),
        "stratum": pl.String(),
        "session_id": pl.String(),  # of the trial; null when it has none
        "trace_id": pl.String(),
    }
)
REQUIRED: Final = ("example_id", "trial", "metric", "value")


@dataclass(frozen=True, kw_only=True)
class RunScores:
    """A run and all that was scored in it.

    `rows` has COLUMNS; of these only REQUIRED must be given, the others are filled with null. A metric is the name of
    an evaluator, or latency_ms, cost_usd and tokens of a trial. `examples` are the ids of the dataset's version with
    the hash of each one's content, as far as they are known: two runs over different versions may be compared where
    these are the same. Raises InvalidInput for rows without a required column, and for two rows of one example, trial
    and metric.
    """

    run_id: str
    app: str
    release: str | None
    dataset: str
    dataset_version: int
    content_hash: str
    k: int  # trials per example
    finished_at_ns: int | None
    status: str  # waiting | running | done | failed | cancelled
    evaluators: Mapping[str, str]  # name -> version
    rows: pl.DataFrame
    examples: Mapping[str, str] = field(default_factory=dict)  # example id -> hash of its content

    def __post_init__(self) -> None:
        missing = [name for name in REQUIRED if name not in self.rows.columns]
        if missing:
            raise InvalidInput(f"scores of a run have columns {', '.join(missing)}", field="rows")
        whole = self.rows.select(
            pl.col(name).cast(kind) if name in self.rows.columns else pl.lit(None, dtype=kind).alias(name)
            for name, kind in COLUMNS.items()
        )
        key = ["example_id", "trial", "metric"]
        if whole.select(pl.struct(key).is_duplicated().any()).item():
            twice = whole.filter(pl.struct(key).is_duplicated()).row(0)
            raise InvalidInput(f"two scores of {twice[2]} for example {twice[0]}, trial {twice[1]}", field="rows")
        object.__setattr__(self, "rows", whole)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all metrics, in alphabetical order."""
        return tuple(self.rows["metric"].unique().sort().to_list())

    @property
    def finished(self) -> bool:
        """Whether all its trials were asked."""
        return self.status == "done"
