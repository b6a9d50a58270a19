"""Decisions of gates in the control database: kept whole, of their tenant, audited; on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import Corrupt, NotFound
from core.ids import TenantId
from core.records import Principal, Role
from store.control.control import Control
from store.control.integrity import look_over
from tests.store.control_rows import decided
from tests.store.databases import ControlDatabase

ACME, SHOP = TenantId("acme"), TenantId("shop")
ANN = Principal(tenant=ACME, role=Role.USER, name="ann", key_id="0123456789ab")
BUNDLE = b'{"digest": "x"}' * 1000


@pytest.fixture
def control(database: ControlDatabase) -> Iterator[Control]:
    found = database.open()
    for tenant in (ACME, SHOP):
        found.ensure_tenant(tenant)
    yield found
    found.close()


def test_a_decision_is_kept_with_its_bundle(control: Control, database: ControlDatabase) -> None:
    first, second = decided(ACME), decided(ACME, "gate_2", app="other", at_ns=10**18 + 1)
    for one in (first, second):
        control.add_gate(one, BUNDLE, by=ANN)
    assert control.gates(ACME) == [second, first]
    assert control.gates(ACME, "desk") == [first]
    assert database.open().gate(ACME, "gate_1") == first
    assert control.gate_bundle(ACME, "gate_2") == BUNDLE


def test_it_belongs_to_its_tenant(control: Control) -> None:
    control.add_gate(decided(ACME), BUNDLE, by=ANN)
    assert control.gates(SHOP) == []
    for ask in (control.gate, control.gate_bundle):
        with pytest.raises(NotFound):
            ask(SHOP, "gate_1")
    with pytest.raises(NotFound):
        control.add_gate(decided(TenantId("nobody")), BUNDLE, by=ANN)


def test_the_audit_log_has_its_digest(control: Control) -> None:
    control.add_gate(decided(ACME), BUNDLE, by=ANN)
    record = next(one for one in control.list_audit(ACME) if one.action == "gate.decide")
    assert (record.resource, record.actor) == ("gate/gate_1", "ann")
    assert record.after is not None
    assert (record.after["decision"], record.after["digest"]) == ("pass", "ab" * 32)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_altered_row_is_not_believed_and_doctor_names_it(
    control: Control, database: ControlDatabase, tmp_path: Path
) -> None:
    control.add_gate(decided(ACME), BUNDLE, by=ANN)
    database.execute("UPDATE gate_decisions SET decision = 'fail', candidate = 'v3'")
    database.execute("UPDATE gate_bundles SET body = x'0011'")
    with pytest.raises(Corrupt):
        control.gate(ACME, "gate_1")
    with pytest.raises(Corrupt):
        control.gate_bundle(ACME, "gate_1")
    found = " ".join(one.what for one in look_over(tmp_path / "control.db"))
    assert "gate_decisions" in found
    assert "gate_bundles" in found


def test_what_was_erased_goes_from_a_decision_under_a_new_digest(control: Control) -> None:
    for one in (decided(ACME), decided(ACME, "gate_2")):
        control.add_gate(one, BUNDLE, by=ANN)
    control.rewrite_gate(control.gate(ACME, "gate_1"), {"decision": "pass"}, "cd" * 32, b"{}")
    assert (control.gate(ACME, "gate_1").told, control.gate_bundle(ACME, "gate_1")) == ({"decision": "pass"}, b"{}")
    assert (control.gate(ACME, "gate_1").digest, control.gate(ACME, "gate_2")) == ("cd" * 32, decided(ACME, "gate_2"))
    record = control.list_audit(ACME)[0]
    assert (record.action, record.resource, record.after) == ("gate.forget", "gate/gate_1", {"digest": "cd" * 32})
    assert record.before == {"digest": "ab" * 32}
    with pytest.raises(NotFound):
        control.rewrite_gate(decided(SHOP), {}, "cd" * 32, b"{}")
