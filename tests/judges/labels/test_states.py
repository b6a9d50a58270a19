"""The life of a task: whatever people do in whatever order, it is where what they said puts it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import NS_PER_S
from core.errors import Conflict, Forbidden, InvalidInput
from core.ids import TenantId
from core.records import TargetKind
from judges.labels import states
from judges.labels.figures import own_progress, progress
from judges.records import Rubric, ScaleKind
from store.control.label_records import AnnotationRecord, How, QueueRecord, TaskRecord, TaskStatus

PEOPLE = ("ann", "bob", "cho", "dan")
QUEUE = QueueRecord(
    tenant=TenantId("acme"), name="q", app="desk", rubric="r", rubric_version=1, rubric_digest="", rubric_body={},
    n_annotators=2, reservation_s=60,
)  # fmt: skip
TASK = TaskRecord(queue="q", task_id="t", position=0, item="s", target=TargetKind.SESSION, session_id="s")


def rubric(kind: ScaleKind = ScaleKind.PASS_FAIL, labels: tuple[str, ...] = ("fail", "pass")) -> Rubric:
    return Rubric(name="r", version=1, kind=kind, labels=labels, passing=frozenset(labels[-1:]), text="?")


def said(who: str, *labels: str, skipped: str | None = None) -> AnnotationRecord:
    return AnnotationRecord(queue="q", task_id="t", annotator=who, labels=labels, skipped=skipped)


class Life:
    """A task and what was said of it, as the control database would hold them."""

    def __init__(self, n: int, **task: Any) -> None:
        self.queue = replace(QUEUE, n_annotators=n)
        self.task, self.now = replace(TASK, **task), 1
        self.said: dict[str, AnnotationRecord] = {}

    def give(self, who: str, label: str | None) -> bool:
        new = said(who, skipped="no") if label is None else said(who, label)
        try:
            change = states.answer(self.queue, self.task, list(self.said.values()), new, self.now)
        except (Conflict, Forbidden):
            return False
        self.task, self.said[who] = change.task, new
        return True

    def take(self, who: str) -> bool:
        taken = states.reserve(self.queue, self.task, who, self.now)
        self.task = taken or self.task
        return taken is not None


ACTS = st.lists(
    st.tuples(st.sampled_from(["take", "pass", "fail", "skip", "requeue", "wait", "decide"]), st.sampled_from(PEOPLE)),
    max_size=25,
)


@given(acts=ACTS, n=st.integers(1, 4))
def test_a_task_is_always_where_what_was_said_puts_it(acts: list[tuple[str, str]], n: int) -> None:
    life = Life(n)
    for act, who in acts:
        before = life.task
        match act:
            case "take":
                if life.take(who):
                    live = [name for name, until in life.task.reserved.items() if until > life.now]
                    assert who not in life.task.answered
                    assert len(set(live) - set(life.task.answered)) + life.task.n_answers <= n
            case "pass" | "fail" | "skip":
                answered = life.give(who, None if act == "skip" else act)
                if before.status in (TaskStatus.COMPLETED, TaskStatus.NEEDS_ADJUDICATION) and before.n_answers > 1:
                    assert not answered
            case "requeue":
                life.task = states.requeue(life.task, who, 7)
                assert (life.task.position, who in life.task.reserved) == (8, False)
            case "wait":
                life.now += 40 * NS_PER_S
            case _:
                every = list(life.said.values())
                life.task = states.adjudicate(
                    life.task, every, ["pass"], by="eve", note="", at_ns=life.now
                ).task  # fmt: skip
        answers = [one.label for one in life.said.values() if one.label is not None]
        task = life.task
        assert task.answered == {name: one.label is not None for name, one in life.said.items()}
        if task.how is not How.ADJUDICATED:
            n_skips = len(life.said) - len(answers)
            assert (task.status, task.label, task.how) == states.outcome(answers, n_skips, n)
        assert (task.label is None) == (task.status is not TaskStatus.COMPLETED)
        assert (task.completed_at_ns is None) == (task.label is None)
        is_new = (task.label, task.how) != (before.label, before.how)
        assert task.revision == before.revision + is_new


@pytest.mark.parametrize(
    ("answers", "skips", "n", "status", "label", "how"),
    [
        ([], 0, 2, TaskStatus.NEEDS_REVIEW, None, None),
        (["a"], 0, 2, TaskStatus.NEEDS_OTHERS_REVIEW, None, None),
        (["a", "a"], 0, 2, TaskStatus.COMPLETED, "a", How.UNANIMOUS),
        (["a", "b"], 0, 2, TaskStatus.NEEDS_ADJUDICATION, None, None),
        (["a", "b", "a"], 0, 3, TaskStatus.COMPLETED, "a", How.MAJORITY),
        (["a", "a", "b", "c"], 0, 4, TaskStatus.NEEDS_ADJUDICATION, None, None),
        ([], 1, 2, TaskStatus.NEEDS_REVIEW, None, None),
        (["a"], 2, 2, TaskStatus.SKIPPED, None, None),
        (["a"], 0, 1, TaskStatus.COMPLETED, "a", How.UNANIMOUS),
    ],
)
def test_what_answers_and_skips_come_to(
    answers: list[str], skips: int, n: int, status: TaskStatus, label: str | None, how: How | None
) -> None:
    assert states.outcome(answers, skips, n) == (status, label, how)


def test_a_reservation_ends_and_a_late_answer_counts_while_the_task_is_open() -> None:
    life = Life(1)
    assert life.take("ann")
    assert not life.take("bob")
    life.now += 61 * NS_PER_S
    assert life.take("bob")
    assert life.give("ann", "pass")  # late, and first
    assert not life.give("bob", "fail")  # others were faster: not counted
    assert (life.task.label, set(life.task.answered)) == ("pass", {"ann"})


def test_the_only_annotator_may_change_the_label_until_somebody_adjudicates() -> None:
    life = Life(1)
    assert life.give("ann", "pass")
    assert life.give("ann", "fail")
    assert (life.task.label, life.task.revision) == ("fail", 2)
    assert life.give("ann", None)
    assert (life.task.status, life.task.label, life.task.revision) == (TaskStatus.SKIPPED, None, 3)
    life.task = states.adjudicate(life.task, [], ["pass"], by="eve", note="", at_ns=1).task
    assert not life.give("ann", "fail")


def test_an_assigned_task_is_theirs_alone_and_goes_to_another_when_they_leave() -> None:
    life = Life(2, assigned=("ann", "bob"))
    assert not life.take("cho")
    assert not life.give("cho", "pass")
    assert life.give("ann", "pass")
    life.take("bob")
    life.task = states.reassign(life.task, "bob", "cho")
    assert (life.task.assigned, life.task.reserved) == (("ann", "cho"), {})
    assert states.reassign(life.task, "ann", "dan").assigned == ("ann", "cho")  # what was said stays said
    assert life.give("cho", "pass")
    assert life.task.how is How.UNANIMOUS


def test_what_is_offered_first_is_what_one_holds_then_ones_own_then_in_order() -> None:
    tasks = [replace(TASK, task_id=f"t{n}", position=n) for n in range(4)]
    tasks[2] = replace(tasks[2], assigned=("ann",))
    tasks[3] = replace(tasks[3], reserved={"ann": 100})
    found = states.offer(QUEUE, tasks, "ann", 1)
    assert [one.task_id for one in found] == ["t3", "t2", "t0", "t1"]
    assert own_progress(QUEUE, tasks, "ann", 1) == {"n_done": 0, "n_left": 4, "n_reserved": 1, "n_total": 4}
    assert progress(QUEUE, tasks, 1)["n_reserved"] == 1


def test_labels_are_those_of_the_scale() -> None:
    assert states.checked_labels(rubric(), ["pass"]) == ("pass",)
    several = rubric(ScaleKind.MULTI_LABEL, ("x", "y", "z"))
    assert states.checked_labels(several, ["z", "x"]) == ("x", "z")
    for asked, wrong in ((rubric(), ["maybe"]), (rubric(), ["fail", "pass"]), (rubric(), []), (several, ["x", "x"])):
        with pytest.raises(InvalidInput):
            states.checked_labels(asked, wrong)


def test_the_audit_log_holds_no_text_of_an_annotator() -> None:
    new = replace(said("ann", "pass"), note="the user's name is Jo")
    change = states.answer(QUEUE, TASK, [], new, 1)
    assert "Jo" not in str(change.after)
    skipped = replace(said("ann", skipped="Jo again"), note="Jo")
    assert "Jo" not in str(states.answer(QUEUE, TASK, [], skipped, 1).after)
