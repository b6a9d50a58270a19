"""A slice of the corruption campaign, and that the campaign would see an answer that is wrong."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.records import Role
from tests.reliability.corruption import Campaign, run, summary
from tests.reliability.corruption_data import TENANTS, filled
from tests.thorough import often

FLIPS = often(300, 120)


def seen_wrong(folder: Path, *, n: int, seed: int) -> Iterator[bool]:
    """Of up to `n` flips, one by one: whether the campaign sees a wrong answer."""
    chance = random.Random(seed)
    campaign = Campaign(folder=filled(folder / "data", chance), chance=chance)
    for _ in range(n):
        yield bool(campaign.flip().wrong)


def test_of_many_flips_none_is_answered_wrongly(tmp_path: Path) -> None:
    outcomes = run(tmp_path, n=FLIPS, seed=3)
    assert [outcome for outcome in outcomes if outcome.wrong] == []
    found = summary(outcomes)
    assert found["n"] == FLIPS
    assert found["detected"] > FLIPS / 2
    assert {place.place.split(":")[0].split(" ")[0] for place in outcomes} == {"lake", "log", "journal", "control"}


def test_the_campaign_sees_it_when_rows_are_believed_unseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the names of keys, wherever the database has them: few of its bytes are of a row, chance may miss them all."""
    monkeypatch.setattr("store.control.seals.is_sound", lambda table, values: True)
    monkeypatch.setattr("tests.reliability.corruption.look_over", lambda path: [])
    chance = random.Random(4)
    campaign = Campaign(folder=filled(tmp_path / "data", chance), chance=chance)
    name = f"{Role.ADMIN.value} of {TENANTS[0]}".encode()
    database = campaign.folder.stopped / "control.db"
    places = [found.start() for found in re.finditer(re.escape(name), database.read_bytes())]
    assert places
    assert any(campaign.flip_of_control(database, at, bit=0).wrong for at in places)


@pytest.mark.parametrize("column", ["policy TEXT", "seal BLOB", "id VARCHAR"])
def test_a_column_that_a_flipped_bit_renamed_is_refused_and_named(tmp_path: Path, column: str) -> None:
    """A flip in the schema's text; SQLite takes the old name, in quotes, for a text."""
    chance = random.Random(6)
    campaign = Campaign(folder=filled(tmp_path / "data", chance), chance=chance)
    database = campaign.folder.stopped / "control.db"
    content = database.read_bytes()
    places = [found.start() for found in re.finditer(rf"\t{column}".encode(), content)]
    assert places
    for at in places:
        outcome = campaign.flip_of_control(database, at + 1, bit=0)
        assert not outcome.wrong, outcome
        assert outcome.noticed, outcome


def test_the_campaign_sees_it_when_files_are_believed_unseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.trust.Trust.damage_of", lambda self, table, file: None)
    monkeypatch.setattr(Campaign, "flip", Campaign._of_lake)
    assert any(seen_wrong(tmp_path, n=60, seed=5))
