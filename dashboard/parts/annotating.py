"""One label queue as an annotator works through it: what they hold, what they said, and what is next.

Nothing of another's answer or of a judge's is asked of the server here, and none is in what it answers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import streamlit as st

from dashboard.api import ApiFailure, NotAllowed, NotFound, Row, Unreachable
from dashboard.parts import callers, frame, judged_content, label_form
from dashboard.parts.callers import Caller
from dashboard.parts.label_form import Said
from dashboard.text import inert

_KEY: Final = "assay-label-form"
_KEPT: Final = "annotating"


@dataclass(kw_only=True)
class Work:
    """Where an annotator is in a queue. `seen` are the tasks of this visit in order, `at` the one on the screen;
    `pressed` what they did that is not carried out yet; `told` what the form says of the last of it."""

    caller: Caller
    queue: str
    seen: list[str] = field(default_factory=list)
    at: int = -1
    task: Row | None = None
    shown: Row | None = None
    unreadable: str | None = None
    progress: Row = field(default_factory=dict)
    rubric: Row = field(default_factory=dict)
    n_annotators: int = 1
    over: bool = False
    pressed: list[Said] = field(default_factory=list)
    number: int = 0
    told: tuple[str, str] | None = None
    since: float = 0.0

    def path(self, *parts: str) -> str:
        """Of something below this queue."""
        return self.caller.api.queue_path(self.queue, *parts)


def show(queue: str, caller: Caller) -> None:
    """The task that is on, with the form to answer it by. Raises `ApiFailure`."""
    if not caller.may("user"):
        callers.needed("user", "Labelling")
        return
    work = _work(queue, caller)
    while work.pressed:
        _do(work, work.pressed.pop(0))
    if work.task is None and not work.over:
        _take_next(work)
    if work.task is None:
        _nothing_left(work)
        return
    left, right = st.columns([11, 8], gap="medium")
    with left, st.container(key="assay-labelled"):
        _content(work)
    with right, st.container(border=True, key="assay-label-form-box"):
        label_form.show(_drawn(work), _KEY, lambda said: work.pressed.append(said))


def _work(queue: str, caller: Caller) -> Work:
    """What is known of this queue in this visit; begun anew for another annotator."""
    work = st.session_state.get(_KEPT)
    if not isinstance(work, Work) or (work.queue, work.caller.name, work.caller.own) != (
        queue,
        caller.name,
        caller.own,
    ):
        work = Work(queue=queue, caller=caller)
        st.session_state[_KEPT] = work
    return work


# --- what was pressed -----------------------------------------------------------------------------------------------


def _do(work: Work, said: Said) -> None:
    """Carries out one message of the form. What fails is said there, and what was chosen stays."""
    if work.task is None or said.task_id != work.task["task_id"] or said.number <= work.number:
        return
    work.number, work.told = said.number, None
    try:
        match said.what:
            case "complete":
                _answer(work, {"labels": list(said.labels), "note": said.note})
            case "skip":
                _answer(work, {"skip": said.reason})
            case "previous":
                _open(work, work.at - 1)
            case "next":
                _on(work)
            case "again":
                _again(work)
    except (NotAllowed, Unreachable) as failure:
        work.told = ("error", inert(failure.detail, 400))
    except NotFound as failure:
        work.told = ("warning", f"This one is gone: {inert(failure.detail, 300)}")
        _forget(work)
    except ApiFailure as failure:
        if failure.status == 409:
            why = inert(failure.detail, 300)
            work.told = ("warning", f"{why[:1].upper()}{why[1:]}.")
            _forward(work)
        else:
            work.told = ("error", inert(failure.detail, 400))


def _answer(work: Work, body: Row) -> None:
    task = _task_of(work)
    took = {} if work.since == 0 else {"duration_ms": int(1000 * (time.monotonic() - work.since))}
    work.caller.api.post(work.path("tasks", str(task["task_id"]), "annotations"), {**body, **took})
    if task["own"] is None:
        work.progress["n_done"] += 1
    _forward(work)


def _on(work: Work) -> None:
    """The next one. What was not answered goes to the end of the queue."""
    task = _task_of(work)
    is_newest = work.at == len(work.seen) - 1
    if is_newest and task["own"] is None and task["status"] in ("needs_review", "needs_others_review"):
        work.caller.api.post(work.path("tasks", str(task["task_id"]), "requeue"), {})
        _take_next(work)
        if work.task is not None and work.task["task_id"] == task["task_id"]:
            work.told = ("note", "This is the only one that is left for you now.")
        return
    _forward(work)


def _again(work: Work) -> None:
    """Reserves what the reservation of is over, or what the server gives instead."""
    before = _task_of(work)["task_id"]
    _take_next(work)
    if work.task is not None and work.task["task_id"] != before:
        work.told = ("warning", "Somebody else holds that one now. This is the next.")


def _forward(work: Work) -> None:
    if work.at < len(work.seen) - 1:
        _open(work, work.at + 1)
    else:
        _take_next(work)


def _forget(work: Work) -> None:
    del work.seen[work.at]
    work.at = len(work.seen) - 1
    _take_next(work)


def _open(work: Work, at: int) -> None:
    if not 0 <= at < len(work.seen):
        return
    found = work.caller.api.get(work.path("tasks", work.seen[at]))
    _put(work, found, at)


def _take_next(work: Work) -> None:
    found = work.caller.api.post(work.path("next"), {})
    work.progress, work.rubric = found["progress"], found["queue"]["rubric"]
    work.n_annotators = int(found["queue"]["n_annotators"])
    work.over = found["task"] is None
    if work.over:
        work.task, work.shown = None, None
        return
    task_id = str(found["task"]["task_id"])
    if task_id in work.seen:  # it was left for later: now it is the newest
        work.seen.remove(task_id)
    work.seen.append(task_id)
    _put(work, found, len(work.seen) - 1)


def _put(work: Work, found: Row, at: int) -> None:
    work.task, work.shown, work.unreadable = found["task"], found["content"], found["unreadable"]
    work.at, work.since = at, time.monotonic()


def _task_of(work: Work) -> Row:
    assert work.task is not None
    return work.task


# --- what is seen ---------------------------------------------------------------------------------------------------


def _content(work: Work) -> None:
    task = _task_of(work)
    title = {"session": "Conversation", "turn": "Turn of a conversation"}.get(str(task["target"]), "Item")
    frame.facts(((title, task["item"]), ("App", task["app"])), "labelled")
    if work.shown is None:
        with st.container(border=True, key="assay-unreadable"):
            st.subheader("It cannot be shown", anchor=False, icon=":material/visibility_off:")
            st.text(inert(work.unreadable, 400))
            st.caption("Skip it: press S.")
        return
    judged_content.show(work.shown, str(task["task_id"]))


def _drawn(work: Work) -> dict[str, Any]:
    """What the form is told."""
    task, own = _task_of(work), _task_of(work)["own"] or {}
    newest = work.at == len(work.seen) - 1
    done, total = int(work.progress["n_done"]), int(work.progress["n_total"])
    until, left_s = _reserved(task["reserved_until"])
    told = work.told or _standing(work)
    return {
        "mode": "annotate",
        "id": str(task["task_id"]),
        "stamp": f"annotate|{work.caller.name}|{work.queue}|{task['task_id']}|{own.get('made_at')}",
        "seen": work.number,
        "rubric": label_form.rubric_told(work.rubric),
        "chosen": list(own.get("labels", [])),
        "note": inert(own.get("note", "")),
        "done": done,
        "total": total,
        "counted": "done" if newest else f"done · going back, {len(work.seen) - 1 - work.at} before the newest",
        "until": until,
        "left_s": left_s if not own else None,
        "told": {"kind": told[0], "text": told[1]} if told else None,
        "locked": _locked(work),
        "answers": None,
        "verb": "Answer anew" if own else "Complete",
        "next": "Later" if newest and not own else "Next",
        "first": work.at == 0,
        "last": False,
    }


def _reserved(until: object) -> tuple[str, float | None]:
    """When a reservation ends, on the viewer's clock, and in how many seconds."""
    at = frame.moment(until)
    if at is None:
        return "", None
    return f"{at:%H:%M:%S}", (at - datetime.now(UTC)).total_seconds()


