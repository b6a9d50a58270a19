"""Stored verdicts of real judges in ../shared/data, as codes."""

from __future__ import annotations

import csv
import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from judges.agreement.tables import IntArray

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
TAU2_WORDS = {
    **dict.fromkeys(("pass", "satisfied", "satisfactory", "compliant", "correct"), "pass"),
    **dict.fromkeys(("fail", "failure", "unsatisfied", "unsatisfactory"), "fail"),
}


def needs(folder: str) -> Path:
    """The folder; skips where the data are not there."""
    if not (DATA / folder).is_dir():
        pytest.skip(f"{folder} is not in ../shared/data")
    return DATA / folder


def codes(said: list[str], labels: list[str]) -> IntArray:
    """Places in `labels`, -1 for anything else."""
    return np.array([labels.index(one) if one in labels else -1 for one in said], dtype=np.int64)


@cache
def llmbar() -> dict[tuple[str, str, str], dict[str, list[str]]]:
    """gold, ab and ba of every (subset, judge, prompting), in order; a missing verdict is ''."""
    found: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    with gzip.open(needs("llmbar") / "judge_verdicts.csv.gz", "rt", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            cell = found.setdefault((row["subset"], row["judge"], row["prompting"]), {"gold": [], "ab": [], "ba": []})
            cell["gold"].append(row["label"])
            cell["ab"].append(row["winner_ab"])
            cell["ba"].append(row["winner_ba"])
    return found


def llmbar_published() -> list[dict[str, Any]]:
    """The published statistics, one dict per cell."""
    text = (needs("llmbar") / "published_statistics.json").read_text(encoding="utf-8")
    return list(json.loads(text))


@cache
def tau2(domain: str, prompt: str) -> pl.DataFrame:
    """target, verdict (normalised, null: none of the words), label of one judge prompt in one domain."""
    with (needs("tau2_judges") / "judge_verdicts_flat.csv").open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if (row["domain"], row["judge_prompt"]) == (domain, prompt)]
    return pl.DataFrame(
        {
            "target": [f"{row['simulation_id']}" for row in rows],
            "verdict": [TAU2_WORDS.get(row["judge_verdict"]) for row in rows],
            "label": ["pass" if row["tau2_success"] == "True" else "fail" for row in rows],
        },
        schema={"target": pl.String, "verdict": pl.String, "label": pl.String},
    )


@cache
def pandalm() -> list[dict[str, Any]]:
    """The 609 pairs."""
    with gzip.open(needs("pandalm") / "pandalm_testset.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def voice(field: str) -> tuple[list[str], list[str]]:
    """What both raters wrote into a field of the same 43 calls, in the same order."""
    with (needs("voice_failures") / "rater_annotations.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    by = {(row["rater"], row["simulation_id"]): row[field] for row in rows}
    calls = sorted({row["simulation_id"] for row in rows})
    return [by["rater_A", one] for one in calls], [by["rater_B", one] for one in calls]
