"""Tasks, queues and rubrics of labels on a terminal. Text of conversations is shown, never obeyed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.text import Text

from server.cli.rendering import cell, console, counted, moment, print_table
from server.cli.terminal import plain

KEYS: Final = (
    ("1-9, 0", "choose the label; of several labels each toggles, Enter sends"),
    ("t", "type the label"),
    ("s", "skip it, saying why"),
    ("l", "later: back into the queue, at its end"),
    ("n", "a note with the answer"),
    ("b", "back to the task before"),
    ("r", "the rubric"),
    ("?, h", "these keys"),
    ("q", "end"),
)
_MOST_TEXT: Final = 20_000
_STYLES: Final = {"user": "bold green", "agent": "bold blue", "tool": "bold yellow"}
_NAMES: Final = {"assistant": "agent", "tool_call": "tool"}

Row = Mapping[str, Any]


def print_task(answer: Row, place: str) -> None:
    """A task: where it stands, and its content."""
    out, task = console(), answer["task"]
    out.print()
    out.print(Text(f"{place}  ", "bold") + cell(f"{task['target']} {task['item']}", 200, "dim"), soft_wrap=True)
    if answer["content"] is None:
        out.print(cell(answer["unreadable"], 400, "bold red"), soft_wrap=True)
        return
    for part in answer["content"]["parts"]:
        if part["name"] not in ("conversation", "turn"):
            out.print(cell(part["name"].replace("_", " "), 60, "bold"))
        for entry in part["entries"]:
            for who, said in spoken(entry):
                style = _STYLES.get(who, "bold")
                out.print(Text(f"{who:>8} > ", style) + Text(plain(said, _MOST_TEXT, block=True)), soft_wrap=True)
    if answer["content"]["n_cut"]:
        out.print(Text(f"{answer['content']['n_cut']:,} characters are left out", "dim"))
    if task["own"] is not None:
        said = ", ".join(task["own"]["labels"]) or f"skipped: {task['own']['skipped']}"
        out.print(Text("you said ", "dim") + cell(said, 300, "bold"), soft_wrap=True)


def spoken(entry: Row) -> Iterator[tuple[str, str]]:
    """Who says what in an entry of a content; untrusted text."""
    if "tool_call" in entry:
        yield "tool", f"{entry['tool_call']}({entry.get('arguments', '')})"
        yield "", f"-> {entry.get('error') or entry.get('result')}"
        return
    if "left_out_entries" in entry:
        yield "", f"... {entry['left_out_entries']} entries are left out ..."
        return
    if "document" in entry:
        yield "document", f"{entry['document']}: {entry.get('text', '')}"
        return
    for name in ("user", "assistant", "system", "question", "answer", "reference"):
        if name in entry:
            yield _NAMES.get(name, name), str(entry[name])


def print_choices(labels: list[str], chosen: list[str]) -> None:
    """The labels with their keys; those that are chosen are marked."""
    parts = []
    for at, label in enumerate(labels):
        key = str((at + 1) % 10) if at < 10 else " "
        mark = "*" if label in chosen else ""
        parts.append(Text(f"[{key}] ", "bold") + cell(f"{label}{mark}", 80))
    console().print(Text("   ").join(parts) + Text("    ? keys", "dim"), soft_wrap=True)


def print_rubric(rubric: Row) -> None:
    """A rubric: its text, and what each label means."""
    out = console()
    out.print(Text(f"{plain(rubric['name'], 100)} v{rubric['version']}", "bold"))
    out.print(Text(plain(rubric["text"], _MOST_TEXT, block=True)), soft_wrap=True)
    for label in rubric["labels"]:
        out.print(cell(label, 80, "bold") + Text("  ") + cell(rubric["anchors"].get(label, ""), 1000), soft_wrap=True)


def print_keys() -> None:
    """What each key does."""
    for key, does in KEYS:
        console().print(Text(f"{key:>8}  ", "bold") + Text(does))


def print_queues(queues: list[Row]) -> None:
    """Queues, by name."""
    columns = ("queue", "app", "rubric", "judge", "tasks", "annotators", "made (UTC)", "by")
    rows = [
        (
            *(cell(one["name"], 100), cell(one["app"], 60)),
            cell(f"{one['rubric']['name']} v{one['rubric']['version']}", 100),
            *(cell(one["judge"] or "-", 60), str(one["n_tasks"]), str(one["n_annotators"])),
            *(moment(one["created_at"]), cell(one["created_by"], 60)),
        )
        for one in queues
    ]
    print_table(columns, rows, right=("tasks", "annotators"))


def print_queue(queue: Row, agreement: Row) -> None:
    """A queue: how far it is, who said how much, how they agree, what it was drawn from."""
    out, told = console(), queue["progress"]
    print_queues([queue])
    names = ("needs_review", "needs_others_review", "needs_adjudication", "completed", "skipped")
    out.print(Text("   ".join(f"{name} {told[f'n_{name}']}" for name in names)))
    labels = "   ".join(f"{plain(name, 80)} {n}" for name, n in told["labels"].items())
    if labels:
        out.print(Text(f"labels: {labels}"), soft_wrap=True)
    if told["n_waiting"]:
        out.print(Text(f"{counted(told['n_waiting'], 'label')} not in the lake yet", "yellow"))
    people = {one["annotator"]: one for one in agreement["annotators"]}
    rows = [
        (
            cell(one["annotator"], 100),
            *(str(one["n_labels"]), str(one["n_skips"])),
            _as_label(people.get(one["annotator"])),
        )
        for one in told["annotators"]
    ]
    if rows:
        print_table(("annotator", "labels", "skips", "as the label"), rows, right=("labels", "skips"))
    for name in ("kappa", "alpha"):
        out.print(Text(f"agreement of annotators, {name}: {coefficient(agreement[name])}"), soft_wrap=True)
    for draw in queue["draws"]:
        drawn = sum(one["n_drawn"] for one in draw["strata"])
        what = f"judge {draw['judge']} {draw['judge_version']}" if draw["judge"] else "sessions"
        where = f"draw {draw['draw']} of {draw['n_population']:,} ({what})"
        line = f"{where}: {drawn:,} by stratum, {draw['n_random']:,} at random"
        out.print(cell(line, 400), soft_wrap=True)


def print_sample(told: Row) -> None:
    """A draw: its strata with sizes and chances."""
    rows = [
        (str(one["n"]), f"{one['sd']:.3f}", str(one["n_drawn"]), f"{one['probability']:.4f}", cell(one["name"], 200))
        for one in told["strata"]
    ]
    right = ("there", "sd", "drawn", "chance")
    print_table((*right, "stratum"), rows, right=right)
    drawn = sum(one["n_drawn"] for one in told["strata"])
    line = f"{drawn:,} of {told['n_population']:,} by stratum (at least {told['floor']} each)"
    console().print(Text(f"{line}, {told['n_random']:,} at random; what both draw is one task"), soft_wrap=True)


def coefficient(told: Row) -> str:
    """A coefficient with its interval, or why there is none."""
    if told["value"] is None:
        return f"none ({told['detail'] or told['lack']})"
    between = "" if told["low"] is None else f" ({told['low']:.2f} to {told['high']:.2f})"
    return f"{told['value']:.2f}{between} over {counted(told['n'], 'task')}"


def _as_label(one: Row | None) -> str:
    return "-" if one is None or not one["n"] else f"{one['n_as_label']} of {one['n']}"
