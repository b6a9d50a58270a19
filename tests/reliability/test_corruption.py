"""A slice of the corruption campaign, and that the campaign would see an answer that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.corruption import Campaign, run, summary

FLIPS = 300


def test_of_300_flips_none_is_answered_wrongly(tmp_path: Path) -> None:
    outcomes = run(tmp_path, n=FLIPS, seed=3)
    assert [outcome for outcome in outcomes if outcome.wrong] == []
    found = summary(outcomes)
    assert found["n"] == FLIPS
    assert found["detected"] > FLIPS / 2
    assert {place.place.split(":")[0].split(" ")[0] for place in outcomes} == {"lake", "log", "journal", "control"}


def test_the_campaign_sees_it_when_rows_are_believed_unseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.control.seals.is_sound", lambda table, values: True)
    monkeypatch.setattr("tests.reliability.corruption.look_over", lambda path: [])
    monkeypatch.setattr(Campaign, "flip", Campaign._of_control)
    assert any(outcome.wrong for outcome in run(tmp_path, n=400, seed=4))


def test_the_campaign_sees_it_when_files_are_believed_unseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.trust.Trust.damage_of", lambda self, table, file: None)
    monkeypatch.setattr(Campaign, "flip", Campaign._of_lake)
    assert any(outcome.wrong for outcome in run(tmp_path, n=60, seed=5))
