"""Reservations from several servers at once, on SQLite and on PostgreSQL: nobody is given what another holds."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.clock import NS_PER_S, system_clock
from core.ids import TenantId
from core.records import Principal, Role
from judges.labels import states
from store.control.control import Control
from store.control.label_records import AnnotationRecord, QueueRecord, TaskRecord
from store.control.labelling import Decide, TaskChange
from tests.store.control_rows import queue_of, task_of
from tests.store.databases import KINDS, PEPPER, new_database

ACME = TenantId("acme")
PEOPLE = ("ann", "bob", "cho", "dan")


def person(name: str) -> Principal:
    return Principal(tenant=ACME, role=Role.POWER_USER, name=name)


def reserving(name: str) -> Decide:
    """What `LabelService.next` does to a task."""

    def decide(queue: QueueRecord, task: TaskRecord, _: Sequence[AnnotationRecord], at_ns: int) -> TaskChange | None:
        taken = states.reserve(queue, task, name, at_ns)
        return None if taken is None else TaskChange(task=taken)

    return decide


@pytest.mark.parametrize("n_annotators", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_no_more_people_hold_a_task_than_answers_are_wanted(
    kind: str, n_annotators: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url, now = new_database(kind, tmp_path, request).url, [system_clock()]
    first = Control.open(url, pepper=PEPPER)
    first.ensure_tenant(ACME)
    first.create_label_queue(queue_of(ACME, n_annotators=n_annotators), by=person("eve"))
    first.add_label_tasks(ACME, "triage", lambda *_: ([task_of(n) for n in range(10)], []), by=person("eve"))

    def take(name: str) -> list[str]:
        """Reserves all that is on offer, through a server of one's own."""
        control = Control.open(url, pepper=PEPPER, clock=lambda: now[0])
        held = []
        try:
            for task in control.label_tasks(ACME, "triage")[1]:
                if control.change_label_task(ACME, "triage", task.task_id, reserving(name), by=person(name)):
                    held.append(task.task_id)
        finally:
            control.close()
        return held

    with ThreadPoolExecutor(len(PEOPLE)) as pool:
        found = list(pool.map(take, PEOPLE))
    everything = [one for held in found for one in held]
    assert {everything.count(one) for one in everything} == {n_annotators}
    assert len(set(everything)) == 10
    now[0] += 3600 * NS_PER_S  # everybody left
    assert sorted(take("new")) == sorted(set(everything))
    first.close()
