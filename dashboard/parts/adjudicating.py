"""Tasks on which annotators disagree: what each said side by side, and the label that somebody with the right gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import streamlit as st

from dashboard import human
from dashboard.api import ApiFailure, Row
from dashboard.parts import callers, frame, judged_content, label_form
from dashboard.parts.callers import Caller
from dashboard.parts.label_form import Said
from dashboard.text import inert

_KEY: Final = "assay-label-form"
_KEPT: Final = "adjudicating"
_MOST: Final = 200
_WHICH: Final = {
    "needs_adjudication": "Annotators disagree",
    "skipped": "Everybody skipped",
    "completed": "Decided already",
}


@dataclass(kw_only=True)
class Deciding:
    """Where somebody is who decides: the list they go through, the task on the screen, what was pressed."""

    queue: str
    status: str = "needs_adjudication"
    at: int = 0
    pressed: list[Said] = field(default_factory=list)
    number: int = 0
    n_decided: int = 0
    told: tuple[str, str] | None = None


def show(queue: str, rubric: Row, caller: Caller) -> None:
    """The tasks to decide on, one after the other. Raises `ApiFailure`."""
    if not caller.may("power_user"):
        callers.needed("power_user", "Deciding what annotators disagree on")
        return
    kept = st.session_state.get(_KEPT)
    state = kept if isinstance(kept, Deciding) and kept.queue == queue else Deciding(queue=queue)
    st.session_state[_KEPT] = state
    _choose(state)
    tasks, total = _read(state, caller)
    while state.pressed:
        _do(state, caller, tasks, state.pressed.pop(0))
        tasks, total = _read(state, caller)
    if not tasks:
        _nothing(state)
        return
    state.at = min(state.at, len(tasks) - 1)
    task = tasks[state.at]
    found = caller.api.get(caller.api.queue_path(queue, "tasks", str(task["task_id"])))
    left, right = st.columns([11, 8], gap="medium")
    with left, st.container(key="assay-labelled"):
        frame.facts((("Item", task["item"]), ("How", task["how"]), ("Decided by", task["decided_by"])), "labelled")
        if found["content"] is None:
            st.text(inert(found["unreadable"], 400))
        else:
            judged_content.show(found["content"], str(task["task_id"]))
    with right, st.container(border=True, key="assay-label-form-box"):
        label_form.show(_drawn(state, task, rubric, total, len(tasks)), _KEY, lambda said: state.pressed.append(said))


def _choose(state: Deciding) -> None:
    options = list(_WHICH)
    chosen = st.segmented_control(
        "Which",
        options,
        default=state.status,
        format_func=lambda name: _WHICH[name],
        label_visibility="collapsed",
        key="adjudicate-which",
    )
    if chosen and chosen != state.status:
        state.status, state.at, state.told = str(chosen), 0, None


def _read(state: Deciding, caller: Caller) -> tuple[list[Row], int]:
    asked: dict[str, str | int] = {"status": state.status, "limit": _MOST}
    found = caller.api.get(caller.api.queue_path(state.queue, "tasks"), asked)
    return list(found["items"]), int(found["total"])


def _do(state: Deciding, caller: Caller, tasks: list[Row], said: Said) -> None:
    shown = next((at for at, one in enumerate(tasks) if one["task_id"] == said.task_id), None)
    if said.number <= state.number or shown is None:
        return
    state.number, state.told, state.at = said.number, None, shown
    match said.what:
        case "previous":
            state.at = max(0, shown - 1)
        case "next":
            state.at = min(len(tasks) - 1, shown + 1)
        case "complete":
            path = caller.api.queue_path(state.queue, "tasks", said.task_id, "adjudications")
            try:
                caller.api.post(path, {"labels": list(said.labels), "note": said.note})
            except ApiFailure as failure:
                state.told = ("error", inert(failure.detail, 400))
                return
            state.n_decided += 1
            if state.status == "completed":  # it stays in the list
                state.at = min(len(tasks) - 1, shown + 1)


def _drawn(state: Deciding, task: Row, rubric: Row, total: int, n_here: int) -> dict[str, Any]:
    decided = task["how"] == "adjudicated"
    chosen = str(task["label"]).split(",") if task["label"] else []
    return {
        "mode": "adjudicate",
        "id": str(task["task_id"]),
        "stamp": f"adjudicate|{state.queue}|{task['task_id']}|{task['label']}|{task['note']}",
        "seen": state.number,
        "rubric": label_form.rubric_told(rubric),
        "chosen": [one for one in chosen if one in rubric["labels"]],
        "note": inert(task["note"]) if decided else "",
        "done": state.at + 1,
        "total": total,
        "counted": _counted(state, total, n_here),
        "until": "",
        "left_s": None,
        "told": None if state.told is None else {"kind": state.told[0], "text": state.told[1]},
        "locked": False,
        "answers": [_answer(one) for one in task["answers"]],
        "verb": "Decide anew" if decided else "Decide",
        "next": "Next",
        "first": state.at == 0,
        "last": state.at >= n_here - 1,
    }


def _counted(state: Deciding, total: int, n_here: int) -> str:
    said = {"needs_adjudication": "to decide", "skipped": "skipped by all", "completed": "decided"}[state.status]
    return said + (f" · the first {n_here} are shown" if total > n_here else "")


def _answer(one: Row) -> Row:
    took = one["duration_ms"]
    return {
        "who": inert(one["annotator"], 80) + (f" · {human.duration(took)}" if took is not None else ""),
        "label": inert(", ".join(one["labels"]), 200) or f"skipped: {inert(one['skipped'], 300)}",
        "skipped": not one["labels"],
        "note": inert(one["note"], 2000),
    }


def _nothing(state: Deciding) -> None:
    words = {
        "needs_adjudication": "Nothing to decide",
        "skipped": "Nothing was skipped by everybody",
        "completed": "Nothing has its label yet",
    }
    with st.container(border=True, key="assay-empty-adjudicate"):
        st.subheader(words[state.status], anchor=False, icon=":material/task_alt:")
        if state.n_decided:
            st.caption(f"You decided {human.plural(state.n_decided, 'task')} in this visit.")
        elif state.status == "needs_adjudication":
            st.caption("What all annotators answered, and no label has more than half of their answers, comes here.")
