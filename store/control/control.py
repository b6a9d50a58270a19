"""The control database's one entrance: `Control.open(url, pepper=...)`.

Every method is one transaction and may be called from any thread. All of them raise StorageFailed when the database
does. Every change of a tenant, a key or a setting writes its audit record in the same transaction, so a change that
cannot be audited does not happen.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection

from core import keytext
from core.clock import Clock, system_clock
from core.errors import InvalidInput
from core.ids import KeyId, TenantId
from core.records import Counts, PiiPolicy, Principal, Role
from store.control import changes, claims, erasures, keyring, ledger, tenants
from store.control.budgeting import Budgeting
from store.control.cluster_watching import ClusterWatching
from store.control.clustering import Clustering
from store.control.curating import Curating
from store.control.database import Database
from store.control.delivering import Delivering
from store.control.erasures import Erasure
from store.control.experimenting import Experimenting
from store.control.gating import Gating
from store.control.incidents import Incidents
from store.control.jobs import Jobs
from store.control.judging import Judging
from store.control.labelling import Labelling
from store.control.migrate import upgrade
from store.control.monitoring import Monitoring
from store.control.records import (
    AuditHead,
    AuditRecord,
    AuditVerdict,
    Claim,
    Json,
    KeyRecord,
    LedgerRow,
    TenantRecord,
)
from store.control.releasing import Releasing
from store.control.rolling import Rolling
from store.control.running import Running
from store.control.telling import Telling
from store.control.transactions import actor
from store.control.watching import Watching

TOUCH_PATIENCE_S: Final = 0.1  # how long the note of a key's use waits for a lock


class Control(
    Releasing,
    Curating,
    Running,
    Gating,
    Watching,
    Judging,
    Labelling,
    Rolling,
    Telling,
    Experimenting,
    Clustering,
    ClusterWatching,
    Monitoring,
    Budgeting,
    Incidents,
    Delivering,
    Jobs,
):
    """Tenants, keys, ledger, releases, plans, datasets, runs, judges, labels, rollouts, clusters, monitors, audit,
    idempotency keys. `by` None means Assay itself."""

    @classmethod
    def open(cls, url: str, *, pepper: bytes, clock: Clock = system_clock) -> Control:
        """Opens the database at `url` (sqlite:///path or postgresql://...), creating and migrating it as needed.

        Raises InvalidInput for another kind of URL or a pepper under 16 bytes, StorageFailed, Corrupt.
        """
        if len(pepper) < 16:
            raise InvalidInput("the pepper of the control database must have at least 16 bytes")
        database = Database(url)
        noted = database.noted_changes()  # before the database is read: it may only have more
        upgrade(database)
        with database.read() as connection:
            changes.check(connection, noted, database)
        return cls(database, pepper=pepper, clock=clock)

    def close(self) -> None:
        """Gives the connections back."""
        self._database.close()

    def check(self) -> None:
        """Reads one row, to know that the database answers. Raises StorageFailed."""
        with self._database.read() as connection:
            connection.exec_driver_sql("SELECT 1").scalar()

    # Tenants

    def ensure_tenant(self, tenant: TenantId, *, by: Principal | None = None) -> TenantRecord:
        """The tenant, created when it is not there yet."""
        with self._database.read() as connection:
            found = tenants.find(connection, tenant)
        if found is not None:
            return found
        with self._changing() as connection:
            found = tenants.find(connection, tenant)
            if found is not None:
                return found
            now = self._clock()
            record = tenants.create(connection, tenant, now)
            after = tenants.choices_json(record)
            self._chain.append(
                connection, actor(by, tenant), "tenant.create", f"tenant/{tenant}", before=None, after=after, at_ns=now
            )
            return record

    def tenant(self, tenant: TenantId) -> TenantRecord:
        """The tenant. Raises NotFound."""
        with self._database.read() as connection:
            return tenants.need(connection, tenant)

    def all_tenants(self) -> list[TenantRecord]:
        """All tenants, by name."""
        with self._database.read() as connection:
            return tenants.every(connection)

    def set_pii(self, tenant: TenantId, policy: PiiPolicy, *, by: Principal | None = None) -> TenantRecord:
        """Changes what happens to personal information that arrives from now on. Raises NotFound."""
        return self._choose(tenant, by, lambda old: replace(old, pii=policy))

    def set_retention(self, tenant: TenantId, days: int | None, *, by: Principal | None = None) -> TenantRecord:
        """Changes for how many days rows are kept; None keeps them for ever. Raises NotFound, InvalidInput."""
        return self._choose(tenant, by, lambda old: replace(old, retention_days=days))

    def set_settings(
        self, tenant: TenantId, *, pii: PiiPolicy, retention_days: int | None, by: Principal | None = None
    ) -> TenantRecord:
        """Replaces both choices of a tenant in one change. Raises NotFound, InvalidInput."""
        return self._choose(tenant, by, lambda old: replace(old, pii=pii, retention_days=retention_days))

    def _choose(
        self, tenant: TenantId, by: Principal | None, change: Callable[[TenantRecord], TenantRecord]
    ) -> TenantRecord:
        with self._changing() as connection:
            old = tenants.need(connection, tenant)
            new = change(old)
            tenants.replace_choices(connection, new)
            self._chain.append(
                connection,
                actor(by, tenant),
                "tenant.settings",
                f"tenant/{tenant}",
                before=tenants.choices_json(old),
                after=tenants.choices_json(new),
                at_ns=self._clock(),
            )
            return new

    # Keys

    def create_key(
        self,
        tenant: TenantId,
        role: Role,
        name: str,
        expires_at_ns: int | None = None,
        plaintext: str | None = None,
        *,
        by: Principal | None = None,
    ) -> tuple[KeyRecord, str]:
        """A new key and its text, which is not kept anywhere. `plaintext` sets the text, for a first key from outside.

        Raises NotFound for an unknown tenant, InvalidInput, Unauthenticated when `plaintext` is not a key's text,
        Conflict when its id is taken.
        """
        text = plaintext if plaintext is not None else keytext.issue()
        parsed = keytext.parse(text)
        now = self._clock()
        if expires_at_ns is not None and expires_at_ns <= now:
            raise InvalidInput("the key would be expired from the start; give a later time", "expires_at")
        record = KeyRecord(
            key_id=parsed.key_id,
            tenant=tenant,
            role=role,
            name=_key_name(name),
            digest=keytext.digest(parsed.secret, self._pepper),
            created_at_ns=now,
            expires_at_ns=expires_at_ns,
        )
        after = {"role": role.value, "name": record.name, "expires_at_ns": expires_at_ns}
        with self._changing() as connection:
            tenants.need(connection, tenant)
            keyring.add(connection, record)
            self._audit(connection, by, tenant, "key.create", f"key/{record.key_id}", after)
        return record, text

    def find_key(self, key_id: KeyId) -> KeyRecord | None:
        """The key with this id, revoked or expired ones too (ask `usable`), or None."""
        with self._database.read() as connection:
            return keyring.find(connection, key_id)

    def every_key(self) -> list[KeyRecord]:
        """The keys of all tenants, revoked and expired ones too: for a door that must not ask for each."""
        with self._database.read() as connection:
            return keyring.every(connection)

    def list_keys(self, tenant: TenantId) -> list[KeyRecord]:
        """The tenant's keys, oldest first, revoked ones too."""
        with self._database.read() as connection:
            return keyring.of_tenant(connection, tenant)

    def revoke_key(self, tenant: TenantId, key_id: KeyId, *, by: Principal | None = None) -> KeyRecord:
        """Ends a key's life; doing it twice changes nothing.

        Raises NotFound, also for another tenant's key; Conflict for the tenant's last usable admin key.
        """
        with self._changing() as connection:
            record = keyring.need(connection, tenant, key_id)
            if record.revoked_at_ns is not None:
                return record
            now = self._clock()
            keyring.revoke(connection, record, now)
            self._chain.append(
                connection,
                actor(by, tenant),
                "key.revoke",
                f"key/{key_id}",
                before={"revoked": False},
                after={"revoked": True},
                at_ns=now,
            )
            return replace(record, revoked_at_ns=now)

    def touch(self, key_id: KeyId) -> None:
        """Notes that a key was used now, unless the database is locked: no caller waits for that."""
        with self._changing(patience_s=TOUCH_PATIENCE_S) as connection:
            keyring.touch(connection, key_id, self._clock())

    # Ledger

    def settle(self, journal: int, upto_seq: int, deltas: Mapping[tuple[TenantId, str], Counts]) -> bool:
        """Adds `deltas` and moves the watermark of `journal` to `upto_seq`, both or neither.

        A position at or before the watermark was settled already: nothing is added and False is answered, so settling
        again after a crash is safe. Raises InvalidInput for an unknown signal or a negative count.
        """
        with self._changing() as connection:
            return ledger.settle(connection, journal, upto_seq, deltas)

    def count(self, deltas: Mapping[tuple[TenantId, str], Counts]) -> None:
        """Adds counts that never had a journal position, such as items refused at the door. Raises InvalidInput."""
        with self._changing() as connection:
            ledger.add(connection, deltas)

    def settled_upto(self, journal: int) -> int:
        """The last settled position of `journal`; 0 when there is none."""
        with self._database.read() as connection:
            return ledger.settled_upto(connection, journal)

    def watermarks(self) -> dict[int, int]:
        """The last settled position of every journal."""
        with self._database.read() as connection:
            return ledger.watermarks(connection)

    def ledger(self, tenant: TenantId | None) -> list[LedgerRow]:
        """The lines of one tenant, or of all for None, by tenant and signal."""
        with self._database.read() as connection:
            return ledger.rows(connection, tenant)

    # Audit

    def record(
        self, principal: Principal, action: str, resource: str, before: Json | None = None, after: Json | None = None
    ) -> int:
        """Adds a record of a change that is not one of this class's own. Returns its number within the tenant."""
        with self._changing() as connection:
            return self._chain.append(
                connection, principal, action, resource, before=before, after=after, at_ns=self._clock()
            )

    def verify(self, tenant: TenantId, noted: AuditHead | None = None) -> AuditVerdict:
        """Whether the tenant's chain is whole, and still contains the `noted` head of an earlier time."""
        with self._database.read() as connection:
            return self._chain.verify(connection, tenant, noted)

    def list_audit(self, tenant: TenantId, *, before_seq: int | None = None, limit: int = 50) -> list[AuditRecord]:
        """Up to `limit` of the tenant's records, newest first, older than number `before_seq`. Raises Corrupt when
        they are not the links of the chain that were written."""
        with self._database.read() as connection:
            return self._chain.newest(connection, tenant, before_seq=before_seq, limit=limit)

    # Idempotency keys

    def claim(self, tenant: TenantId, key: str, body_hash: bytes, answer: str) -> Claim:
        """Claims an idempotency key with the answer to be given; see store/control/claims.py. Raises Conflict."""
        if not 1 <= len(key) <= 255 or not key.isprintable():
            raise InvalidInput("an Idempotency-Key has 1 to 255 printable characters", "Idempotency-Key")
        with self._changing() as connection:
            return claims.claim(connection, tenant, key, body_hash, answer, self._clock())

    def claim_is_pending(self, tenant: TenantId, key: str) -> bool:
        """Whether somebody is at work behind a claim."""
        with self._database.read() as connection:
            return claims.is_pending(connection, tenant, key, self._clock())

    def renew_claim(self, tenant: TenantId, key: str, since_ns: int) -> int | None:
        """Begins the lease of the claim that is held since then anew; since when it is held now, None if it is lost."""
        now = self._clock()
        with self._changing() as connection:
            return now if claims.renew(connection, tenant, key, since_ns, now) else None

    def give_up_claim(self, tenant: TenantId, key: str, since_ns: int) -> None:
        """Lets the next request take a claim over at once; nothing when it is no longer held since then."""
        with self._changing() as connection:
            claims.renew(connection, tenant, key, since_ns, self._clock() - claims.LEASE_NS)

    def finish_claim(self, tenant: TenantId, key: str) -> None:
        """Notes that the work behind a claim is done."""
        with self._changing() as connection:
            claims.finish(connection, tenant, key, self._clock())

    # Erasures

    def begin_erasure(
        self, tenant: TenantId, user_id: str, seal: Callable[[str], bytes], *, by: Principal | None = None
    ) -> Erasure:
        """The erasure of a user that is under way, or a new one. `seal` gets its id and answers what it has to
        remember, encrypted. Neither the table nor the audit record contains the user's id. Raises NotFound."""
        subject = erasures.subject_of(self._pepper, tenant, user_id)
        with self._changing() as connection:
            tenants.need(connection, tenant)
            found = erasures.under_way(connection, tenant, subject)
            if found is not None:
                return found
            number, now = secrets.token_hex(6), self._clock()
            made = Erasure(erasure_id=number, tenant=tenant, subject=subject, requested_at_ns=now, sealed=seal(number))
            erasures.add(connection, made)
            self._of_erasure(connection, made, "erasure.begin", {"subject": subject}, by)
            return made

    def seal_erasure(self, erasure: Erasure, sealed: bytes) -> None:
        """Replaces what an erasure under way has to remember."""
        with self._changing() as connection:
            erasures.seal(connection, erasure.erasure_id, sealed)

    def finish_erasure(self, erasure: Erasure, receipt: Json, *, by: Principal | None = None) -> None:
        """Keeps the receipt, forgets whom it was about, and gives the space of what was deleted back, overwritten."""
        self._database.compact()  # before it counts as done: who is killed here is not asked for it again
        with self._changing() as connection:
            erasures.finish(connection, erasure.erasure_id, receipt, self._clock())
            after = {"subject": erasure.subject, "receipt": receipt}
            self._of_erasure(connection, erasure, "erasure.finish", after, by)
        self._database.compact()

    def erasure(self, tenant: TenantId, erasure_id: str) -> Erasure:
        """One erasure of a tenant. Raises NotFound."""
        with self._database.read() as connection:
            return erasures.need(connection, tenant, erasure_id)

    def erasures(self, tenant: TenantId | None, *, unfinished: bool = False) -> list[Erasure]:
        """The erasures of one tenant, or of all for None, newest first."""
        with self._database.read() as connection:
            return erasures.rows(connection, tenant, unfinished=unfinished)

    def forget_claims(self, tenant: TenantId, user_id: str) -> int:
        """Deletes the tenant's idempotency keys that contain a user's id; returns how many."""
        with self._changing() as connection:
            return erasures.forget_claims(connection, tenant, user_id)

    def _of_erasure(
        self, connection: Connection, erasure: Erasure, action: str, after: Json, by: Principal | None
    ) -> None:
        self._audit(connection, by, erasure.tenant, action, f"erasure/{erasure.erasure_id}", after)


def _key_name(name: str) -> str:
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise InvalidInput("a key's name has 1 to 200 printable characters", "name")
    return name
