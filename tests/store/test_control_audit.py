"""The audit chain against someone who can write to the database but does not have the pepper."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.errors import StorageFailed
from core.ids import TenantId
from core.records import PiiMode, PiiPolicy, Principal, Role
from store.control.control import Control
from store.control.records import AuditHead
from tests.store.databases import ControlDatabase

AIRLINE, SHOP = TenantId("airline"), TenantId("shop")
ANN = Principal(tenant=AIRLINE, role=Role.ADMIN, name="ann", key_id="0123456789ab")


@pytest.fixture
def control(database: ControlDatabase) -> Iterator[Control]:
    opened = database.open()
    opened.ensure_tenant(AIRLINE)
    opened.ensure_tenant(SHOP)
    for n in range(5):
        opened.record(ANN, "rubric.change", f"rubric/{n}", before={"version": n}, after={"version": n + 1})
    yield opened
    opened.close()


def test_a_chain_that_nobody_touched_is_whole(control: Control) -> None:
    verdict = control.verify(AIRLINE)
    assert (verdict.ok, verdict.n_records, verdict.reason) == (True, 6, None)
    assert control.verify(SHOP).n_records == 1


def test_a_record_tells_who_did_what(control: Control) -> None:
    newest = control.list_audit(AIRLINE, limit=1)[0]
    assert (newest.seq, newest.actor, newest.actor_key_id) == (6, "ann", "0123456789ab")
    assert (newest.action, newest.resource) == ("rubric.change", "rubric/4")
    assert (newest.before, newest.after) == ({"version": 4}, {"version": 5})
    older = control.list_audit(AIRLINE, before_seq=6, limit=2)
    assert [record.seq for record in older] == [5, 4]
    assert [record.tenant for record in control.list_audit(SHOP)] == [SHOP]


def test_every_change_is_recorded_with_its_author(control: Control) -> None:
    key, text = control.create_key(AIRLINE, Role.ADMIN, "one", by=ANN)
    control.create_key(AIRLINE, Role.ADMIN, "two", by=ANN)
    control.set_pii(AIRLINE, PiiPolicy(default=PiiMode.HASH), by=ANN)
    control.set_retention(AIRLINE, 7, by=ANN)
    control.revoke_key(AIRLINE, key.key_id, by=ANN)
    records = control.list_audit(AIRLINE, limit=5)
    actions = [record.action for record in records]
    assert actions == ["key.revoke", "tenant.settings", "tenant.settings", "key.create", "key.create"]
    assert all(record.actor == "ann" for record in records)
    assert text[17:60] not in str(records)
    assert control.verify(AIRLINE).ok


def test_a_change_that_cannot_be_recorded_does_not_happen(control: Control, database: ControlDatabase) -> None:
    refusal = {
        "sqlite": ["CREATE TRIGGER t BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no more'); END"],
        "postgresql": [
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no more'; END $$",
            "CREATE TRIGGER t BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION f()",
        ],
    }
    database.execute(*refusal[database.kind])
    with pytest.raises(StorageFailed):
        control.create_key(AIRLINE, Role.ADMIN, "unseen")
    with pytest.raises(StorageFailed):
        control.set_retention(AIRLINE, 1)
    assert control.list_keys(AIRLINE) == []
    assert control.tenant(AIRLINE).retention_days is None


@pytest.mark.parametrize(
    ("statements", "first_bad_seq", "reason"),
    [
        (["UPDATE audit SET actor = 'eve' WHERE tenant = 'airline' AND seq = 3"], 3, "was changed"),
        (["UPDATE audit SET at_ns = at_ns + 1 WHERE tenant = 'airline' AND seq = 3"], 3, "was changed"),
        (["UPDATE audit SET after = NULL WHERE tenant = 'airline' AND seq = 6"], 6, "was changed"),
        (["UPDATE audit SET actor_key_id = NULL WHERE tenant = 'airline' AND seq = 2"], 2, "was changed"),
        (["DELETE FROM audit WHERE tenant = 'airline' AND seq = 3"], 3, "is missing"),
        (["DELETE FROM audit WHERE tenant = 'airline' AND seq = 1"], 1, "is missing"),
        (
            [
                "DELETE FROM audit WHERE tenant = 'airline' AND seq = 3",
                "UPDATE audit SET seq = seq - 1 WHERE tenant = 'airline' AND seq > 3",
            ],
            3,
            "does not follow",
        ),
        (
            [
                "UPDATE audit SET seq = 99 WHERE tenant = 'airline' AND seq = 3",
                "UPDATE audit SET seq = 3 WHERE tenant = 'airline' AND seq = 4",
                "UPDATE audit SET seq = 4 WHERE tenant = 'airline' AND seq = 99",
            ],
            3,
            "does not follow",
        ),
        (["DELETE FROM audit WHERE tenant = 'airline' AND seq > 4"], 5, "at the end are missing"),
        (["DELETE FROM audit WHERE tenant = 'airline'"], 1, "at the end are missing"),
        (
            ["DELETE FROM audit WHERE tenant = 'airline'", "DELETE FROM audit_heads WHERE tenant = 'airline'"],
            1,
            "no head",
        ),
        (["UPDATE audit_heads SET seq = 4 WHERE tenant = 'airline'"], 6, "head of the chain was changed"),
        (
            [
                "UPDATE audit SET before = (SELECT before FROM audit WHERE tenant = 'airline' AND seq = 2)"
                " WHERE tenant = 'airline' AND seq = 3",
            ],
            3,
            "was changed",
        ),
    ],
)
def test_tampering_is_found_and_located(
    control: Control, database: ControlDatabase, statements: list[str], first_bad_seq: int, reason: str
) -> None:
    database.execute(*statements)
    verdict = control.verify(AIRLINE)
    assert not verdict.ok
    assert verdict.first_bad_seq == first_bad_seq
    assert verdict.reason is not None
    assert reason in verdict.reason
    assert control.verify(SHOP).ok


def test_a_cut_tail_with_a_forged_head_is_found(control: Control, database: ControlDatabase) -> None:
    """Moving the head back needs its keyed code, which needs the pepper."""
    database.execute(
        "DELETE FROM audit WHERE tenant = 'airline' AND seq > 4",
        "UPDATE audit_heads SET seq = 4, hash = (SELECT hash FROM audit WHERE tenant = 'airline' AND seq = 4)"
        " WHERE tenant = 'airline'",
    )
    verdict = control.verify(AIRLINE)
    assert (verdict.ok, verdict.reason) == (False, "the head of the chain was changed")


def test_an_old_copy_put_back_is_found_by_a_head_noted_elsewhere(control: Control, database: ControlDatabase) -> None:
    database.execute("CREATE TABLE old_head AS SELECT * FROM audit_heads WHERE tenant = 'airline'")
    control.record(ANN, "key.create", "key/forgotten")
    noted = control.verify(AIRLINE).head
    assert noted is not None
    assert control.verify(AIRLINE, noted).ok
    database.execute(
        "DELETE FROM audit WHERE tenant = 'airline' AND seq = 7",
        "DELETE FROM audit_heads WHERE tenant = 'airline'",
        "INSERT INTO audit_heads SELECT * FROM old_head",
    )
    assert control.verify(AIRLINE).ok
    verdict = control.verify(AIRLINE, noted)
    assert (verdict.ok, verdict.first_bad_seq) == (False, 7)
    assert not control.verify(AIRLINE, AuditHead(seq=3, hash="0" * 64)).ok


def test_another_pepper_verifies_nothing(control: Control, database: ControlDatabase) -> None:
    other = database.open(pepper=b"another pepper, also 32 bytes ok")
    assert not other.verify(AIRLINE).ok
    other.close()


def test_untrusted_text_is_kept_as_text(control: Control) -> None:
    strange = "a\0b\u202e'; DROP TABLE audit; --😀<script>"
    control.record(ANN, "rubric.change", "rubric/x", after={"text": strange})
    assert control.list_audit(AIRLINE, limit=1)[0].after == {"text": strange}
    assert control.verify(AIRLINE).ok
