"""The part of the control database that keeps datasets: their versions, and the examples in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.errors import Conflict
from core.ids import TenantId
from core.records import Principal
from store.control import datasets, tenants
from store.control.datasets import DatasetRecord, Line, VersionRecord
from store.control.records import Json
from store.control.transactions import Transactions


class Curating(Transactions):
    """Datasets; every method is one transaction, as everywhere in `Control`."""

    def create_dataset(self, tenant: TenantId, name: str, description: str = "", *, by: Principal) -> DatasetRecord:
        """A dataset without a version. Raises NotFound for an unknown tenant, InvalidInput, Conflict when the name is
        taken."""
        with self._changing() as connection:
            tenants.need(connection, tenant)
            if datasets.find(connection, tenant, datasets.checked_name(name)) is not None:
                raise Conflict(f"there is a dataset {name[:80]!r} already")
            made = DatasetRecord(
                tenant=tenant,
                name=name,
                description=description,
                made_at_ns=self._clock(),
                made_by=by.name[:200],
            )
            datasets.add(connection, made)
            self._audit(connection, by, tenant, "dataset.create", f"dataset/{name}", {"description": description})
            return made

    def datasets(self, tenant: TenantId) -> list[tuple[DatasetRecord, list[VersionRecord]]]:
        """The tenant's datasets by name, each with its versions, newest first."""
        with self._database.read() as connection:
            every = datasets.versions(connection, tenant, None)
            found = datasets.rows(connection, tenant)
        return [(one, [each for each in every if each.name == one.name]) for one in found]

    def dataset(self, tenant: TenantId, name: str) -> tuple[DatasetRecord, list[VersionRecord]]:
        """One dataset and its versions, newest first. Raises NotFound."""
        with self._database.read() as connection:
            return datasets.need(connection, tenant, name), datasets.versions(connection, tenant, name)

    def read_dataset(
        self, tenant: TenantId, name: str, version: int | None = None, *, offset: int = 0, limit: int | None = None
    ) -> tuple[VersionRecord, list[Line]]:
        """A version (None: the newest) and its lines in order, from `offset` (from 0) on, at most `limit`. Raises
        NotFound, Corrupt when they are not the ones that were written."""
        with self._database.read() as connection:
            found = datasets.version(connection, tenant, name, version)
            return found, list(datasets.read(connection, found, offset, limit))

    def write_dataset(
        self,
        tenant: TenantId,
        name: str,
        lines: Sequence[Line],
        base: VersionRecord | None,
        note: str,
        *,
        by: Principal,
    ) -> tuple[VersionRecord, bool]:
        """The version that has exactly these lines, and whether it is new. `base` is the version that the writer read,
        None when there was none. Raises NotFound, InvalidInput, Conflict when `base` is not the newest any more."""
        with self._changing() as connection:
            dataset = datasets.need(connection, tenant, name)
            datasets.check_base(connection, tenant, name, base)
            if base is not None and base.content_hash == datasets.content_hash_of(lines):
                return base, False
            number, now = 1 if base is None else base.version + 1, self._clock()
            made = datasets.add_version(
                connection, dataset, lines, number=number, note=note, at_ns=now, by=by.name[:200]
            )
            datasets.sweep(connection, tenant, now)
            before = None if base is None else _told(base)
            self._audit(connection, by, tenant, "dataset.version", f"dataset/{name}", _told(made), before=before)
            return made, True

    def keep_piece(self, tenant: TenantId, lines: Sequence[Line]) -> str:
        """Keeps lines for a version to come, for a day; the name of the piece. Raises NotFound."""
        with self._changing() as connection:
            tenants.need(connection, tenant)
            return datasets.keep(connection, tenant, lines, self._clock())

    def pieces(self, tenant: TenantId, names: Sequence[str]) -> list[Line]:
        """The lines of pieces, in order. Raises NotFound, Corrupt."""
        with self._database.read() as connection:
            return [line for name in names for line in datasets.lines_of(connection, tenant, name)]

    def delete_dataset(self, tenant: TenantId, name: str, *, by: Principal) -> None:
        """Deletes a dataset with all its versions. Raises NotFound."""
        with self._changing() as connection:
            datasets.need(connection, tenant, name)
            newest = datasets.versions(connection, tenant, name)[:1]
            datasets.remove(connection, tenant, name, self._clock())
            before = {"version": 0} if not newest else _told(newest[0])
            self._audit(connection, by, tenant, "dataset.delete", f"dataset/{name}", {}, before=before)

    def count_examples(self, tenant: TenantId, belongs: Callable[[Json], bool]) -> int:
        """How many different examples belong to somebody, over all versions."""
        with self._database.read() as connection:
            return datasets.count_of(connection, tenant, belongs)

    def erase_examples(self, tenant: TenantId, belongs: Callable[[Json], bool]) -> int:
        """Takes the examples that belong to somebody out of every version, all or none; how many there were."""
        with self._changing() as connection:
            return datasets.erase(connection, tenant, belongs, self._clock())


def _told(one: VersionRecord) -> Json:
    kept = {"version": one.version, "content_hash": one.content_hash, "n_examples": one.n_examples}
    return {**kept, "splits": dict(one.splits), "note": one.note}
