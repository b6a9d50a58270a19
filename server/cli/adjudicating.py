"""The loop of `assay labels adjudicate`: a task that annotators disagree on, their answers, and a key that decides."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import quote

from rich.text import Text

from server.cli import label_shown
from server.cli.connection import ApiClient
from server.cli.keyboard import Keyboard
from server.cli.outcome import ExitCode
from server.cli.rendering import cell, console, counted
from server.cli.terminal import plain

_KEYS = "1-9 and 0 decide, t types the label, n a note, l later, r the rubric, q ends"


class Bench:
    """Somebody who decides on one queue (`path` is its address)."""

    def __init__(self, api: ApiClient, path: str, keyboard: Keyboard) -> None:
        self._api, self._path, self._keyboard = api, path, keyboard

    def work(self) -> int:
        """Shows every task that needs a decision, once. Raises CommandFailed."""
        queue = self._api.get(self._path)
        found = self._api.get(f"{self._path}/tasks", {"status": "needs_adjudication", "limit": 1000})["items"]
        n_done = 0
        for number, task in enumerate(found, start=1):
            address = f"{self._path}/tasks/{quote(task['task_id'], safe='')}"
            label_shown.print_task(self._api.get(address), f"{number}/{len(found)}")
            _print_answers(task)
            decided = self._decided(queue["rubric"], address)
            if decided is None:
                break
            n_done += decided
        print(f"{counted(n_done, 'task')} decided, {len(found) - n_done} left", file=sys.stderr)
        return ExitCode.OK

    def _decided(self, rubric: dict[str, Any], address: str) -> int | None:
        """1 when it was decided, 0 for later, None to end."""
        labels, note = list(rubric["labels"]), ""
        label_shown.print_choices(labels, [])
        while True:
            key = self._keyboard.key()
            if key in ("", "q", "Q"):
                return None
            if key == "l":
                return 0
            if key == "n":
                note = self._keyboard.line("note: ") or note
            elif key == "r":
                label_shown.print_rubric(rubric)
            elif key == "t" or (key.isdecimal() and key.isascii() and (int(key) - 1) % 10 < len(labels)):
                text = self._keyboard.line("label: ") or "" if key == "t" else labels[(int(key) - 1) % 10]
                wanted = [one.strip() for one in text.split(",")]
                if set(wanted) <= set(labels):
                    told = self._api.post(f"{address}/adjudications", {"labels": wanted, "note": note})
                    print(plain(f"decided: {told['label']}", 200), file=sys.stderr)
                    return 1
                print("there is no such label", file=sys.stderr)
            else:
                print(_KEYS, file=sys.stderr)


def _print_answers(task: dict[str, Any]) -> None:
    for one in task["answers"]:
        said = ", ".join(one["labels"]) or f"skipped: {one['skipped']}"
        line = Text("  ") + cell(one["annotator"], 60, "bold") + Text(": ") + cell(said, 300)
        console().print(line + cell(f"  {one['note']}" if one["note"] else "", 1000, "dim"), soft_wrap=True)