def _standing(work: Work) -> tuple[str, str] | None:
    """What became of a task that the annotator comes back to."""
    task = _task_of(work)
    own = task["own"]
    if task["status"] == "completed":
        said = f"Completed: {inert(task['label'], 200)} ({task['how']})."
        return ("note", said + ("" if _locked(work) else " You may still answer anew."))
    if own is None:
        held = task["reserved_until"] is not None
        return None if held else ("note", "Not reserved for you: your answer counts as long as nobody else is faster.")
    said = f"You skipped this one: {inert(own['skipped'], 200)}." if own["skipped"] else "Your answer is kept."
    return ("note", said + ("" if _locked(work) else " You may answer anew until it is completed."))


def _locked(work: Work) -> bool:
    """Whether the server would refuse an answer."""
    task = _task_of(work)
    own = task["own"]
    if own is None:
        return task["status"] not in ("needs_review", "needs_others_review")
    if task["status"] != "completed":
        return False
    return task["how"] == "adjudicated" or work.n_annotators > 1 or bool(own["skipped"])


def _nothing_left(work: Work) -> None:
    done = int(work.progress.get("n_done", 0))
    with st.container(border=True, key="assay-queue-done"):
        st.subheader("Nothing is left for you here", anchor=False, icon=":material/task_alt:")
        st.text(f"You answered {done:,}." if done else "There is nothing in this queue that you could answer now.")
        st.caption("What others hold comes back when they leave it or their reservation ends.")
        with st.container(horizontal=True):
            if st.button("Look again", icon=":material/refresh:", shortcut="J", key="queue-again"):
                work.over = False
                st.rerun()
            if work.seen and st.button("Back to the last one", shortcut="K", key="queue-back"):
                _open(work, len(work.seen) - 1)
                work.over = False
                st.rerun()
