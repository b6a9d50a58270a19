"""The part of the control database that experiments are kept in: versions of definitions, and how each stands.

A definition is written once. Testers' ids are nowhere in it: overrides are kept by a keyed hash of the unit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection

from core.errors import Conflict, InvalidInput
from core.ids import TenantId
from core.records import Principal
from store.control import experiment_rows, releases, rollouts, tenants
from store.control.experiment_records import (
    DRAFT,
    RUNNING,
    STOPPED,
    ExperimentRecord,
    LiveExperiment,
    LookRecord,
)
from store.control.transactions import Transactions

MOST_OVERRIDES: Final = 1_000  # of one version
# Raises Conflict or InvalidInput where a version may not begin beside those of the app that are running, given the
# names of the app's registered releases.
Check = Callable[[ExperimentRecord, Sequence[ExperimentRecord], Collection[str]], None]


class Experimenting(Transactions):
    """Experiments; every method is one transaction, as everywhere in `Control`."""

    def add_experiment(
        self,
        tenant: TenantId,
        name: str,
        app: str,
        definition: Mapping[str, Any],
        *,
        by: Principal,
        dry_run: bool = False,
    ) -> tuple[ExperimentRecord, bool]:
        """The version that says this, and whether it is new. The newest version is taken when it says the same and was
        not stopped; a draft that says something else is withdrawn. Raises NotFound for an unknown tenant, Conflict for
        a name of another app."""
        digest = experiment_rows.digest_of(definition)
        with self._changing() as connection:
            tenants.need(connection, tenant)
            before = experiment_rows.rows(connection, self._pepper, tenant, name)
            if before and before[0].app != app:
                raise Conflict(f"the experiment {name[:80]} is of the app {before[0].app[:80]}; take another name")
            if before and before[0].digest == digest and before[0].status != STOPPED:
                return before[0], False
            made = ExperimentRecord(
                tenant=tenant, name=name, version=1 + (before[0].version if before else 0), app=app,
                definition=definition, digest=digest, made_by=by.name[:200], made_at_ns=self._clock(),
            )  # fmt: skip
            if dry_run:
                return made, True
            if before and before[0].status == DRAFT:
                self._stop(connection, before[0], f"version {made.version} takes its place", by)
            experiment_rows.add(connection, made)
            after = {"app": app, "version": made.version, "digest": digest}
            self._audit(connection, by, tenant, "experiment.create", _resource(made), after)
            return experiment_rows.need(connection, self._pepper, tenant, name), True

    def experiments(self, tenant: TenantId, app: str | None = None) -> list[ExperimentRecord]:
        """Every version of a tenant's experiments, of one app or of all, by name, newest first."""
        with self._database.read() as connection:
            found = experiment_rows.rows(connection, self._pepper, tenant, None)
        return [one for one in found if app in (None, one.app)]

    def experiment(self, tenant: TenantId, name: str, version: int | None = None) -> ExperimentRecord:
        """A version of an experiment, None the newest. Raises NotFound."""
        with self._database.read() as connection:
            return experiment_rows.need(connection, self._pepper, tenant, name, version)

    def experiment_versions(self, tenant: TenantId, name: str) -> list[ExperimentRecord]:
        """All versions of an experiment, newest first. Raises NotFound."""
        with self._database.read() as connection:
            experiment_rows.need(connection, self._pepper, tenant, name)
            return experiment_rows.rows(connection, self._pepper, tenant, name)

    def running_experiments(self, tenant: TenantId, app: str) -> list[ExperimentRecord]:
        """The experiments of an app that are running. Those over releases keep a rollout of the app from beginning."""
        return [one for one in self.experiments(tenant, app) if one.status == RUNNING]

    def live_experiments(self) -> list[LiveExperiment]:
        """The running experiments over releases of every tenant, for the gateway."""
        with self._database.read() as connection:
            found = experiment_rows.rows(connection, self._pepper, None, None)
            return [
                LiveExperiment(record=one, endpoints=_endpoints(connection, one))
                for one in found
                if one.status == RUNNING and one.is_over_releases
            ]

    def start_experiment(
        self,
        tenant: TenantId,
        name: str,
        coverage: float,
        check: Check,
        *,
        by: Principal,
        from_ns: int | None = None,
        dry_run: bool = False,
    ) -> ExperimentRecord:
        """The newest version, from now on assigning units, or since `from_ns` where the app does it. One that runs
        already is left as it is. Raises NotFound, Conflict for a version that was stopped, while an older one runs, or
        over releases of an app with an open rollout or that were rolled back, and what `check` raises."""
        with self._changing() as connection:
            versions = experiment_rows.rows(connection, self._pepper, tenant, name)
            one = experiment_rows.need(connection, self._pepper, tenant, name)
            if one.status == RUNNING:
                return one
            _may_start(versions)
            _no_rollout(connection, one)
            every = experiment_rows.rows(connection, self._pepper, tenant, None)
            running = [other for other in every if other.app == one.app and other.status == RUNNING]
            known = [release.spec.name for release in releases.rows(connection, tenant, one.app)]
            check(one, running, known)
            began = self._clock() if from_ns is None else from_ns
            if dry_run:
                return replace(one, status=RUNNING, ramps=((began, coverage),), started_at_ns=began)
            ramps = experiment_rows.ramped(one, began, coverage)
            said = {"status": RUNNING, "ramps": ramps, "started_at_ns": began, "started_by": by.name[:200]}
            experiment_rows.change(connection, one, **said)
            after = {"status": RUNNING, "coverage": coverage, "digest": one.digest, "started_at_ns": began}
            self._audit(connection, by, tenant, "experiment.start", _resource(one), after, {"status": one.status})
            return experiment_rows.need(connection, self._pepper, tenant, name)

    def ramp_experiment(
        self, tenant: TenantId, name: str, coverage: float, *, by: Principal, dry_run: bool = False
    ) -> ExperimentRecord:
        """Lets more units of the running version in. Raises NotFound, Conflict for one that is not running,
        InvalidInput for less than now: units that were in would be moved out."""
        with self._changing() as connection:
            one = self._running(connection, tenant, name)
            if coverage < one.coverage:
                raise InvalidInput(
                    f"the coverage is {100 * one.coverage:.4g} % and only grows, so that no unit is moved out; to take "
                    "units out, stop the experiment",
                    field="coverage",
                )
            now = self._clock()
            if dry_run or coverage == one.coverage:
                return replace(one, ramps=(*one.ramps, (now, coverage)) if dry_run else one.ramps)
            experiment_rows.change(connection, one, ramps=experiment_rows.ramped(one, now, coverage))
            before = {"coverage": one.coverage}
            self._audit(connection, by, tenant, "experiment.ramp", _resource(one), {"coverage": coverage}, before)
            return experiment_rows.need(connection, self._pepper, tenant, name, one.version)

    def stop_experiment(
        self, tenant: TenantId, name: str, reason: str | None, *, by: Principal, dry_run: bool = False
    ) -> ExperimentRecord:
        """Ends the running version for ever; without one, withdraws the draft. One that was stopped stays as it is.
        Raises NotFound."""
        with self._changing() as connection:
            newest = experiment_rows.need(connection, self._pepper, tenant, name)
            versions = experiment_rows.rows(connection, self._pepper, tenant, name)
            one = next((each for each in versions if each.status == RUNNING), newest)
            if one.status == STOPPED:
                return one
            if dry_run:
                return replace(one, status=STOPPED, stopped_at_ns=self._clock(), reason=reason)
            self._stop(connection, one, reason, by)
            return experiment_rows.need(connection, self._pepper, tenant, name, one.version)

    def set_overrides(
        self,
        tenant: TenantId,
        name: str,
        overrides: Mapping[str, str | None],
        *,
        by: Principal,
        version: int | None = None,
    ) -> ExperimentRecord:
        """Gives testers a variant (None: by hash again) of a version, of the running one, or of the newest. Their ids
        are not kept. Raises NotFound, InvalidInput for a variant that it does not have, Conflict for a stopped one."""
        with self._changing() as connection:
            versions = experiment_rows.rows(connection, self._pepper, tenant, name)
            newest = experiment_rows.need(connection, self._pepper, tenant, name, version)
            one = next((each for each in versions if each.status == RUNNING and version is None), newest)
            if one.status == STOPPED:
                raise Conflict(f"version {one.version} was stopped; create the next one first")
            variants = [arm["variant"] for arm in one.definition["arms"]]
            if unknown := sorted(each for each in {*overrides.values()} - {None, *variants} if each):
                said = f"there is no variant {unknown[0][:80]!r} in version {one.version}; it has {', '.join(variants)}"
                raise InvalidInput(said, field="overrides")
            hashed = {_hash_of(one.override_key, unit): variant for unit, variant in overrides.items()}
            if len(one.overrides.keys() | hashed.keys()) > MOST_OVERRIDES:
                raise InvalidInput(f"a version has {MOST_OVERRIDES:,} overrides at most", field="overrides")
            now = self._clock()
            for unit_hash, variant in hashed.items():
                experiment_rows.set_override(connection, one, unit_hash, variant, now, by.name[:200])
            after = {"n": len(hashed), "variants": sorted({each or "by hash" for each in hashed.values()})}
            self._audit(connection, by, tenant, "experiment.override", _resource(one), after)
            return experiment_rows.need(connection, self._pepper, tenant, name, one.version)

    def forget_overrides(self, tenant: TenantId, units: Collection[str]) -> int:
        """Deletes the overrides of these units; how many."""
        with self._changing() as connection:
            n = 0
            for one in experiment_rows.rows(connection, self._pepper, tenant, None):
                for unit_hash in one.overrides.keys() & {_hash_of(one.override_key, unit) for unit in units}:
                    experiment_rows.drop_override(connection, one, unit_hash)
                    n += 1
            return n

    def note_look(self, tenant: TenantId, name: str, version: int, look: LookRecord) -> None:
        """Keeps what the last look at a version said; an older one than is kept changes nothing. Raises NotFound."""
        with self._changing() as connection:
            one = experiment_rows.need(connection, self._pepper, tenant, name, version)
            if one.look is None or one.look.at_ns <= look.at_ns:
                said = {"word": look.word, "headline": look.headline, "n_units": look.n_units}
                experiment_rows.change(connection, one, **said, looked_at_ns=look.at_ns)

    def _running(self, connection: Connection, tenant: TenantId, name: str) -> ExperimentRecord:
        newest = experiment_rows.need(connection, self._pepper, tenant, name)
        found = experiment_rows.rows(connection, self._pepper, tenant, name)
        one = next((each for each in found if each.status == RUNNING), None)
        if one is None:
            todo = "start it first" if newest.status == DRAFT else "create the next version"
            raise Conflict(f"version {newest.version} of {name[:80]} is {newest.status}, not running; {todo}")
        return one

    def _stop(self, connection: Connection, one: ExperimentRecord, reason: str | None, by: Principal) -> None:
        said = {"status": STOPPED, "stopped_at_ns": self._clock(), "stopped_by": by.name[:200], "reason": reason}
        experiment_rows.change(connection, one, **said)
        after = {"status": STOPPED, "reason": reason}
        self._audit(connection, by, one.tenant, "experiment.stop", _resource(one), after, {"status": one.status})


