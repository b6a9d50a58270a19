"""Experiments: rows, and how they change."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete

from core.errors import NotFound
from core.ids import TenantId
from store.control import seals
from store.control.experiment_records import DRAFT, ExperimentRecord, LookRecord
from store.control.experiment_tables import EXPERIMENT_OVERRIDES, EXPERIMENT_STATES, EXPERIMENTS

Key = tuple[str, str, int]


def digest_of(definition: Mapping[str, Any]) -> str:
    """SHA-256 of the definition's canonical JSON."""
    return hashlib.sha256(_text(definition).encode()).hexdigest()


def override_key_of(pepper: bytes, tenant: TenantId, name: str, version: int) -> str:
    """What units of overrides are hashed under: who has the database alone cannot try ids."""
    text = f"assay experiment overrides v1\0{tenant}\0{name}\0{version}"
    return hmac.digest(pepper, text.encode(), hashlib.sha256).hex()


def rows(connection: Connection, pepper: bytes, tenant: TenantId | None, name: str | None) -> list[ExperimentRecord]:
    """The versions of a tenant's experiments, of one or of all (and of every tenant for None), by name and then newest
    first."""
    key = ({} if tenant is None else {"tenant": str(tenant)}) | ({} if name is None else {"name": name})
    states = {_key(row): row for row in seals.rows(connection, EXPERIMENT_STATES, key)}
    overrides: dict[Key, dict[str, str | None]] = defaultdict(dict)
    for row in seals.rows(connection, EXPERIMENT_OVERRIDES, key):
        overrides[_key(row)][row.unit_hash] = row.variant
    found = [
        _record(row, states[_key(row)], overrides.get(_key(row), {}), pepper)
        for row in seals.rows(connection, EXPERIMENTS, key)
    ]
    return sorted(found, key=lambda one: (one.tenant, one.name, -one.version))


def need(
    connection: Connection, pepper: bytes, tenant: TenantId, name: str, version: int | None = None
) -> ExperimentRecord:
    """A version of an experiment, None the newest. Raises NotFound."""
    found = [one for one in rows(connection, pepper, tenant, name) if version in (None, one.version)]
    if not found:
        said = "" if version is None else f" version {version}"
        raise NotFound(f"there is no experiment {name[:80]!r}{said}; assay experiments list names those there are")
    return found[0]


def add(connection: Connection, record: ExperimentRecord) -> None:
    """Writes a version, and that it is a draft."""
    key = {"tenant": str(record.tenant), "name": record.name, "version": record.version}
    said = {"app": record.app, "definition": _text(record.definition), "digest": record.digest}
    seals.add(connection, EXPERIMENTS, {**key, **said, "made_by": record.made_by, "made_at_ns": record.made_at_ns})
    seals.add(connection, EXPERIMENT_STATES, {**key, "status": DRAFT, "ramps": "[]"})


def change(connection: Connection, record: ExperimentRecord, **changes: object) -> None:
    """Writes how a version stands."""
    key = {"tenant": str(record.tenant), "name": record.name, "version": record.version}
    row = seals.one(connection, EXPERIMENT_STATES, key)
    if row is None:
        raise NotFound(f"there is no experiment {record.name[:80]!r} version {record.version}")
    seals.change(connection, EXPERIMENT_STATES, row, **changes)


def ramped(record: ExperimentRecord, at_ns: int, coverage: float) -> str:
    """The ramps with one more, as they are kept."""
    return json.dumps([*record.ramps, (at_ns, coverage)], allow_nan=False)


def set_override(
    connection: Connection, record: ExperimentRecord, unit_hash: str, variant: str | None, at_ns: int, by: str
) -> None:
    """Writes an override, over the one there was."""
    key = {"tenant": str(record.tenant), "name": record.name, "version": record.version, "unit_hash": unit_hash}
    values: dict[str, object] = {"variant": variant, "set_by": by, "set_at_ns": at_ns}
    row = seals.one(connection, EXPERIMENT_OVERRIDES, key)
    if row is None:
        seals.add(connection, EXPERIMENT_OVERRIDES, {**key, **values})
    else:
        seals.change(connection, EXPERIMENT_OVERRIDES, row, **values)


def drop_override(connection: Connection, record: ExperimentRecord, unit_hash: str) -> None:
    """Deletes an override."""
    key = {"tenant": str(record.tenant), "name": record.name, "version": record.version, "unit_hash": unit_hash}
    table = EXPERIMENT_OVERRIDES
    connection.execute(delete(table).where(*[table.c[name] == value for name, value in key.items()]))


def _key(row: Any) -> Key:
    return row.tenant, row.name, row.version


def _record(row: Any, state: Any, overrides: Mapping[str, str | None], pepper: bytes) -> ExperimentRecord:
    tenant = TenantId(row.tenant)
    names = ("started_at_ns", "started_by", "stopped_at_ns", "stopped_by", "reason", "status")
    look = None
    if state.word is not None:
        look = LookRecord(word=state.word, headline=state.headline, n_units=state.n_units, at_ns=state.looked_at_ns)
    return ExperimentRecord(
        tenant=tenant,
        definition=json.loads(row.definition),
        ramps=tuple((int(at_ns), float(coverage)) for at_ns, coverage in json.loads(state.ramps)),
        look=look,
        overrides=overrides,
        override_key=override_key_of(pepper, tenant, row.name, row.version),
        **{name: getattr(row, name) for name in ("name", "version", "app", "digest", "made_by", "made_at_ns")},
        **{name: getattr(state, name) for name in names},
    )


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
