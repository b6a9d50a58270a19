"""From a key's text to a principal, with the real control database behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from auth.authenticator import Authenticator, StoredKey
from auth.keys import issue
from core.clock import NS_PER_S
from core.errors import StorageFailed, Unauthenticated
from core.ids import KeyId, TenantId
from core.records import Role
from store.control.control import Control

PEPPER = b"pepper for tests, 32 bytes long!"
AIRLINE = TenantId("airline")


class MovedClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000 * NS_PER_S

    def __call__(self) -> int:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += int(seconds * NS_PER_S)


class CountedKeys:
    """The control database's keys, with the number of times it was asked, and a switch that breaks it."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self.n = 0
        self.broken = False

    def __call__(self, key_id: KeyId) -> StoredKey | None:
        self.n += 1
        if self.broken:
            raise StorageFailed("the disk is gone")
        return self._control.find_key(key_id)


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def control(tmp_path: Path, clock: MovedClock) -> Iterator[Control]:
    opened = Control.open(f"sqlite:///{tmp_path / 'control.db'}", pepper=PEPPER, clock=clock)
    opened.ensure_tenant(AIRLINE)
    yield opened
    opened.close()


@pytest.fixture
def keys(control: Control) -> CountedKeys:
    return CountedKeys(control)


@pytest.fixture
def authenticator(keys: CountedKeys, clock: MovedClock) -> Authenticator:
    return Authenticator(keys, PEPPER, clock)


def test_a_known_key_is_its_tenants_principal(control: Control, authenticator: Authenticator) -> None:
    record, text = control.create_key(AIRLINE, Role.USER, "nightly job")
    principal = authenticator.principal(text)
    assert (principal.tenant, principal.role, principal.name) == (AIRLINE, Role.USER, "nightly job")
    assert principal.key_id == record.key_id


@pytest.mark.parametrize("text", [None, "", "nonsense", issue(), "é" * 66, "\ud800", "k" * 10_000])
def test_everything_else_is_refused(authenticator: Authenticator, text: str | None) -> None:
    with pytest.raises(Unauthenticated):
        authenticator.principal(text)


def test_a_key_with_a_known_id_and_another_secret_is_refused(control: Control, authenticator: Authenticator) -> None:
    record, text = control.create_key(AIRLINE, Role.ADMIN, "admin")
    assert authenticator.principal(text)
    forged = issue()
    body = f"ask_{record.key_id}_" + forged[17:60]
    import hashlib

    with pytest.raises(Unauthenticated):
        authenticator.principal(body + hashlib.sha256(body.encode()).hexdigest()[:6])


def test_two_keys_that_share_long_beginnings_stay_two(control: Control, authenticator: Authenticator) -> None:
    """The memory's name for a key is made of the whole text."""
    record, text = control.create_key(AIRLINE, Role.VIEWER, "viewer")
    assert authenticator.principal(text).key_id == record.key_id
    with pytest.raises(Unauthenticated):
        authenticator.principal(text[:-1] + ("0" if text[-1] != "0" else "1"))


def test_a_revoked_key_stops_within_the_memorys_time(
    control: Control, authenticator: Authenticator, clock: MovedClock
) -> None:
    record, text = control.create_key(AIRLINE, Role.VIEWER, "viewer")
    assert authenticator.principal(text)
    control.revoke_key(AIRLINE, record.key_id)
    clock.move(2.01)
    with pytest.raises(Unauthenticated):
        authenticator.principal(text)


def test_an_expired_key_stops_at_once_even_when_remembered(
    control: Control, authenticator: Authenticator, clock: MovedClock
) -> None:
    _, text = control.create_key(AIRLINE, Role.VIEWER, "viewer", expires_at_ns=clock() + NS_PER_S)
    assert authenticator.principal(text)
    clock.move(1.0)
    with pytest.raises(Unauthenticated):
        authenticator.principal(text)


def test_the_database_is_asked_once_per_two_seconds(
    control: Control, keys: CountedKeys, authenticator: Authenticator, clock: MovedClock
) -> None:
    _, text = control.create_key(AIRLINE, Role.VIEWER, "viewer")
    for _ in range(100):
        authenticator.principal(text)
    assert keys.n == 1
    clock.move(2.0)
    authenticator.principal(text)
    assert keys.n == 2


def test_a_clock_set_back_does_not_prolong_a_memory(
    control: Control, keys: CountedKeys, authenticator: Authenticator, clock: MovedClock
) -> None:
    _, text = control.create_key(AIRLINE, Role.VIEWER, "viewer")
    authenticator.principal(text)
    clock.move(-3600)
    authenticator.principal(text)
    assert keys.n == 2


def test_a_broken_key_store_is_not_a_wrong_key(
    control: Control, keys: CountedKeys, authenticator: Authenticator, clock: MovedClock
) -> None:
    _, text = control.create_key(AIRLINE, Role.VIEWER, "viewer")
    keys.broken = True
    with pytest.raises(StorageFailed):
        authenticator.principal(text)
    with pytest.raises(Unauthenticated):
        authenticator.principal("nonsense")
    keys.broken = False
    assert authenticator.principal(text)


def test_the_memory_is_bounded(control: Control, keys: CountedKeys, clock: MovedClock) -> None:
    authenticator = Authenticator(keys, PEPPER, clock, max_entries=2)
    texts = [control.create_key(AIRLINE, Role.VIEWER, f"key {n}")[1] for n in range(3)]
    for text in texts:
        authenticator.principal(text)
    authenticator.principal(texts[2])
    assert keys.n == 3
    authenticator.principal(texts[0])
    assert keys.n == 4


def test_a_use_is_noted_once_a_minute_and_a_failure_to_note_it_refuses_nobody(
    control: Control, keys: CountedKeys, clock: MovedClock
) -> None:
    record, text = control.create_key(AIRLINE, Role.VIEWER, "viewer")
    noted: list[KeyId] = []

    def note(key_id: KeyId) -> None:
        noted.append(key_id)
        raise StorageFailed("the disk is full")

    authenticator = Authenticator(keys, PEPPER, clock, note_use=note)
    for _ in range(10):
        assert authenticator.principal(text)
        clock.move(5)
    assert noted == [record.key_id]
    clock.move(60)
    assert authenticator.principal(text)
    assert len(noted) == 2
    with pytest.raises(Unauthenticated):
        authenticator.principal(issue())
    assert len(noted) == 2
