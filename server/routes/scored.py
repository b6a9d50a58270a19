"""Score rows as answers show them."""

from __future__ import annotations

import json
from typing import Any

import polars as pl


def score_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame of store.scores, metadata as an object."""
    return [{**row, "metadata": _object(row["metadata"])} for row in frame.drop("at_ns").to_dicts()]


def _object(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}", parse_constant=str)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
