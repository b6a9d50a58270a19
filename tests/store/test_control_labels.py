"""Label queues in the control database: kept whole, of their tenant, audited, erased; on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import Conflict, Corrupt, NotFound
from core.ids import TenantId
from core.records import Principal, Role, TargetKind
from store.control.control import Control
from store.control.integrity import look_over
from store.control.label_records import AnnotationRecord
from store.control.labelling import TaskChange
from tests.store.control_rows import labelled, queue_of, task_of
from tests.store.databases import ControlDatabase

ACME, SHOP = TenantId("acme"), TenantId("shop")
ANN = Principal(tenant=ACME, role=Role.POWER_USER, name="ann", key_id="0123456789ab")


@pytest.fixture
def control(database: ControlDatabase) -> Iterator[Control]:
    found = database.open()
    for tenant in (ACME, SHOP):
        found.ensure_tenant(tenant)
    yield found
    found.close()


def test_a_queue_comes_back_as_it_was_written(control: Control, database: ControlDatabase) -> None:
    labelled(control, ACME)
    queue, tasks = database.open().label_tasks(ACME, "triage")
    made = replace(queue_of(ACME), n_tasks=2, draws=({"draw": 1},), created_by="ann", created_at_ns=queue.created_at_ns)
    assert queue == made == control.label_queue(ACME, "triage")
    answered = replace(task_of(1), answered={"ann": True})
    assert tasks == [answered, task_of(2, has_text=True, target=TargetKind.EXAMPLE, user_id="u2")]
    assert control.task_text(ACME, "triage", "task_2") == {"answer": "h\u00e9 \u0000"}
    said = control.annotations(ACME, "triage")
    assert control.label_task(ACME, "triage", "task_1")[2] == said
    assert [(one.label, one.note, one.duration_ms) for one in said] == [("pass", "why", 7)]
    with pytest.raises(Conflict):
        control.create_label_queue(queue_of(ACME), by=ANN)


def test_it_belongs_to_its_tenant(control: Control) -> None:
    labelled(control, ACME)
    assert control.label_queues(SHOP) == []
    for ask in (control.label_queue, control.label_tasks, control.annotations):
        with pytest.raises(NotFound):
            ask(SHOP, "triage")
    with pytest.raises(NotFound):
        control.change_label_task(SHOP, "triage", "task_1", lambda *_: None, by=replace(ANN, tenant=SHOP))


def test_answering_again_replaces_the_answer_and_the_audit_log_keeps_both(control: Control) -> None:
    labelled(control, ACME)

    def again(_queue: object, task: object, said: object, now_ns: int) -> TaskChange:
        new = AnnotationRecord(queue="triage", task_id="task_1", annotator="ann", labels=("fail",), made_at_ns=now_ns)
        told = {"action": "labels.annotate", "after": {"labels": ["fail"]}, "before": {"labels": ["pass"]}}
        return TaskChange(task=replace(task_of(1), answered={"ann": True}), said=new, **told)  # type: ignore[arg-type]

    control.change_label_task(ACME, "triage", "task_1", again, by=ANN)
    assert [one.label for one in control.annotations(ACME, "triage")] == ["fail"]
    found = [one for one in control.list_audit(ACME) if one.action == "labels.annotate"]
    assert (found[0].before, found[0].after) == ({"labels": ["pass"]}, {"labels": ["fail"]})
    assert len(found) == 2


def test_two_who_change_a_task_at_once_do_it_one_after_the_other(control: Control) -> None:
    labelled(control, ACME)

    def count() -> None:
        for _ in range(5):
            control.change_label_task(
                ACME, "triage", "task_1",
                lambda _q, task, _s, _n: TaskChange(task=replace(task, revision=task.revision + 1)), by=ANN,
            )  # fmt: skip

    threads = [threading.Thread(target=count) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert control.label_task(ACME, "triage", "task_1")[1].revision == 20


def test_a_users_tasks_are_forgotten_with_all_that_was_said_of_them(control: Control) -> None:
    labelled(control, ACME)
    labelled(control, SHOP)
    assert control.count_label_tasks(ACME, ["u2"], ["s1"], []) == 2
    assert control.forget_label_tasks(ACME, [], ["s1"], []) == 1
    assert control.annotations(ACME, "triage") == []
    assert control.forget_label_tasks(ACME, ["u2"], [], []) == 1
    with pytest.raises(NotFound):
        control.task_text(ACME, "triage", "task_2")
    queue, tasks = control.label_tasks(ACME, "triage")
    assert (queue.n_tasks, queue.n_erased, tasks) == (0, 2, [])
    assert len(control.label_tasks(SHOP, "triage")[1]) == 2


def test_a_deleted_queue_is_gone_with_its_rows(control: Control) -> None:
    labelled(control, ACME)
    control.delete_label_queue(ACME, "triage", by=ANN)
    with pytest.raises(NotFound):
        control.label_queue(ACME, "triage")
    labelled(control, ACME)  # the name is free again, and nothing is left of before
    assert len(control.annotations(ACME, "triage")) == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_altered_row_is_not_believed_and_doctor_names_it(
    control: Control, database: ControlDatabase, tmp_path: Path
) -> None:
    labelled(control, ACME)
    database.execute("UPDATE annotations SET labels = '[\"fail\"]', note = 'other'")
    database.execute("UPDATE label_tasks SET label = 'fail', status = 'completed' WHERE task_id = 'task_2'")
    with pytest.raises(Corrupt):
        control.annotations(ACME, "triage")
    with pytest.raises(Corrupt):
        control.label_tasks(ACME, "triage")
    found = " ".join(one.what for one in look_over(tmp_path / "control.db"))
    assert "annotations" in found
    assert "label_tasks" in found


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_rows_that_are_gone_are_missed(control: Control, database: ControlDatabase) -> None:
    labelled(control, ACME)
    database.execute("DELETE FROM annotations")
    with pytest.raises(Corrupt):
        control.annotations(ACME, "triage")
    database.execute("DELETE FROM label_tasks WHERE task_id = 'task_1'")
    with pytest.raises(Corrupt):
        control.label_tasks(ACME, "triage")
