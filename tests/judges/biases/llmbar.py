"""The stored verdicts of LLMBar: pairs with gold labels, judged in both orders."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

DATA: Final = Path(__file__).resolve().parents[4] / "shared" / "data" / "llmbar"
CELL: Final = ("subset", "judge", "prompting")


def verdicts() -> pl.DataFrame:
    """A row per verdict with both answers' lengths in characters; skips where the data are not there."""
    if not DATA.is_dir():
        pytest.skip("llmbar is not in ../shared/data")
    found = pl.read_csv(gzip.decompress((DATA / "judge_verdicts.csv.gz").read_bytes()))
    lengths = pl.read_ndjson(gzip.decompress((DATA / "items.jsonl.gz").read_bytes())).select(
        "subset", "idx", first=pl.col("output_1").str.len_chars(), second=pl.col("output_2").str.len_chars()
    )
    return found.join(lengths, on=["subset", "idx"], how="left", maintain_order="left")


def published() -> list[dict[str, Any]]:
    """The figures that came with the data, one object per subset, judge and prompt."""
    found: list[dict[str, Any]] = json.loads((DATA / "published_statistics.json").read_text())
    return found


def choices(frame: pl.DataFrame, column: str) -> NDArray[np.int64]:
    """Winners 1 and 2 as 0 and 1, none as -1."""
    return (frame[column].cast(pl.Int64).fill_null(0) - 1).to_numpy()
