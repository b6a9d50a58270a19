"""25 kills of the running product, SIGTERM under load, and proof that the checker would see a loss."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from store.lake import Lake
from tests.collector.alone import Collector
from tests.reliability.crash_campaign import Campaign, first_starts
from tests.reliability.crash_load import Content, Ledger, judge, poster, request
from tests.reliability.faults_layer import compiler

N_FIRST_STARTS = 2 if compiler() else 0
N_MIGRATIONS = 2 if compiler() else 0
N_KILLS = 25 - N_FIRST_STARTS


@pytest.mark.timeout(900)  # about a minute on an idle machine
def test_25_kills_lose_double_and_alter_nothing(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, seed=20261121)
    verdict = campaign.run(N_KILLS - N_MIGRATIONS, 2, migrations=N_MIGRATIONS, whole_every=20, upkeep_every=6)
    assert campaign.tally.problems == []
    assert verdict.sound, verdict
    assert verdict.acked > 500
    assert campaign.tally.kills == N_KILLS
    assert campaign.tally.in_migration == N_MIGRATIONS
    assert campaign.tally.slowest_exit_s < 10
    if compiler():
        assert campaign.tally.at_a_call, "no kill fell on a call that writes"


@pytest.mark.skipif(not N_FIRST_STARTS, reason="the fault layer needs a C compiler (cc)")
def test_a_first_start_that_is_killed_comes_up_the_next_time(tmp_path: Path) -> None:
    assert first_starts(tmp_path, N_FIRST_STARTS, seed=5) == []


def test_the_checker_sees_what_is_missing_doubled_or_altered(tmp_path: Path) -> None:
    rng = random.Random(1)
    sent: Content = {}
    with Collector(tmp_path) as collector:
        post = poster(collector.base + 1, collector.key)
        for i in range(3):
            body, content = request(rng, 12, 1_790_000_000 * 10**9 + i)
            assert post(body) == 200
            sent |= content
        collector.drained()
        assert collector.stop() == 0
    assert judge(tmp_path, sent, sent).sound
    lost = judge(tmp_path, {**sent, "0123456789abcdef": "x"}, sent)
    assert (lost.missing, lost.sound) == (1, False)
    other = {**sent, min(sent): "another hash"}
    assert (judge(tmp_path, other, other).altered, judge(tmp_path, other, other).sound) == (1, False)
    lake = Lake(tmp_path / "lake")
    [file, *_] = lake.snapshot("spans").files
    lake.append("spans", lake.read(file))
    twice = judge(tmp_path, sent, sent)
    assert twice.duplicated == file.n_rows
    assert twice.derived_wrong == ["turns", "sessions", "rollups"]


def test_a_ledger_keeps_what_was_tried_apart_from_what_was_acknowledged(tmp_path: Path) -> None:
    ledger = Ledger(path=tmp_path / "ledger")
    ledger.note("tried", {"a": "1", "b": "2"})
    ledger.note("acked", {"a": "1"})
    assert ledger.read("tried") == {"a": "1", "b": "2"}
    assert ledger.read("acked") == {"a": "1"}
    assert json.loads(ledger.path.read_bytes().splitlines()[1]) == ["acked", {"a": "1"}]
