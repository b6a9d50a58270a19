"""The doctor's own arithmetic: a ledger that does not add up fails, whatever it says of itself."""

from __future__ import annotations

import pytest

from server.cli import doctor
from server.cli.main import main
from server.cli.outcome import ExitCode


def row(**counts: int) -> dict[str, object]:
    return {"signal": "spans", "received": 0, "stored": 0, "duplicate": 0, "quarantined": 0, "rejected": 0} | counts


def test_a_balanced_ledger_is_well() -> None:
    (check,) = doctor.balance_checks([row(received=10, stored=6, duplicate=2, quarantined=1, rejected=1)])
    assert check["status"] == "ok"
    assert check["detail"] == "10 received = 6 stored + 2 duplicate + 1 quarantined + 1 rejected"


@pytest.mark.parametrize(("stored", "missing"), [(9, "1"), (12, "-2")])
def test_a_span_that_is_nowhere_or_twice_fails_and_says_how_many(stored: int, missing: str) -> None:
    (check,) = doctor.balance_checks([row(received=10, stored=stored) | {"balanced": True}])
    assert check["status"] == "fail"
    assert f"{missing} unaccounted for" in check["detail"]
    assert check["remedy"]


def test_a_status_nobody_knows_counts_as_a_failure() -> None:
    assert doctor._check({"name": "x", "status": "fine", "detail": None})["status"] == "fail"


def test_without_a_server_and_without_data_it_says_where_it_looked(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--offline", "--data", f"{tmp_path}/none"]) == ExitCode.UNREACHABLE
    assert "there is no data folder" in capsys.readouterr().err


def test_a_named_server_that_does_not_answer_is_not_replaced_by_the_data_folder(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["doctor", "--url", "http://127.0.0.1:9", "--data", str(tmp_path)])
    assert code == ExitCode.UNREACHABLE
    assert "no Assay server answers" in capsys.readouterr().err
