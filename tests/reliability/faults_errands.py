"""Disk full and I/O error while somebody writes through the API, erases a user or backs up, at the calls on files that
are made meanwhile: `python -m tests.reliability.faults_errands`.

Each errand is done once without a fault, which lists those calls, and then, round after round, call k fails: once, or
until the fault is lifted, as of a broken disk and of a full one; of `erase` and `backup` the first call of every kind
on every place, and some of the others. Either it is said to be done, and then it is, or that the storage failed, and
then it works once the fault is lifted. What was refused may have been done or not, but not twice.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import httpx

from tests.bytes_left import mentions
from tests.collector import otlp
from tests.reliability.crash_results import record
from tests.reliability.faults_sites import RELENTS_WITHIN_S, Calls, Fault, Rounds, places, running, tell_places
from tests.stack import REPOSITORY
from tests.waiting import wait_until

TRACE: Final = "ab" * 16


class Errand(Protocol):
    """Something that somebody does, under a name that is given once."""

    @property
    def name(self) -> str:
        """Of the kind."""

    def prepare(self, what: str) -> None:
        """What has to be there before, made without a fault."""

    def do(self, what: str) -> str | None:
        """Does it; None when it is said to be done, else the refusal. Raises AssertionError at any other answer."""

    def n_there(self, what: str) -> int:
        """How often it was done."""

    def another(self, what: str) -> str:
        """Under which name it is tried again after a refusal."""


@dataclass(frozen=True, kw_only=True)
class ApiWrite:
    """One request that writes."""

    name: str
    client: httpx.Client
    request: Callable[[str], tuple[str, str, dict[str, Any]]]  # method, path, body
    found: Callable[[httpx.Client, str], int]

    def prepare(self, what: str) -> None:
        """Nothing."""

    def do(self, what: str) -> str | None:
        """Sends it."""
        method, path, body = self.request(what)
        answer = self.client.request(method, f"/api/v1/{path}", json=body)
        if answer.is_success:
            return None
        assert answer.status_code == 503, f"{answer.status_code} {answer.text[:300]}"
        assert "retry-after" in answer.headers, f"no hint when to come again: {answer.text[:300]}"
        return answer.text

    def n_there(self, what: str) -> int:
        """Reads it back."""
        return self.found(self.client, what)

    def another(self, what: str) -> str:
        """Another name: whether the first was taken is not known."""
        return f"{what}-again"


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """`assay erase` of a user with a trace."""

    rounds: Rounds
    name: str = "erase"

    def prepare(self, what: str) -> None:
        """Sends and stores a trace of the user."""
        attributes = {"user.id": f"user-{what}", "session.id": f"session-{what}", "note": f"said by {what}"}
        body = otlp.traces(otlp.span(attributes)).SerializeToString()
        headers = {"content-type": "application/x-protobuf", **self.rounds.stack.headers}
        assert httpx.post(f"{self.rounds.stack.otlp_http}/v1/traces", content=body, headers=headers).status_code == 200
        self.rounds.settle()

    def do(self, what: str) -> str | None:
        """Runs the command."""
        return _command(self.rounds, "erase", "--user", f"user-{what}", "--yes")

    def n_there(self, what: str) -> int:
        """1 when nothing of the user is left."""
        pieces = [f"user-{what}".encode(), f"session-{what}".encode(), f"said by {what}".encode()]
        return int(not mentions(self.rounds.stack.data_dir, pieces))

    def another(self, what: str) -> str:
        """The same."""
        return what


@dataclass(frozen=True, kw_only=True)
class Backup:
    """`assay backup` to a file."""

    rounds: Rounds
    name: str = "backup"

    def prepare(self, what: str) -> None:
        """Nothing."""

    def do(self, what: str) -> str | None:
        """Runs the command."""
        return _command(self.rounds, "backup", str(self._file(what)))

    def n_there(self, what: str) -> int:
        """1 when the file is there and whole. Raises AssertionError when it is there and is not."""
        if not self._file(what).exists():
            return 0
        empty = str(self.rounds.layer.root / f"restored-{what}")
        command = [sys.executable, "-m", "server.cli.main", "restore", str(self._file(what)), "--data", empty]
        done = subprocess.run([*command, "--dry-run"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"a backup that is there cannot be restored: {done.stderr[-300:]}"
        self._file(what).unlink()
        return 1

    def another(self, what: str) -> str:
        """The same file."""
        return what

    def _file(self, what: str) -> Path:
        return self.rounds.layer.root / f"backup-{what}.tar.zst"


def _command(rounds: Rounds, *arguments: str) -> str | None:
    done = subprocess.run(
        [sys.executable, "-m", "server.cli.main", *arguments, "--data", str(rounds.stack.data_dir)],
        cwd=REPOSITORY,
        env={**os.environ, **rounds.layer.environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode == 0:
        return None
    assert done.returncode == 1, f"exit code {done.returncode}: {done.stderr[-500:]}"
    assert done.stderr.strip(), "exit code 1 and not a word"
    assert "Traceback" not in done.stderr, done.stderr[-1000:]
    return done.stderr


def writes(client: httpx.Client) -> list[ApiWrite]:
    """Requests that write to the lake, and to rooms of the control database."""

    def score(what: str) -> tuple[str, str, dict[str, Any]]:
        one = {"evaluator": what, "evaluator_kind": "human", "target": "turn", "trace_id": TRACE, "value": 1}
        return "POST", "scores", {"items": [one]}

    def scores(client: httpx.Client, what: str) -> int:
        return len(_got(client, f"scores?evaluator={what}&since=1d")["items"])

    def key(what: str) -> tuple[str, str, dict[str, Any]]:
        return "POST", "keys", {"role": "viewer", "name": what}

    def keys(client: httpx.Client, what: str) -> int:
        return sum(one["name"] == what for one in _got(client, "keys")["items"])

    def days(what: str) -> int:
        return 1 + sum(map(ord, what)) % 30_000

    def settings(what: str) -> tuple[str, str, dict[str, Any]]:
        return "PUT", "tenant/settings", {"pii": {"default": "keep"}, "retention_days": days(what)}

    def setting(client: httpx.Client, what: str) -> int:
        return int(_got(client, "tenant/settings")["retention_days"] == days(what))

    def example(what: str) -> tuple[str, str, dict[str, Any]]:
        return "POST", "datasets/golden/examples", {"examples": [{"example_id": what, "input": f"question {what}"}]}

    def examples(client: httpx.Client, what: str) -> int:
        found = _got(client, f"datasets/golden/examples?q={what}&limit=1000")["items"]
        return sum(one["example_id"] == what for one in found)

    def release(what: str) -> tuple[str, str, dict[str, Any]]:
        return "POST", "releases", {"app": "shop", "name": what, "model": "m"}

    def releases(client: httpx.Client, what: str) -> int:
        return sum(one["name"] == what for one in _got(client, "releases?app=shop&since=1d")["items"])

    pairs = {
        "score": (score, scores),
        "key": (key, keys),
        "settings": (settings, setting),
        "example": (example, examples),
        "release": (release, releases),
    }
    return [ApiWrite(name=name, client=client, request=ask, found=find) for name, (ask, find) in pairs.items()]


def _got(client: httpx.Client, path: str) -> Any:
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == 200, f"a read was answered {answer.status_code}: {answer.text[:300]}"
    return answer.json()


def begin(rounds: Rounds) -> list[Errand]:
    """All errands, with what they need."""
    answer = rounds.client.post("/api/v1/datasets", json={"name": "golden"})
    assert answer.status_code == 201, answer.text
    return [*writes(rounds.client), Erasure(rounds=rounds), Backup(rounds=rounds)]


def calls_of(rounds: Rounds, errand: Errand) -> Calls:
    """Does the errand without a fault; the calls on files meanwhile."""
    what = f"{errand.name}-clean"
    errand.prepare(what)
    with rounds.layer.listed() as calls:
        refusal = errand.do(what)
    assert refusal is None, refusal
    assert errand.n_there(what) == 1, f"{what} is not there"
    return calls


def one_round(rounds: Rounds, errand: Errand, fault: Fault) -> None:
    """Does the errand with a fault, and once more without; what is wrong goes to the problems of `rounds`."""
    rounds.n += 1
    what = f"{errand.name}-{rounds.n}"
    try:
        errand.prepare(what)
        rounds.arm(fault)
        try:
            refusal = errand.do(what)
        finally:
            rounds.lifted(fault, f"{errand.name}: ")
        _look_after(rounds, errand, what, refusal)
    except (AssertionError, httpx.HTTPError, subprocess.TimeoutExpired) as error:
        rounds.problems.append(f"{errand.name}, {fault}: {error}")


def _look_after(rounds: Rounds, errand: Errand, what: str, refusal: str | None) -> None:
    n = errand.n_there(what)
    assert n <= 1, f"{what} is there {n} times"
    if refusal is None:
        assert n == 1, f"{what} is said to be done and is not there"
        return
    rounds.n_refused += 1
    again = errand.another(what)
    wait_until(lambda: errand.do(again) is None, RELENTS_WITHIN_S, f"{errand.name} to work again; it said {refusal}")
    assert errand.n_there(again) == 1, f"{again} is said to be done and is not there"


def main() -> int:
    """Runs the campaign and adds its figures to benchmarks/results/reliability.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="beside each place every n-th call of a request")
    parser.add_argument("--commands-every", type=int, default=40, help="the same for erase and backup")
    parser.add_argument("--dry", action="store_true", help="do not record")
    args = parser.parse_args()
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="assay-errands-") as work, running(Path(work)) as rounds:
        for errand in begin(rounds):
            calls = calls_of(rounds, errand)
            counts[errand.name] = len(calls)
            print(f"{len(calls)} calls in {errand.name}", flush=True)
            every = args.every if isinstance(errand, ApiWrite) else args.commands_every
            rounds.everywhere(calls, partial(one_round, rounds, errand), every=every, of=f"{errand.name}: ")
        verdict = rounds.judged()
    problems = rounds.problems + ([] if verdict.sound else [str(verdict)])
    for line in problems[:40]:
        print(line)
    tell_places(rounds)
    if not args.dry:
        record(
            "errand_faults",
            n=rounds.n,
            hit=rounds.n_hit,
            **places(rounds),
            calls=", ".join(f"{name} {n}" for name, n in counts.items()),
            refused=rounds.n_refused,
            wrong=len(problems),
        )
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