def _may_start(versions: Sequence[ExperimentRecord]) -> None:
    newest, older = versions[0], [one for one in versions if one.status == RUNNING]
    if newest.status == STOPPED:
        raise Conflict(f"version {newest.version} was stopped, which is for ever; create the next version")
    if older:
        raise Conflict(
            f"version {older[0].version} is running; stop it first: version {newest.version} has another salt and "
            "assigns its units anew"
        )


def _no_rollout(connection: Connection, one: ExperimentRecord) -> None:
    if not one.is_over_releases:
        return
    rollouts.refuse_rolled_back(connection, one.tenant, one.app, [arm["release"] for arm in one.definition["arms"]])
    found = rollouts.open_of(connection, one.tenant, one.app)
    if found is not None:
        raise Conflict(
            f"rollout {found.rollout_id} of {found.candidate[:80]} is open for {one.app[:80]}, and one of both can say "
            f"who gets which release; wait for its end, or assay rollouts abort {one.app[:80]}"
        )


def _endpoints(connection: Connection, one: ExperimentRecord) -> dict[str, str | None]:
    known = {each.spec.name: each.spec.endpoint for each in releases.rows(connection, one.tenant, one.app)}
    return {arm["release"]: known.get(arm["release"]) for arm in one.definition["arms"]}


def _hash_of(key: str, unit: str) -> str:
    """As experiments/splits.py has it (hash_of), which this room may not import; a test compares them."""
    return hashlib.sha256(f"{key}:{unit}".encode("utf-8", "surrogatepass")).hexdigest()


def _resource(one: ExperimentRecord) -> str:
    return f"experiment/{one.name}/{one.version}"
