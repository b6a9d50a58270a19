"""Experiments in the control database: versions that never change, ramps that only grow, testers nobody can name."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from core.errors import Conflict, Corrupt, InvalidInput, NotFound
from core.ids import TenantId
from core.records import Principal, Role
from experiments.splits import hash_of
from store.control.control import Control
from store.control.experiment_records import ExperimentRecord, LookRecord
from store.control.records import PlanSpec, ReleaseSpec
from store.control.rollout_records import RolloutRecord, RolloutStatus
from tests.store.control_rows import DEFINITION, experimented
from tests.store.databases import ControlDatabase

ACME, SHOP = TenantId("acme"), TenantId("shop")
ANN: Final = Principal(tenant=ACME, role=Role.POWER_USER, name="ann", key_id="0123456789ab")
NAME: Final = "refund-prompt"


def anything(one: ExperimentRecord, running: Sequence[ExperimentRecord], releases: Collection[str]) -> None:
    """A check that lets everything begin."""


@pytest.fixture
def control(database: ControlDatabase) -> Iterator[Control]:
    found = database.open()
    for tenant in (ACME, SHOP):
        found.ensure_tenant(tenant)
        for name in ("v1", "v2"):
            endpoint = "http://127.0.0.1:1" if name == "v1" else None
            found.register_release(tenant, ReleaseSpec(app="desk", name=name, endpoint=endpoint), by=ANN)
    yield found
    found.close()


def added(control: Control, name: str = NAME, tenant: TenantId = ACME, **change: Any) -> ExperimentRecord:
    """A version."""
    return control.add_experiment(tenant, name, "desk", {**DEFINITION, **change}, by=ANN)[0]


def started(control: Control, coverage: float = 1.0, name: str = NAME, **change: Any) -> ExperimentRecord:
    """A running version."""
    added(control, name, **change)
    return control.start_experiment(ACME, name, coverage, anything, by=ANN)


def test_a_definition_comes_back_as_it_was_registered(control: Control, database: ControlDatabase) -> None:
    made = added(control)
    assert (made.version, made.status, made.definition, made.made_by) == (1, "draft", DEFINITION, "ann")
    assert (made.ramps, made.coverage, made.overrides, made.look) == ((), 0.0, {}, None)
    assert database.open().experiment(ACME, NAME) == made == control.experiments(ACME, "desk")[0]
    assert control.experiments(ACME, "other") == control.experiments(SHOP) == []
    with pytest.raises(NotFound, match="no experiment 'refund-prompt'"):
        control.experiment(SHOP, NAME)
    with pytest.raises(NotFound, match="version 2"):
        control.experiment(ACME, NAME, 2)


def test_the_same_content_is_the_same_version_until_it_is_stopped(control: Control) -> None:
    first = added(control)
    assert control.add_experiment(ACME, NAME, "desk", dict(reversed(DEFINITION.items())), by=ANN) == (first, False)
    control.stop_experiment(ACME, NAME, None, by=ANN)
    again, is_new = control.add_experiment(ACME, NAME, "desk", DEFINITION, by=ANN)
    assert (again.version, is_new, again.digest) == (2, True, first.digest)


def test_other_content_is_the_next_version_and_the_running_one_stays(control: Control) -> None:
    first = started(control)
    second = added(control, alpha=0.01)
    assert (second.version, second.status) == (2, "draft")
    assert control.experiment(ACME, NAME, 1) == first
    with pytest.raises(Conflict, match="version 1 is running; stop it first"):
        control.start_experiment(ACME, NAME, 1.0, anything, by=ANN)
    control.ramp_experiment(ACME, NAME, 1.0, by=ANN)
    assert control.stop_experiment(ACME, NAME, "next", by=ANN).version == 1
    assert control.start_experiment(ACME, NAME, 1.0, anything, by=ANN).version == 2
    assert [one.status for one in control.experiment_versions(ACME, NAME)] == ["running", "stopped"]


def test_a_draft_is_withdrawn_by_the_next_one(control: Control) -> None:
    added(control)
    added(control, alpha=0.01)
    second, first = control.experiment_versions(ACME, NAME)
    assert (second.status, first.status, first.reason) == ("draft", "stopped", "version 2 takes its place")
    assert first.started_at_ns is None


def test_a_name_is_of_one_app(control: Control) -> None:
    added(control)
    with pytest.raises(Conflict, match="of the app desk"):
        control.add_experiment(ACME, NAME, "other", DEFINITION, by=ANN)


def test_a_ramp_is_kept_with_its_times_and_only_grows(control: Control) -> None:
    one = started(control, 0.1)
    assert one.ramps == ((one.started_at_ns, 0.1),)
    grown = control.ramp_experiment(ACME, NAME, 0.5, by=ANN)
    assert [coverage for _, coverage in grown.ramps] == [0.1, 0.5]
    assert grown.ramps[1][0] > grown.ramps[0][0]
    assert control.ramp_experiment(ACME, NAME, 0.5, by=ANN) == grown, "nothing new"
    with pytest.raises(InvalidInput, match=r"50 % and only grows.*stop"):
        control.ramp_experiment(ACME, NAME, 0.2, by=ANN)
    assert control.experiment(ACME, NAME).coverage == 0.5


def test_stopped_is_for_ever(control: Control) -> None:
    started(control)
    one = control.stop_experiment(ACME, NAME, "shipped", by=ANN)
    assert (one.status, one.reason, one.stopped_by) == ("stopped", "shipped", "ann")
    assert control.stop_experiment(ACME, NAME, "again", by=ANN) == one
    with pytest.raises(Conflict, match="for ever"):
        control.start_experiment(ACME, NAME, 1.0, anything, by=ANN)
    with pytest.raises(Conflict, match="not running"):
        control.ramp_experiment(ACME, NAME, 1.0, by=ANN)
    with pytest.raises(Conflict, match="stopped"):
        control.set_overrides(ACME, NAME, {"u": "control"}, by=ANN)


def test_a_start_that_the_check_refuses_changes_nothing(control: Control) -> None:
    asked: list[tuple[list[str], list[str]]] = []

    def refuse(one: ExperimentRecord, running: Sequence[ExperimentRecord], releases: Collection[str]) -> None:
        asked.append(([other.name for other in running], sorted(releases)))
        raise Conflict("no")

    started(control, name="other")
    added(control)
    with pytest.raises(Conflict, match="no"):
        control.start_experiment(ACME, NAME, 1.0, refuse, by=ANN)
    assert asked == [(["other"], ["v1", "v2"])]
    assert control.experiment(ACME, NAME).status == "draft"
    assert control.start_experiment(ACME, "other", 0.3, refuse, by=ANN).coverage == 1.0, "it runs already"


def test_an_open_rollout_and_an_experiment_over_releases_exclude_each_other(control: Control) -> None:
    rollout = RolloutRecord(
        tenant=ACME, rollout_id="rollout_1", app="desk", baseline="v1", candidate="v2", status=RolloutStatus.RUNNING,
        policy={}, policy_hash="", state={},
    )  # fmt: skip
    plan = PlanSpec(app="desk", baseline="v1", weights={"v1": 0.9, "v2": 0.1})
    started(control)
    with pytest.raises(Conflict, match="assay experiments stop refund-prompt"):
        control.start_rollout(rollout, plan, "it begins", by=ANN)
    control.stop_experiment(ACME, NAME, None, by=ANN)
    control.start_rollout(rollout, plan, "it begins", by=ANN)
    added(control, "tone")
    with pytest.raises(Conflict, match="assay rollouts abort desk"):
        control.start_experiment(ACME, "tone", 1.0, anything, by=ANN)
    assert started(control, name="by-the-app", assigned_by="app").status == "running", "it moves nobody to a release"


def test_a_release_that_was_rolled_back_comes_back_by_no_experiment(control: Control) -> None:
    rollout = RolloutRecord(
        tenant=ACME, rollout_id="rollout_1", app="desk", baseline="v1", candidate="v2",
        status=RolloutStatus.ROLLED_BACK, policy={}, policy_hash="", state={},
    )  # fmt: skip
    control.start_rollout(rollout, PlanSpec(app="desk", baseline="v1", weights={"v1": 1.0}), "it ended", by=ANN)
    added(control)
    with pytest.raises(Conflict, match="was rolled back by rollout rollout_1"):
        control.start_experiment(ACME, NAME, 1.0, anything, by=ANN)
    assert control.experiment(ACME, NAME).status == "draft"
    assert started(control, name="by-the-app", assigned_by="app").status == "running"


def test_a_dry_run_changes_nothing(control: Control) -> None:
    made, is_new = control.add_experiment(ACME, NAME, "desk", DEFINITION, by=ANN, dry_run=True)
    assert (made.version, is_new, control.experiments(ACME)) == (1, True, [])
    added(control)
    assert control.start_experiment(ACME, NAME, 0.5, anything, by=ANN, dry_run=True).coverage == 0.5
    assert control.experiment(ACME, NAME).status == "draft"
    started(control, 0.5)
    assert control.ramp_experiment(ACME, NAME, 0.7, by=ANN, dry_run=True).coverage == 0.7
    assert control.stop_experiment(ACME, NAME, None, by=ANN, dry_run=True).status == "stopped"
    assert (control.experiment(ACME, NAME).coverage, control.experiment(ACME, NAME).status) == (0.5, "running")


def test_a_tester_is_kept_by_a_hash_that_needs_the_secret(control: Control, database: ControlDatabase) -> None:
    one = started(control)
    found = control.set_overrides(ACME, NAME, {"ann@example.com": "treatment", "bob": "control"}, by=ANN)
    assert found.overrides == {
        hash_of(one.override_key, "ann@example.com"): "treatment",
        hash_of(one.override_key, "bob"): "control",
    }
    assert control.set_overrides(ACME, NAME, {"bob": None}, by=ANN).overrides == {
        hash_of(one.override_key, "ann@example.com"): "treatment",
        hash_of(one.override_key, "bob"): None,
    }, "placed by hash again, and still known as a tester"
    written = str([control.list_audit(ACME), control.experiment_versions(ACME, NAME)])
    assert "ann@example.com" not in written
    assert started(control, name="other").override_key != one.override_key
    with pytest.raises(InvalidInput, match="no variant 'canary' in version 1; it has control, treatment"):
        control.set_overrides(ACME, NAME, {"u": "canary"}, by=ANN)
    with pytest.raises(InvalidInput, match="1,000 overrides at most"):
        control.set_overrides(ACME, NAME, {f"u{n}": "control" for n in range(1_000)}, by=ANN)


def test_an_erased_user_is_nobodys_tester_any_more(control: Control) -> None:
    started(control)
    started(control, name="other")
    for name in (NAME, "other"):
        control.set_overrides(ACME, name, {"u1": "treatment", "u2": "control"}, by=ANN)
    assert control.forget_overrides(SHOP, ["u1"]) == 0
    assert control.forget_overrides(ACME, ["u1", "u9"]) == 2
    for one in control.running_experiments(ACME, "desk"):
        assert one.overrides == {hash_of(one.override_key, "u2"): "control"}


def test_the_gateway_is_told_what_runs_over_releases(control: Control) -> None:
    added(control, "a-draft")
    started(control, name="by-the-app", assigned_by="app")
    one = started(control)
    (live,) = control.live_experiments()
    assert (live.record, live.endpoints) == (one, {"v1": "http://127.0.0.1:1", "v2": None})
    assert {each.name for each in control.running_experiments(ACME, "desk")} == {NAME, "by-the-app"}
    assert control.running_experiments(SHOP, "desk") == []


def test_the_last_look_is_kept(control: Control) -> None:
    started(control)
    later = LookRecord(word="keep_running", headline="9 days left", n_units=120, at_ns=20)
    for look in (LookRecord(word="inconclusive", headline="", n_units=1, at_ns=10), later):
        control.note_look(ACME, NAME, 1, look)
    control.note_look(ACME, NAME, 1, LookRecord(word="ship", headline="", n_units=1, at_ns=15))
    assert control.experiment(ACME, NAME).look == later


def test_everything_is_in_the_audit_log(control: Control) -> None:
    started(control, 0.1)
    control.ramp_experiment(ACME, NAME, 0.5, by=ANN)
    control.set_overrides(ACME, NAME, {"u": "control"}, by=ANN)
    control.stop_experiment(ACME, NAME, "done", by=ANN)
    found = [one for one in control.list_audit(ACME) if one.action.startswith("experiment.")][::-1]
    assert [one.action.split(".")[1] for one in found] == ["create", "start", "ramp", "override", "stop"]
    assert {(one.resource, one.actor) for one in found} == {(f"experiment/{NAME}/1", "ann")}
    assert (found[2].before, found[2].after) == ({"coverage": 0.1}, {"coverage": 0.5})
    assert control.verify(ACME).ok


def test_two_who_start_at_once_start_one(control: Control) -> None:
    added(control)
    together = threading.Barrier(4)

    def start(n: int) -> ExperimentRecord:
        together.wait(30)
        return control.start_experiment(ACME, NAME, 0.1 * (n + 1), anything, by=ANN)

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(start, range(4)))
    assert len({one.ramps for one in found}) == 1
    assert [one.action for one in control.list_audit(ACME)].count("experiment.start") == 1


@pytest.mark.parametrize("table", ["experiments", "experiment_states", "experiment_overrides"])
def test_an_altered_row_is_not_believed(control: Control, database: ControlDatabase, table: str) -> None:
    experimented(control, ACME)
    column = {"experiments": "definition", "experiment_states": "ramps", "experiment_overrides": "variant"}[table]
    database.execute(f"UPDATE {table} SET {column} = '[]'")
    with pytest.raises(Corrupt, match=table):
        control.experiments(ACME)
