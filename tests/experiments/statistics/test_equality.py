"""Equality with gbstats, tea-tasting and statsmodels where they compute the same thing, to 1e-9."""

from __future__ import annotations

import json

from benchmarks.experiments.equality import KEPT, largest, of_peers, of_statsmodels, of_tables

KEPT_ANSWERS = json.loads(KEPT.read_text(encoding="utf-8"))


def test_gbstats_and_tea_tasting_say_what_we_say() -> None:
    rows = list(of_peers(KEPT_ANSWERS))
    assert not [row for row in rows if not row["difference"] <= 1e-9]
    found = largest(rows)
    assert len(found["gbstats"]) == 8  # it has no ratio with a covariate
    assert len(found["tea-tasting"]) == 9
    assert {row["figure"] for row in rows} >= {"low", "p_value", "sequence_half", "sequence_p", "expected_loss"}


def test_statsmodels_says_what_we_say() -> None:
    rows = list(of_statsmodels(KEPT_ANSWERS["cases"]))
    assert not [row for row in rows if not row["difference"] <= 1e-9]
    assert {row["figure"] for row in rows} == {"low", "high", "p_value", "se", "power"}


def test_statsmodels_says_of_tables_over_strata_what_we_say() -> None:
    rows = list(of_tables())
    assert not [row for row in rows if not row["difference"] <= 1e-9]
    assert {row["figure"] for row in rows} >= {"cmh", "cmh p", "breslow-day", "breslow-day p", "tarone", "odds ratio"}
    assert set(largest(rows)["statsmodels"]) == {"Berkeley", "kidney stones", "drawn strata"}
