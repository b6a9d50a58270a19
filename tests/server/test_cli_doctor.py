"""The doctor's own arithmetic: a ledger that does not add up fails, whatever it says of itself."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.records import Counts
from server.cli import doctor
from server.cli.main import main
from server.cli.outcome import ExitCode
from store.control.ledger_checks import ledger_checks
from store.control.records import LedgerRow
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A server whose ledger has counts of two tenants."""
    with running_shell(tmp_path) as running:
        deltas = {
            (AIRLINE, "spans"): Counts(received=10, stored=6, duplicate=2, quarantined=1, rejected=1),
            (AIRLINE, "log_records"): Counts(received=1, rejected=1),
            (SHOP, "spans"): Counts(received=3, stored=3),
        }
        running.services.control.settle(1, 1, deltas)
        yield running


def lose_one(shell: Shell) -> None:
    """A row of the ledger that somebody changed by hand."""
    with closing(sqlite3.connect(shell.services.settings.data / "control.db")) as database:
        database.execute("UPDATE ledger SET stored = stored - 3 WHERE tenant = 'airline' AND signal = 'spans'")
        database.commit()


def ledger_of(checks: list[dict[str, str]]) -> dict[str, tuple[str, str]]:
    return {one["name"]: (one["status"], one["detail"]) for one in checks if one["name"].startswith("ledger")}


def test_the_server_says_that_its_tenants_ledger_adds_up(shell: Shell) -> None:
    answer = shell.client.get("/api/v1/doctor", params={"scrub": "false"}, headers=shell.headers())
    assert ledger_of(answer.json()["checks"]) == {
        "ledger: spans of airline": ("ok", "10 received = 6 stored + 2 duplicate + 1 quarantined + 1 rejected"),
        "ledger: log_records of airline": ("ok", "1 received = 0 stored + 0 duplicate + 0 quarantined + 1 rejected"),
    }
    lose_one(shell)
    answer = shell.client.get("/api/v1/doctor", params={"scrub": "false"}, headers=shell.headers())
    found = {one["name"]: (one["status"], one["detail"]) for one in answer.json()["checks"]}
    assert found["control database"] == ("fail", "row 1 of ledger was altered and is not believed")
    assert found["ledger"][0] == "fail"


def test_a_ledger_that_does_not_add_up_is_told_with_the_difference() -> None:
    row = LedgerRow(tenant=AIRLINE, signal="spans", counts=Counts(received=10, stored=5, duplicate=2, quarantined=2))
    (found,) = ledger_checks([row])
    assert found.status == "fail"
    assert "10 received is not 5 stored" in found.detail
    assert "1 unaccounted for" in found.detail


def test_offline_every_tenants_ledger_is_checked(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["doctor", "--offline", "--json", "--data", str(shell.services.settings.data)]
    main(words)
    found = json.loads(capsys.readouterr().out)
    assert {name: state for name, (state, _) in ledger_of(found["checks"]).items()} == {
        "ledger: log_records of airline": "ok",
        "ledger: spans of airline": "ok",
        "ledger: spans of shop": "ok",
    }
    assert {(row["tenant"], row["signal"], row["received"], row["balanced"]) for row in found["ledger"]} == {
        ("airline", "spans", 10, True),
        ("airline", "log_records", 1, True),
        ("shop", "spans", 3, True),
    }
    lose_one(shell)
    assert main(words) == ExitCode.FAILED
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"] is False
    assert "row 1 of ledger was altered" in str(found["checks"])
    assert "ledger: spans of airline" not in ledger_of(found["checks"])
    assert ledger_of(found["checks"])["ledger: spans of shop"][0] == "ok"


def test_offline_every_tenants_audit_chain_is_checked(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    data = shell.services.settings.data
    words = ["doctor", "--offline", "--json", "--data", str(data)]

    def audit() -> dict[str, tuple[str, str]]:
        main(words)
        checks = json.loads(capsys.readouterr().out)["checks"]
        return {one["name"]: (one["status"], one["detail"]) for one in checks if one["name"].startswith("audit log")}

    found = audit()
    assert found.keys() == {"audit log of airline", "audit log of shop"}
    assert all(state == "ok" and detail.startswith("chain intact, records: ") for state, detail in found.values())
    with closing(sqlite3.connect(data / "control.db")) as database:
        database.execute("UPDATE audit SET actor = 'nobody' WHERE tenant = 'shop' AND seq = 2")
        database.commit()
    assert audit()["audit log of shop"] == ("fail", "record 2 was changed after it was written")
    assert audit()["audit log of airline"][0] == "ok"
    (data / "secrets" / "pepper").rename(data / "elsewhere")
    assert audit()["audit log"][0] == "fail"
    assert not (data / "secrets" / "pepper").exists()  # looking makes no new one


def test_a_control_database_without_a_ledger_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(tmp_path / "control.db")) as database:
        database.execute("CREATE TABLE other (x)")
    assert main(["doctor", "--offline", "--json", "--data", str(tmp_path)]) == ExitCode.FAILED
    state, detail = ledger_of(json.loads(capsys.readouterr().out)["checks"])["ledger"]
    assert (state, "no such table" in detail) == ("fail", True)


def test_a_status_nobody_knows_counts_as_a_failure() -> None:
    assert doctor._check({"name": "x", "status": "fine", "detail": None})["status"] == "fail"


def test_without_a_server_and_without_data_it_says_where_it_looked(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--offline", "--data", f"{tmp_path}/none"]) == ExitCode.NOT_FOUND
    assert "there is no data folder" in capsys.readouterr().err


def test_a_named_server_that_does_not_answer_is_not_replaced_by_the_data_folder(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["doctor", "--url", "http://127.0.0.1:9", "--data", str(tmp_path)])
    assert code == ExitCode.UNREACHABLE
    assert "no Assay server answers" in capsys.readouterr().err
