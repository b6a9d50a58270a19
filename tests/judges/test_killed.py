"""A process that is killed in the middle of a job of a judge: no verdict is lost, none that is kept is asked again."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from tests.judges.answering import Said, verdict
from tests.judges.judged import Court, court
from tests.stack import REPOSITORY
from tests.waiting import wait_until

N, CONCURRENCY = 60, 4
KILLED_AFTER = (7, 23, 41)  # requests


def child(it: Court) -> subprocess.Popen[bytes]:
    data = str(it.shell.services.settings.data)
    words = [sys.executable, "-m", "tests.judges.judging_child", data, it.sink.url]
    return subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.DEVNULL)


def names(it: Court) -> list[str]:
    """The questions that were asked, by the hash that they are kept under."""
    return [one["idempotency-key"].partition(".")[0] for one in it.model.headers]


def kept(it: Court) -> set[str]:
    """Those whose verdict is in the control database."""
    with closing(create_engine(it.shell.services.settings.control_database).connect()) as connection:
        return {row.key[:40] for row in connection.exec_driver_sql("SELECT key FROM judge_verdicts")}


def test_killed_three_times_nothing_is_lost_and_nothing_that_is_kept_is_asked_again(tmp_path: Path) -> None:
    at_most, goes_on = [0], threading.Event()

    def script(index: int, body: dict[str, Any]) -> Said:
        held = index + 1 >= at_most[0]  # from here on nobody answers until the kill
        return Said(text=verdict("pass").text, wait=goes_on if held else None)

    with court(tmp_path, script, n=N, works=False) as it:
        it.judge()
        job = it.run(concurrency=CONCURRENCY)
        killed: list[tuple[set[str], int]] = []
        for n in KILLED_AFTER:
            at_most[0] = n
            goes_on.clear()
            process = child(it)
            wait_until(lambda n=n: len(it.model.asked) >= n, 120, f"{n} requests")  # type: ignore[misc]
            process.kill()
            process.wait()
            before, n_asked = kept(it), len(it.model.asked)
            goes_on.set()
            at_most[0] = 10**6
            in_flight = set(names(it)) - before
            assert len(in_flight) <= CONCURRENCY, "what was answered is kept"
            killed.append((before, n_asked))
        assert child(it).wait(120) == 0
        for before, n_asked in killed:
            assert before.isdisjoint(names(it)[n_asked:]), "what is kept is not asked again"
        done = it.job(job)
        assert (done["status"], done["n_done"], done["n_paid"], done["n_cached"]) == ("done", N, N, 0)
        asked = Counter(names(it))
        assert len(asked) == len(kept(it)) == N
        assert sum(asked.values()) - N <= CONCURRENCY * len(KILLED_AFTER), "only what was in flight is asked again"
        bodies: dict[str, set[str]] = {}
        for header, body in zip(it.model.headers, it.model.asked, strict=True):
            bodies.setdefault(header["idempotency-key"], set()).add(str(body["messages"]))
        assert all(len(some) == 1 for some in bodies.values()), "asked again, it is the same request"
        assert round(done["cost_usd"], 9) == round(N * (1000 * 0.25 + 100 * 2) / 1e6, 9)
        assert len(it.scores()) == len({one["session_id"] for one in it.scores()}) == N
        assert len(it.sink.named("chat")) == N
