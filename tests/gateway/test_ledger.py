"""The ledger: what was counted is read back, whatever ended the process and whatever the disk did."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import NS_PER_S
from core.errors import Conflict, Corrupt
from gateway import ledger as ledger_module
from gateway.config import BudgetScope
from gateway.ledger import OTHERS, Ledger
from gateway.records import Call
from tests.gateway.spends import cost_of
from tests.gateway.spent_calls import Turned, answer, call_of
from tests.killing import killed_at
from tests.stack import REPOSITORY
from tests.thorough import often
from tests.waiting import wait_until

Spent = dict[tuple[BudgetScope, str], tuple[int, int, int]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spend"


@pytest.fixture
def clock() -> Turned:
    return Turned()


def _spent(ledger: Ledger, tenant: str = "acme") -> Spent:
    """(scope, name) -> nano-dollars of the day and the month, and calls without a price."""
    found = ledger.of_tenant(tenant)
    return {(a.scope, a.value): (a.day_nano, a.month_nano, a.month_unpriced) for a in found}


def _again(folder: Path, clock: Turned) -> Iterator[Ledger]:
    ledger = Ledger(folder, clock)
    try:
        yield ledger
    finally:
        ledger.close()


def _call(**caller: Any) -> Call:
    return answer(
        call_of(**{"app": "my-agent", "user": "ann@example.com", "team": "support", "key_id": "k1", **caller})
    )


def _fold(ledger: Ledger) -> bool:
    work = ledger.fold()
    if work is not None:
        work()
    return work is not None


def _lines(folder: Path) -> list[str]:
    return [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def test_what_was_spent_is_read_back(folder: Path, clock: Turned) -> None:
    ledger = Ledger(folder, clock)
    ledger.add(_call(), 1_000)
    ledger.add(_call(app="a\0b", team="漢字 é"), 20)
    ledger.add(_call(tenant="other"), 300)
    ledger.add(_call(), None)
    wanted = [_spent(ledger, tenant) for tenant in ("acme", "other")]
    ledger.close()
    for again in _again(folder, clock):
        assert [_spent(again, tenant) for tenant in ("acme", "other")] == wanted
        assert wanted[0][BudgetScope.TENANT, "acme"] == (1_020, 1_020, 1)
        assert wanted[0][BudgetScope.APP, "a\0b"] == (20, 20, 0)
        assert again.state().n_unreadable == 0


def test_no_user_is_in_any_file(folder: Path, clock: Turned) -> None:
    ledger = Ledger(folder, clock)
    ledger.add(_call(), 1)
    assert len(_lines(folder)) == 1
    ledger.turn(clock() + 86_400 * NS_PER_S)
    assert _fold(ledger)
    for path in folder.iterdir():
        assert b"ann" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
    assert ledger.hashed("acme", "ann@example.com") != ledger.hashed("other", "ann@example.com")
    ledger.close()


def test_half_a_surrogate_pair_is_written_as_a_question_mark(folder: Path, clock: Turned) -> None:
    ledger = Ledger(folder, clock)
    ledger.add(_call(app="a\ud800"), 5)
    ledger.close()
    for again in _again(folder, clock):
        assert _spent(again)[BudgetScope.TENANT, "acme"] == (5, 5, 0)
        assert _spent(again)[BudgetScope.APP, "a?"] == (5, 5, 0)


@settings(max_examples=often(60, 15), deadline=None)
@given(data=st.data())
def test_whatever_happens_between_calls_the_sums_are_exact(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("ledger") / "spend"
    clock = Turned("2026-11-28T12:00:00")
    ledger = Ledger(folder, clock)
    day: dict[str, int] = {}
    month: dict[str, int] = {}
    steps = st.sampled_from(["spend", "spend", "fold", "stop", "torn", "day", "lines"])
    for step in data.draw(st.lists(steps, max_size=25)):
        match step:
            case "spend":
                app, nano = data.draw(st.sampled_from("abc")), data.draw(st.integers(1, 10**15))
                ledger.add(_call(app=app), nano)
                day[app] = day.get(app, 0) + nano
                month[app] = month.get(app, 0) + nano
            case "fold":
                _fold(ledger)
            case "lines":
                ledger._n_lines = ledger_module.LINES_PER_SEGMENT
            case "stop" | "torn":
                ledger.close()
                if step == "torn":
                    last = max(folder.glob("*.jsonl"), key=lambda path: path.name.split(".")[1])
                    with last.open("ab") as file:
                        file.write(b'{"at": 1, "tenant": "acme", "nano": 99')
                ledger = Ledger(folder, clock)
            case "day":
                before = clock.ns
                clock.on(86_400)
                day = {}
                if Turned("2026-12-01T00:00:00").ns in range(before, clock.ns + 1):
                    month = {}
    found = {name: spent for (scope, name), spent in _spent(ledger).items() if scope is BudgetScope.APP}
    assert {name: n for name, (n, _, _) in found.items() if n} == day
    assert {name: n for name, (_, n, _) in found.items() if n} == month
    ledger.close()


def _noted(acks: Path) -> tuple[int, int]:
    """How many calls `tests.gateway.spends` noted, and what they cost."""
    n, nano = map(int, ((acks.exists() and acks.read_text()) or "0 0").split())
    return n, nano


def _has_noted(acks: Path, n: int) -> bool:
    return _noted(acks)[0] >= n


def _read_back(folder: Path) -> int:
    """What all tenants of `tests.gateway.spends` spent."""
    ledger = Ledger(folder)
    spent = [_spent(ledger, f"t{t}").get((BudgetScope.TENANT, f"t{t}"), (0, 0, 0)) for t in range(7)]
    ledger.close()
    return sum(month for _, month, _ in spent)


def test_kill_9_in_the_middle_loses_nothing_that_was_said(folder: Path, tmp_path: Path) -> None:
    """Killed again and again while it writes and folds: what is read back is what it noted before it was killed, and at
    most the one line more that it had no time to note."""
    wanted = 0
    acks = tmp_path / "acks"
    for kill_after in (1, 37, 700):
        acks.unlink(missing_ok=True)
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.gateway.spends", str(folder), str(acks), "5000"], cwd=REPOSITORY
        )
        try:
            wait_until(partial(_has_noted, acks, kill_after), timeout_s=60, what="calls")
        finally:
            child.kill()
            child.wait()
        n, nano = _noted(acks)
        found = _read_back(folder)
        assert found - wanted in (nano, nano + cost_of(n))
        wanted = found


def test_kill_9_before_every_change_of_a_file_loses_nothing_that_was_said(tmp_path: Path) -> None:
    acks = tmp_path / "acks"
    for point in itertools.count(1):
        folder = tmp_path / f"spend{point}"
        folder.mkdir()
        killed = killed_at(point, folder, "tests.gateway.spends", str(folder), str(acks), "12")
        n, nano = _noted(acks)
        assert _read_back(folder) in (nano, nano + cost_of(n))
        if not killed:
            break
    assert point > 10
    assert n == 12


def test_a_last_line_cut_off_is_told_and_costs_only_itself(folder: Path, clock: Turned) -> None:
    ledger = Ledger(folder, clock)
    for _ in range(3):
        ledger.add(_call(), 10)
    ledger.close()
    path = next(folder.glob("*.jsonl"))
    path.write_bytes(path.read_bytes()[:-20])
    for again in _again(folder, clock):
        assert _spent(again)[BudgetScope.TENANT, "acme"][0] == 20
        assert (again.state().n_unreadable, again.state().n_torn) == (1, 1)


@pytest.mark.parametrize(
    "line",
    [
        b"\0\0\0\0", b"[]", b"null", b"7", b'{"tenant": "acme"}', b'"text"', b"\xff\xfe",
        b'{"tenant":"acme","app":"","user":"","team":"","nano":-5}',
        b'{"tenant":"acme","app":"","user":"","team":"","nano":true}',
        b'{"tenant":"acme","app":"","user":"","team":"","nano":1.5}',
        b'{"tenant":"acme","app":7,"user":"","team":"","nano":5}',
        b'{"tenant":["acme"],"app":"","user":"","team":"","nano":5}',
    ],
)  # fmt: skip
def test_lines_that_are_none_are_skipped_and_counted(folder: Path, clock: Turned, line: bytes) -> None:
    ledger = Ledger(folder, clock)
    ledger.add(_call(), 10)
    ledger.close()
    path = next(folder.glob("*.jsonl"))
    path.write_bytes(line + b"\n" + path.read_bytes())
    for again in _again(folder, clock):
        assert _spent(again)[BudgetScope.TENANT, "acme"][0] == 10
        assert (again.state().n_unreadable, again.state().n_torn) == (1, 0)


def test_a_day_becomes_its_totals_and_old_days_go(folder: Path, clock: Turned) -> None:
    ledger = Ledger(folder, clock)
    (folder / "2026-08-01.totals.json").write_text("{}")
    (folder / "2026-08-01.000001.jsonl").write_text("")
    ledger.add(_call(), 10)
    clock.on(86_400)
    ledger.add(_call(), 1)
    assert _fold(ledger)
    assert not _fold(ledger)
    assert sorted(path.name for path in folder.iterdir()) == [
        "2026-11-21.totals.json", "2026-11-22.000002.jsonl", "key", "lock",
    ]  # fmt: skip
    ledger.close()
    for again in _again(folder, clock):
        assert _spent(again)[BudgetScope.TENANT, "acme"] == (1, 11, 0)


def test_a_day_that_ended_while_nothing_ran_becomes_its_totals_too(folder: Path, clock: Turned) -> None:
    ledger = Ledger(folder, clock)
    ledger.add(_call(), 10)
    ledger.close()
    clock.on(86_400)
    for again in _again(folder, clock):
        assert _fold(again)
        assert _spent(again)[BudgetScope.TENANT, "acme"] == (0, 10, 0)
        assert (folder / "2026-11-21.totals.json").exists()
        assert not list(folder.glob("2026-11-21.*.jsonl"))


def test_many_lines_become_totals_within_the_day(folder: Path, clock: Turned) -> None:
    ledger = Ledger(folder, clock, lines_per_segment=20)
    for n in range(100):
        ledger.add(_call(app=f"a{n % 3}"), 1)
        _fold(ledger)
    assert len(_lines(folder)) == 0
    ledger.add(_call(), 1)
    ledger.close()
    for again in _again(folder, clock):
        assert _spent(again)[BudgetScope.TENANT, "acme"][0] == 101


def test_a_full_disk_stops_no_call_and_what_it_did_not_take_is_written_when_it_does_again(
    folder: Path, clock: Turned
) -> None:
    """/dev/full answers every write as a full disk does."""
    ledger = Ledger(folder, clock)
    ledger.add(_call(), 1)
    full, kept = os.open("/dev/full", os.O_WRONLY), os.dup(ledger._descriptor)
    os.dup2(full, ledger._descriptor)
    for _ in range(5):
        ledger.add(_call(), 10)
    assert ledger.state().n_unwritten == 5
    assert "No space left on device" in ledger.state().trouble
    assert _spent(ledger)[BudgetScope.TENANT, "acme"][0] == 51
    os.dup2(kept, ledger._descriptor)
    os.close(full)
    os.close(kept)
    assert _fold(ledger)
    assert ledger.state().n_unwritten == 0
    assert ledger.state().trouble == ""
    ledger.close()
    for again in _again(folder, clock):
        assert _spent(again)[BudgetScope.TENANT, "acme"][0] == 51


def test_a_folder_that_takes_no_files_stops_no_call_and_is_tried_again(folder: Path, clock: Turned) -> None:
    ledger = Ledger(folder, clock)
    aside = folder.rename(folder.with_name("aside"))
    clock.on(86_400)
    ledger.add(_call(), 7)
    work = ledger.fold()
    assert work is not None
    work()
    assert ledger.state().trouble
    assert ledger.state().n_unwritten == 1
    aside.rename(folder)
    clock.on(2)
    ledger.add(_call(), 3)
    for _ in range(3):
        _fold(ledger)
    assert ledger.state().trouble == ""
    assert ledger.state().n_unwritten == 0
    ledger.close()
    for again in _again(folder, clock):
        assert _spent(again)[BudgetScope.TENANT, "acme"][0] == 10


def test_two_gateways_do_not_write_one_folder(folder: Path, clock: Turned) -> None:
    ledger = Ledger(folder, clock)
    with pytest.raises(Conflict, match="in use by another gateway"):
        Ledger(folder, clock)
    ledger.close()
    Ledger(folder, clock).close()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"through": 1, "sums": [[1, "tenant", "x", 1, 0]]}', "\0"])
def test_totals_that_cannot_be_read_are_refused_in_words(folder: Path, clock: Turned, text: str) -> None:
    Ledger(folder, clock).close()
    (folder / "2026-11-20.totals.json").write_text(text)
    with pytest.raises(
        Corrupt, match=r"2026-11-20.totals.json cannot be read; put it back from a backup, or delete it"
    ):
        Ledger(folder, clock)


def test_names_made_up_by_one_tenant_are_counted_together_beyond_a_number(
    monkeypatch: pytest.MonkeyPatch, clock: Turned
) -> None:
    monkeypatch.setattr(ledger_module, "MOST_NAMES", 50)
    ledger = Ledger(None, clock)
    for n in range(200):
        ledger.add(_call(user=f"u{n}", app=f"a{n}"), 1)
    ledger.add(_call(tenant="other"), 1)
    spent = _spent(ledger)
    assert len(spent) <= 55
    assert spent[BudgetScope.TENANT, "acme"][0] == 200
    assert sum(n for (scope, _), (n, _, _) in spent.items() if scope is BudgetScope.USER) == 200
    assert spent[BudgetScope.USER, OTHERS][0] > 100
    assert (BudgetScope.APP, "my-agent") in _spent(ledger, "other")


def _of_acme(ledger: Ledger) -> tuple[int, int]:
    day, month, _ = _spent(ledger).get((BudgetScope.TENANT, "acme"), (0, 0, 0))
    return day, month


@pytest.mark.parametrize("ahead", ["2026-11-25T08:00:00", "2026-12-02T08:00:00", "2031-01-01T00:00:00"])
@pytest.mark.parametrize("folded", [True, False])
def test_a_clock_that_was_ahead_and_is_put_right_finds_its_day_and_month_again(
    folder: Path, clock: Turned, ahead: str, folded: bool
) -> None:
    ledger = Ledger(folder, clock)
    ledger.add(_call(), 1)
    clock.to("2026-11-22T12:00:00")
    ledger.add(_call(), 20)
    held = ledger.accounts(_call().caller)[0]
    held.reserved += 5
    clock.to(ahead)
    ledger.add(_call(), 300)
    if folded:
        _fold(ledger)
    clock.to("2026-11-22T12:05:00")
    assert _of_acme(ledger) == (20, 21)
    assert ledger.accounts(_call().caller)[0] is held
    ledger.add(_call(), 4_000)
    assert _of_acme(ledger) == (4_020, 4_021)
    _fold(ledger)
    ledger.close()
    for again in _again(folder, clock):
        assert _of_acme(again) == (4_020, 4_021)
        clock.to(ahead)
        same_month = ahead.startswith("2026-11")
        assert _of_acme(again) == (300, 4_321 if same_month else 300)
        again.add(_call(), 50_000)
        _fold(again)
        clock.on(86_400)
        assert _of_acme(again) == (0, 54_321 if same_month else 50_300)


def test_a_clock_that_was_behind_finds_what_was_spent_before_it_went(folder: Path, clock: Turned) -> None:
    ledger = Ledger(folder, clock)
    ledger.add(_call(), 1)
    clock.to("2026-11-22T12:00:00")
    ledger.add(_call(), 20)
    clock.to("2026-11-19T12:00:00")
    assert _of_acme(ledger) == (0, 0)
    ledger.add(_call(), 300)
    clock.to("2026-11-22T12:01:00")
    assert _of_acme(ledger) == (20, 321)
    ledger.close()


def test_an_hour_back_behind_midnight_is_the_same_day(folder: Path, clock: Turned) -> None:
    clock.to("2026-11-22T00:00:00")
    ledger = Ledger(folder, clock)
    ledger.add(_call(), 1)
    clock.to("2026-11-21T23:00:00")
    assert _of_acme(ledger) == (1, 1)
    clock.on(-1)
    assert _of_acme(ledger) == (0, 0)
    ledger.close()


def test_what_cannot_be_read_when_the_clock_is_put_right_is_told(folder: Path, clock: Turned) -> None:
    ledger = Ledger(folder, clock)
    ledger.add(_call(), 1)
    clock.to("2026-11-25T12:00:00")
    assert _fold(ledger)
    (folder / "2026-11-21.totals.json").write_bytes(b"{")
    clock.to("2026-11-21T12:00:00")
    assert _of_acme(ledger) == (0, 0)
    assert "cannot be read" in ledger.state().trouble
    ledger.close()


def test_a_new_month_forgets_who_has_nothing_under_way(clock: Turned) -> None:
    ledger = Ledger(None, clock)
    for n in range(100):
        ledger.add(_call(user=f"u{n}"), 1)
    held = ledger.accounts(_call(user="u5").caller)
    for account in held:
        account.reserved += 5
    clock.to("2026-12-01T00:00:00")
    assert len(ledger.of_tenant("acme")) == 4
    assert {id(account) for account in ledger.accounts(_call(user="u5").caller)} == {id(each) for each in held}
