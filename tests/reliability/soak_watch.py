"""What is looked at every few seconds of a soak: memory, descriptors, threads, the backlog, the lake's files, reads."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

import numpy as np
import psutil

from tests.stack import Stack

MIB: Final = 1 << 20
Sample = dict[str, Any]


@dataclass(kw_only=True)
class Watch:
    """Samples of a running stack. Each: at_s, backlog_mib, oldest_s, committed, files, and per process its pss_mib,
    own_mib (what of that is no file's), held_mib and kept_mib (own_mib without it), rss_mib, fds and threads;
    `reads_failed` counts questions to the API that were not answered 200 within 20 s."""

    stack: Stack
    every_s: float = 5.0
    say: Callable[[Sample], None] = print
    rests: Sequence[tuple[float, float]] = ()  # begin and end of times in which it asks no question, in seconds
    samples: list[Sample] = field(default_factory=list)
    reads: int = 0
    reads_failed: int = 0

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def now_s(self) -> float:
        """Seconds since the watch was made."""
        return time.monotonic() - self._began

    def look(self) -> Sample:
        """One more sample."""
        sample: Sample = {"at_s": round(self.now_s, 1), **self._backlog(), "processes": self._processes()}
        sample["files"] = sum(name.endswith(".parquet") for _, _, names in os.walk(self._lake) for name in names)
        self.samples.append(sample)
        return sample

    @property
    def _lake(self) -> Path:
        return self.stack.data_dir / "lake"

    def _watch(self) -> None:
        while not self._done.wait(self.every_s):
            self.say(self.look())
            if not any(begin < self.now_s < end for begin, end in self.rests):
                self.ask()

    def ask(self) -> None:
        """A question as the dashboard asks it: the traces of the last five minutes."""
        self.reads += 1
        question = Request(f"{self.stack.url}/api/v1/traces?since=5m&limit=20", headers=self.stack.headers)
        try:
            with urlopen(question, timeout=20) as answer:
                answer.read()
        except OSError:
            self.reads_failed += 1

    def _backlog(self) -> Sample:
        """Of the collector's health; an unwell one answers 503 with the same body."""
        try:
            with urlopen(f"{self.stack.otlp_http}/healthz", timeout=20) as answer:
                said = json.load(answer)
        except OSError as error:
            read = getattr(error, "read", None)
            if read is None:
                return {"backlog_mib": None, "oldest_s": None, "committed": None, "trouble": str(error)}
            said = json.loads(read())
        backlog = said["backlog"]
        mib = round(backlog["bytes"] / MIB, 2)
        return {"backlog_mib": mib} | {name: backlog[name] for name in ("oldest_s", "committed", "trouble")}

    def _processes(self) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        supervisor = psutil.Process(self.stack.pid)
        for process in (supervisor, *supervisor.children(recursive=True)):
            try:
                name = role_of(process.cmdline()) if process.pid != supervisor.pid else "supervisor"
                memory = process.memory_full_info()
                seen = {"pss_mib": memory.pss / MIB, "rss_mib": memory.rss / MIB, "fds": process.num_fds()}
                seen |= {"threads": process.num_threads(), **own_mib(process.pid)}
            except (psutil.Error, OSError):  # it has just ended
                continue
            before = found.get(name, {})
            found[name] = {key: round(value + before.get(key, 0), 2) for key, value in seen.items()}
        return found


def at_rest(samples: list[Sample]) -> list[Sample]:
    """Those at which nothing waited to be stored, nor at the one before: what storing the last of it took is going
    back for some seconds."""
    return [later for before, later in pairwise(samples) if before["backlog_mib"] == 0 and later["backlog_mib"] == 0]


def own_mib(pid: int) -> dict[str, float]:
    """What a process holds beside pages of files, in MiB, and what of that is mapped to be shared (of the server: rows
    that it keeps decoded, store/held.py). Code and data of libraries come in as they are first used, may go whenever
    the system wants them back, and count half while compaction runs and maps them too. Raises OSError."""
    rows = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines())
    kib = {row[0]: int(row[1]) for row in rows if row[0] in ("Pss_Anon:", "Pss_Shmem:")}
    mib = {name: n / 1024 for name, n in kib.items()}
    return {"own_mib": sum(mib.values()), "held_mib": mib["Pss_Shmem:"], "kept_mib": mib["Pss_Anon:"]}


def role_of(command: list[str]) -> str:
    """What a process of the stack is, by its command line."""
    for role in ("compaction", "collector", "server", "dashboard", "gateway"):
        if any(part == role or part.endswith(f".{role}") for part in command):
            return role
    return "other"


def series(samples: list[Sample], role: str, what: str) -> tuple[list[float], list[float]]:
    """(seconds, values) of one figure of one process."""
    having = [sample for sample in samples if role in sample["processes"]]
    return [sample["at_s"] for sample in having], [sample["processes"][role][what] for sample in having]


def slope_percent_per_hour(
    samples: list[Sample], role: str, windows: Sequence[tuple[float, float]], what: str = "own_mib"
) -> tuple[float, float] | None:
    """Least squares over the least of a figure in each of `windows` (seconds), and its standard error, both in percent
    of their mean an hour; windows in which nobody looked do not count, and None stands for fewer than eight that do."""
    points = [point for window in windows if (point := least_of(samples, role, window, what))]
    if len(points) < 8:
        return None
    at, memory = np.array(points).T
    hours = at / 3600 - (at / 3600).mean()
    slope = float(hours @ memory / (hours @ hours))
    left = memory - memory.mean() - slope * hours
    error = float(np.sqrt(left @ left / (len(points) - 2) / (hours @ hours)))
    return round(100 * slope / float(memory.mean()), 2), round(100 * error / float(memory.mean()), 2)


def least_of(samples: list[Sample], role: str, window: tuple[float, float], what: str) -> tuple[float, float] | None:
    """(seconds, MiB) where a process held least within a window."""
    pairs = zip(*series(samples, role, what), strict=True)
    inside = [(at_s, mib) for at_s, mib in pairs if window[0] < at_s < window[1]]
    return min(inside, key=lambda pair: pair[1], default=None)
