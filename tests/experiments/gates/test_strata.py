"""Groups of examples beside the whole: a dataset may name as many as it likes."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from evaluators.evidence import RunScores
from experiments.gates.pairs import MOST_STRATA
from tests.experiments.gates.evidence import METRICS, POLICY, decided, run


def test_of_many_groups_the_largest_are_shown() -> None:
    number = pl.col("example_id").str.slice(3).cast(pl.Int32)
    group = pl.when(number < 20).then(pl.lit("whole")).otherwise((number // 2).cast(pl.String))

    def grouped(one: RunScores) -> RunScores:
        return replace(one, rows=one.rows.with_columns(stratum=group))

    found = decided(grouped(run("v1", n=160)), grouped(run("v2", n=160)), policy=POLICY)
    assert len(found.strata) == MOST_STRATA * len(METRICS)
    assert "whole" in {one.stratum for one in found.strata}
