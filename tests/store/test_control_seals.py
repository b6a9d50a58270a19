"""Rows of the control database that were altered: found, never believed, mended where the seal proves how."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from core.errors import Corrupt
from core.ids import TenantId
from core.records import Counts, Principal, Role
from store import doctor
from store.control.control import Control
from store.control.database import Database
from store.control.integrity import look_over, mend
from store.control.migrate import REVISIONS, upgrade
from store.control.records import ClaimState, PlanSpec, ReleaseSpec
from tests.store.databases import PEPPER

AIRLINE, SHOP = TenantId("airline"), TenantId("shop")
ANN = Principal(tenant=AIRLINE, role=Role.ADMIN, name="ann", key_id="0123456789ab")


def opened(folder: Path) -> Control:
    return Control.open(f"sqlite:///{folder / 'control.db'}", pepper=PEPPER)


def filled(folder: Path) -> Control:
    control = opened(folder)
    for tenant in (AIRLINE, SHOP):
        control.ensure_tenant(tenant)
        control.create_key(tenant, Role.VIEWER, "reads", by=ANN)
        control.settle(1 if tenant == AIRLINE else 2, 7, {(tenant, "spans"): Counts(received=12, stored=12)})
    control.claim(AIRLINE, "k", b"b" * 32, "[]")
    control.register_release(AIRLINE, ReleaseSpec(app="desk", name="v1", model="gpt"), by=ANN)
    control.set_plan(AIRLINE, PlanSpec(app="desk", baseline="v1", weights={"v1": 0.9}), by=ANN)
    return control


def change(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "control.db")) as database, database:
        assert database.execute(statement).rowcount > 0


ONE_BIT = [
    "UPDATE api_keys SET role = 'viewes' WHERE tenant = 'airline'",
    "UPDATE api_keys SET tenant = 'airlinm' WHERE tenant = 'airline'",
    "UPDATE api_keys SET created_at_ns = created_at_ns + 1 - 2 * (created_at_ns & 1)",
    "UPDATE tenants SET pii = replace(pii, 'redact', 'redacu')",
    "UPDATE ledger SET stored = 8 WHERE tenant = 'airline'",
    "UPDATE ledger SET received = -116 WHERE tenant = 'airline'",
    "UPDATE watermarks SET upto_seq = 3 WHERE journal = 1",
    "UPDATE idempotency SET answer = 'Z]'",
    "UPDATE releases SET model = 'gpu'",
    "UPDATE releases SET name = 'v3'",
    "UPDATE plans SET weights = replace(weights, '0.9', '0.8')",
    "UPDATE plans SET version = 3",
]


@pytest.mark.parametrize("statement", ONE_BIT)
def test_a_row_with_one_flipped_bit_is_read_as_it_was_written_and_mended(tmp_path: Path, statement: str) -> None:
    control = filled(tmp_path)
    expected = answers(control)
    change(tmp_path, statement)
    assert answers(control) == expected
    found = look_over(tmp_path / "control.db")
    assert found
    assert all(each.mendable for each in found)
    (check, *_) = [one for one in doctor.examine(tmp_path) if one.name == "control database"]
    assert (check.status, "--repair" in check.remedy) == ("fail", True)
    assert mend(tmp_path / "control.db") == found
    assert look_over(tmp_path / "control.db") == []
    assert answers(control) == expected
    control.close()


def answers(control: Control) -> tuple[object, ...]:
    claim = control.claim(AIRLINE, "k", b"b" * 32, "other")
    assert claim.state is ClaimState.PENDING
    keys = [control.list_keys(tenant) for tenant in (AIRLINE, SHOP)]
    found = [control.find_key(key.key_id) for own in keys for key in own]
    marks = [control.settled_upto(journal) for journal in (1, 2, 3)]
    ledger = control.ledger(None), control.ledger(SHOP)
    return (
        keys,
        found,
        marks,
        control.all_tenants(),
        ledger,
        claim.answer,
        control.releases(AIRLINE),
        control.live_plans(),
    )


ASKED: list[tuple[str, Callable[[Control], object]]] = [
    ("UPDATE api_keys SET role = 'admin' WHERE tenant = 'airline'", lambda c: c.list_keys(AIRLINE)),
    ("UPDATE tenants SET retention_days = 3 WHERE id = 'airline'", lambda c: c.tenant(AIRLINE)),
    ("UPDATE ledger SET stored = 1, received = 1 WHERE tenant = 'airline'", lambda c: c.ledger(AIRLINE)),
    ("UPDATE watermarks SET upto_seq = 90 WHERE journal = 1", lambda c: c.settled_upto(1)),
    ("UPDATE releases SET model = 'sim-2'", lambda c: c.releases(AIRLINE)),
    ("UPDATE plans SET weights = '{\"v2\":1}'", lambda c: c.live_plans()),
    ("UPDATE idempotency SET seal = NULL", lambda c: c.claim(AIRLINE, "k", b"b" * 32, "[]")),
]


@pytest.mark.parametrize(("statement", "ask"), ASKED)
def test_any_other_change_is_refused_and_other_rows_are_served(
    tmp_path: Path, statement: str, ask: Callable[[Control], object]
) -> None:
    control = filled(tmp_path)
    change(tmp_path, statement)
    with pytest.raises(Corrupt, match="was altered"):
        ask(control)
    assert control.tenant(SHOP).retention_days is None
    assert len(control.list_keys(SHOP)) == len(control.ledger(SHOP)) == 1
    assert control.settled_upto(2) == 7
    assert [each.mendable for each in mend(tmp_path / "control.db")] == [False]
    control.close()


def test_a_ledger_line_that_is_not_believed_does_not_hold_up_ingest(tmp_path: Path) -> None:
    control = filled(tmp_path)
    change(tmp_path, "UPDATE ledger SET stored = 1, received = 1 WHERE tenant = 'airline'")
    more = Counts(received=11, stored=11)
    assert control.settle(1, 8, {(AIRLINE, "spans"): more, (SHOP, "spans"): more})
    assert control.settled_upto(1) == 8
    assert control.ledger(SHOP)[0].stored == 23
    with pytest.raises(Corrupt):
        control.ledger(AIRLINE)
    control.close()


def test_a_row_that_an_index_hides_is_found(tmp_path: Path) -> None:
    control = filled(tmp_path)
    expected = answers(control)
    control.close()
    raw = bytearray((tmp_path / "control.db").read_bytes())
    with closing(sqlite3.connect(tmp_path / "control.db")) as database:
        pages = "SELECT rootpage FROM sqlite_master WHERE type = 'index'"
        roots = [page for (page,) in database.execute(pages)]
        (size,) = database.execute("PRAGMA page_size").fetchone()
    for page in roots:
        at = raw.rfind(b"airline", (page - 1) * size, page * size)
        if at >= 0:
            raw[at] ^= 1
    (tmp_path / "control.db").write_bytes(raw)
    control = opened(tmp_path)
    assert answers(control) == expected
    assert look_over(tmp_path / "control.db")
    mend(tmp_path / "control.db")
    assert look_over(tmp_path / "control.db") == []
    control.close()


def test_changes_that_its_log_lost_are_missed_at_the_next_start(tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    control = filled(live)
    key = control.list_keys(AIRLINE)[0]
    control.revoke_key(AIRLINE, key.key_id)
    crashed = tmp_path / "crashed"
    shutil.copytree(live, crashed, ignore=shutil.ignore_patterns("*-shm"))
    control.close()
    log = bytearray((crashed / "control.db-wal").read_bytes())
    assert log
    log[-2000] ^= 1
    (crashed / "control.db-wal").write_bytes(log)
    with pytest.raises(Corrupt, match=r"changes of the control database .* are gone"):
        opened(crashed)
    (crashed / "control.db-changes").unlink()
    accepted = opened(crashed)
    assert accepted.list_keys(AIRLINE)
    accepted.close()


def test_a_note_of_changes_that_was_altered_itself_stops_nobody(tmp_path: Path) -> None:
    filled(tmp_path).close()
    note = tmp_path / "control.db-changes"
    note.write_bytes(note.read_bytes().replace(b"0", b"9", 1))
    control = opened(tmp_path)
    control.ensure_tenant(TenantId("third"))
    control.close()
    again = opened(tmp_path)
    assert TenantId("third") in [each.id for each in again.all_tenants()]
    again.close()


def test_rows_of_an_earlier_release_are_sealed_when_it_is_opened(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'control.db'}"
    database = Database(url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("store.control.migrate.REVISIONS", REVISIONS[: REVISIONS.index("0005")])
        with pytest.raises(Corrupt):  # it knows today's tables, and misses the new one
            upgrade(database)
    with database.write() as connection:
        connection.exec_driver_sql(
            'INSERT INTO tenants VALUES (\'old\', 5, \'{"default": "redact", "by_entity": {}}\', 9)'
        )
        connection.exec_driver_sql("INSERT INTO ledger VALUES ('old', 'spans', 3, 2, 1, 0, 0)")
    database.close()
    control = opened(tmp_path)
    assert control.tenant(TenantId("old")).retention_days == 9
    assert control.ledger(None)[0].counts == Counts(received=3, stored=2, duplicate=1)
    assert look_over(tmp_path / "control.db") == []
    control.close()


def test_the_audit_list_shows_no_record_that_was_changed(tmp_path: Path) -> None:
    control = filled(tmp_path)
    assert [record.seq for record in control.list_audit(AIRLINE, limit=1)] == [4]
    change(tmp_path, "UPDATE audit SET actor = 'eve' WHERE tenant = 'airline' AND seq = 1")
    with pytest.raises(Corrupt, match="record 1 of the audit chain"):
        control.list_audit(AIRLINE)
    change(tmp_path, "DELETE FROM audit WHERE tenant = 'airline' AND seq = 1")
    with pytest.raises(Corrupt, match="missing"):
        control.list_audit(AIRLINE)
    change(tmp_path, "UPDATE audit_heads SET seq = 7 WHERE tenant = 'airline'")
    with pytest.raises(Corrupt, match="head"):
        control.create_key(AIRLINE, Role.USER, "on a forged head")
    assert control.list_audit(SHOP)
    control.close()
