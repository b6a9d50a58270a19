"""The loop of `assay annotate`: a task is shown, a key says what becomes of it."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from server.cli import label_shown
from server.cli.connection import ApiClient
from server.cli.keyboard import ENTER, Keyboard
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.rendering import counted
from server.cli.terminal import plain

_ENDS: Final = (ExitCode.UNREACHABLE, ExitCode.NOT_ALLOWED, ExitCode.INTERRUPTED)


@dataclass(kw_only=True)
class _Open:
    """The task before the annotator, and what they chose so far."""

    task_id: str
    labels: list[str]
    several: bool
    note: str
    chosen: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)


class Desk:
    """An annotator at work on one queue (`path` is its address)."""

    def __init__(self, api: ApiClient, path: str, keyboard: Keyboard) -> None:
        self._api, self._path, self._keyboard = api, path, keyboard
        self._done: list[str] = []  # tasks of this sitting, in order
        self._back = 0  # how far one has gone back among them
        self._queue: dict[str, Any] = {}
        self._progress: dict[str, int] = {}

    def work(self) -> int:
        """Shows tasks until nothing is left or somebody ends it. Raises CommandFailed."""
        while True:
            shown = self._shown()
            if shown is None:
                print(self._nothing_left(), file=sys.stderr)
                return ExitCode.OK
            if not self._one(shown):
                n = len(set(self._done))
                print(f"{counted(n, 'task')} done in this sitting", file=sys.stderr)
                return ExitCode.OK

    def _shown(self) -> dict[str, Any] | None:
        """The task that is before the annotator: one of those before, or the next."""
        if self._back:
            found: dict[str, Any] = self._api.get(self._address(self._done[-self._back]))
            label_shown.print_task(found, f"back {self._back}")
            return found
        found = self._api.post(f"{self._path}/next", {})
        self._queue, self._progress = found["queue"], found["progress"]
        if found["task"] is None:
            return None
        place = f"{self._progress['n_done'] + 1}/{self._progress['n_total']}"
        label_shown.print_task(found, place)
        return found

    def _one(self, shown: dict[str, Any]) -> bool:
        """Keys until the task is dealt with; False to end."""
        rubric, own = self._queue["rubric"], shown["task"]["own"] or {}
        at = _Open(
            task_id=str(shown["task"]["task_id"]),
            labels=list(rubric["labels"]),
            several=rubric["kind"] == "multi_label",
            note=str(own.get("note") or ""),
        )
        label_shown.print_choices(at.labels, at.chosen)
        while (done := self._press(self._keyboard.key(), at)) is None:
            continue
        return done

    def _press(self, key: str, at: _Open) -> bool | None:
        """What a key does: True when the task is dealt with, False to end, None to stay."""
        match key:
            case "q" | "Q" | "":
                return False
            case "s":
                why = self._keyboard.line("why is it skipped? ")
                return self._say(at.task_id, {"skip": why, "note": at.note}) if why else None
            case "l":
                return self._later(at.task_id)
            case "n":
                at.note = self._keyboard.line("note: ") or at.note
            case "b":
                return self._before()
            case "r":
                label_shown.print_rubric(self._queue["rubric"])
            case "?" | "h" | "H":
                label_shown.print_keys()
            case _:
                wanted = self._chosen(key, at)
                if wanted:
                    took_ms = round((time.monotonic() - at.started) * 1000)
                    return self._say(at.task_id, {"labels": wanted, "note": at.note, "duration_ms": took_ms})
        return None

    def _chosen(self, key: str, at: _Open) -> list[str]:
        """What is to be sent after a key: nothing yet where it was no choice, or one of several."""
        if key == ENTER:
            return list(at.chosen)
        if key == "t":
            label = self._keyboard.line("label: ")
        elif key in "0123456789":
            number = (int(key) - 1) % 10
            label = at.labels[number] if number < len(at.labels) else None
        else:
            label = None
        if label not in at.labels:
            print("that is no key and no label: ? shows the keys, r the rubric", file=sys.stderr)
            return []
        if not at.several:
            return [label]
        at.chosen = [one for one in at.labels if (one in at.chosen) != (one == label)]
        label_shown.print_choices(at.labels, at.chosen)
        return []

    def _before(self) -> bool | None:
        if self._back == len(self._done):
            print("there is no task before this one", file=sys.stderr)
            return None
        self._back += 1
        return True

    def _say(self, task_id: str, body: dict[str, Any]) -> bool | None:
        """Sends an answer; True when it was taken, or cannot be any more."""
        try:
            told = self._api.post(f"{self._address(task_id)}/annotations", body)
        except CommandFailed as failed:
            if failed.code in _ENDS:
                raise
            print(f"not taken: {plain(failed, 300)}", file=sys.stderr)
            if failed.code is ExitCode.USAGE:
                return None
            self._back = max(0, self._back - 1)
            return True
        print(plain(f"{', '.join(body.get('labels', ['skipped']))}: {told['status']}", 200), file=sys.stderr)
        if self._back:
            self._back -= 1
        else:
            self._done.append(task_id)
        return True

    def _later(self, task_id: str) -> bool:
        """Gives the task back, to the end of the queue; of a task before, goes on with the one after it."""
        if self._back:
            self._back -= 1
            return True
        self._api.post(f"{self._address(task_id)}/requeue", {})
        if self._progress["n_left"] <= 1:
            print("it is the only one left: it comes again", file=sys.stderr)
        return True

    def _nothing_left(self) -> str:
        n = self._progress["n_done"]
        return f"nothing is left for you in {plain(self._queue['name'], 100)}: {counted(n, 'task')} done"

    def _address(self, task_id: str) -> str:
        return f"{self._path}/tasks/{quote(task_id, safe='')}"
