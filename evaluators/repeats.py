"""Examples that say the same as another: evidence of one example, however often it stands in a dataset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from core.errors import NotFound
from core.ids import TenantId
from evaluators.datasets.records import Example, line_of, read_version
from evaluators.evidence import RunScores
from store.control.control import Control

_SAID = ("input", "expected", "metadata")


def repeats_of(control: Control, tenant: TenantId, run: RunScores) -> dict[str, str]:
    """Example id -> the first id with the same input, expectation and metadata, for those that repeat another; empty
    when the dataset's version is gone, or there is none."""
    try:
        found = read_version(control, tenant, run.dataset, run.dataset_version)
    except NotFound:
        return {}
    return repeats(found.examples)


def repeats(examples: Sequence[Example]) -> dict[str, str]:
    """As `repeats_of`."""
    first: dict[str, str] = {}
    found = {}
    for one in sorted(examples, key=lambda one: one.example_id):
        told = json.loads(line_of(one))
        text = json.dumps({name: told.get(name) for name in _SAID}, sort_keys=True)
        standing = first.setdefault(hashlib.sha256(text.encode()).hexdigest(), one.example_id)
        if standing != one.example_id:
            found[one.example_id] = standing
    return found


def once(run: RunScores, repeated: Mapping[str, str]) -> RunScores:
    """The run with the scores of repeated examples averaged into the one that they repeat, trial by trial. A trial that
    has no score in any of them has none, for the first one's reason."""
    if not repeated.keys() & set(run.rows["example_id"].unique()):
        return run
    rows = (
        run.rows.with_columns(pl.col("example_id").replace(dict(repeated)))
        .group_by("example_id", "trial", "metric", maintain_order=True)
        .agg(
            pl.col("value").filter(pl.col("value").is_not_null()).mean(),
            *[pl.col(name).drop_nulls().first() for name in ("unscored", "stratum", "session_id", "trace_id")],
        )
        .with_columns(unscored=pl.when(pl.col("value").is_null()).then("unscored"))
    )
    examples = {name: content for name, content in run.examples.items() if name not in repeated}
    return replace(run, rows=rows, examples=examples)
