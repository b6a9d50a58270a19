"""The table of README.md: every row of the corpus has a case, a test or a reason, and what it names exists."""

from __future__ import annotations

import re
from typing import Final

from tests.bad_inputs.table import README, cases_by_row, updated
from tests.stack import REPOSITORY

PAGE: Final = README.read_text(encoding="utf-8")
CORPUS: Final = re.findall(r"^\| (\d+) \| .*? \| (.*?) \| (.*) \|$", PAGE, re.MULTILINE)
PEERS: Final = re.findall(r"^\| F(\d\d) \| .*? \| (.*) \|$", PAGE, re.MULTILINE)


def test_every_row_is_in_its_table_once() -> None:
    assert [int(row) for row, _, _ in CORPUS] == list(range(1, 81))
    assert [int(row) for row, _ in PEERS] == list(range(1, 69))


def test_every_case_is_named_at_its_row_and_no_other_is() -> None:
    assert updated(PAGE) == PAGE, "run: python -m tests.bad_inputs.table"
    assert set(cases_by_row()) <= {int(row) for row, _, _ in CORPUS}


def test_every_row_has_a_case_a_test_or_a_reason() -> None:
    found = cases_by_row()
    for row, _, also in CORPUS:
        assert found[int(row)] or "`" in also or also.startswith("cannot apply: "), f"row {row}"
    for row, also in PEERS:
        assert re.search(r"`|rows? \d|invariant|cannot apply: ", also), f"row F{row}"


def test_no_reason_waits_for_what_is_to_come() -> None:
    """What "there is no ... yet" was said of has mostly come since."""
    for row, _, also in CORPUS:
        assert "yet" not in also.split(), f"row {row}"
    for row, also in PEERS:
        assert "yet" not in also.split(), f"row F{row}"


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`((?:\w+/)+test_\w+\.py)(?:::(test_\w+))?`", PAGE)
    assert len(named) > 80
    for path, name in named:
        text = (REPOSITORY / "tests" / path).read_text(encoding="utf-8")
        assert not name or f"def {name}(" in text, f"{path}::{name}"


def test_rows_of_the_corpus_that_peers_point_to_have_cases_or_tests() -> None:
    told = {row: also for row, _, also in CORPUS}
    found = cases_by_row()
    for peer, also in PEERS:
        for words in re.findall(r"rows? ([\d, and]+)", also):
            for row in re.findall(r"\d+", words):
                assert found[int(row)] or "`" in told[row], f"F{peer} points to row {row}"
