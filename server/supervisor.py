"""Runs the parts of one installation as child processes: starts them, waits until they serve, restarts what dies.

Standard library only, and nothing of ours that loads more: this process lives as long as the installation and must
cost next to nothing.
"""

from __future__ import annotations

import errno
import fcntl
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

STOP_WITHIN_S: Final = 9.0  # then SIGKILL; everything has ended ten seconds after the signal
READY_WITHIN_S: Final = 240.0
WAITED_S: Final = 10.0  # before it is said what is waited for, and again each time
STEADY_S: Final = 60.0  # a part that ran this long starts again at once when it dies
MAX_BACKOFF_S: Final = 30.0
MAX_EARLY_DEATHS: Final = 3
LOG_KEPT_BYTES: Final = 5_000_000


class CannotStart(Exception):
    """The installation cannot start; the message says why and what to do. `usage`: arguments or settings are wrong."""

    def __init__(self, message: str, *, usage: bool = False) -> None:
        super().__init__(message)
        self.usage = usage


@dataclass(frozen=True, kw_only=True)
class Part:
    """One child process. `ready_path` None asks only whether `ports` accept connections. A part that ends is started
    again, but one with `then`, or that is to run `once`, may end well: its last line is told, and `then` takes its
    place."""

    name: str
    command: Sequence[str]
    ports: Sequence[int]
    ready_path: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    then: Part | None = None
    once: bool = False


@dataclass(kw_only=True)
class _Running:
    part: Part
    process: subprocess.Popen[bytes]
    started_at: float
    n_deaths: int = 0
    was_ready: bool = False
    again_at: float | None = None  # when it is to be started again; None while it runs


class Supervisor:
    """Use as: `lock()`, `start(parts)`, `watch()`, and always `stop()`."""

    def __init__(self, run_dir: Path, say: Callable[[str], None]) -> None:
        """`run_dir` holds lock, logs and state; `say` is told, in one line each, what people should know."""
        self._run_dir = run_dir
        self._say = say
        self._running: dict[str, _Running] = {}
        self._lock: int | None = None
        self._stopping = False
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def lock(self) -> None:
        """Claims the data folder, and the signals. Raises CannotStart when another instance has it."""
        claim = None
        try:
            self._run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            claim = os.open(self._run_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if claim is not None:
                os.close(claim)
            folder = self._run_dir.parent
            if isinstance(error, BlockingIOError):
                said = f"an Assay is running on {folder} already; stop it, or give another folder with --data"
                raise CannotStart(said, usage=True) from None
            raise CannotStart(f"the data folder {folder} cannot be used: {error.strerror}") from error
        self._lock = claim
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)
        signal.signal(signal.SIGCHLD, _ignore)  # only to wake up

    def start(self, parts: Iterable[Part]) -> None:
        """Starts more parts."""
        for part in parts:
            self._running[part.name] = _Running(part=part, process=self._spawn(part), started_at=time.monotonic())

    @property
    def stopping(self) -> bool:
        """Whether a signal asked for the end."""
        return self._stopping

    def wait_ready(self, within_s: float = READY_WITHIN_S) -> bool:
        """Waits until every part serves; False when a signal came first. Raises CannotStart quoting a part's log."""
        deadline, say_at = time.monotonic() + within_s, time.monotonic() + WAITED_S
        while not self._stopping:
            late = [running for running in self._running.values() if not running.was_ready]
            if not late:
                return True
            for running in late:
                running.was_ready = running.again_at is None and serves(running.part)
                if not running.was_ready and running.process.poll() is not None and running.again_at is None:
                    self._died_early(running)
            self._start_again()
            names = ", ".join(running.part.name for running in late)
            if time.monotonic() > deadline:
                slow = "alive, but slow to start: is the machine busy? Logs are in"
                raise CannotStart(f"{names} did not become ready in {within_s:g} s ({slow} {self._run_dir})")
            if time.monotonic() > say_at:
                say_at += WAITED_S
                self._say(f"waiting for {names} ({deadline - time.monotonic():.0f} s left)")
            self._sleep(0.05)
        return False

    def watch(self, until: float | None = None) -> None:
        """Restarts parts that die, until a signal comes or `until` (of time.monotonic) is reached."""
        while not self._stopping and (until is None or time.monotonic() < until):
            for running in list(self._running.values()):
                if running.again_at is None and running.process.poll() is not None:
                    part = running.part
                    if (part.once or part.then is not None) and running.process.returncode == 0:
                        self._go_on(part)
                    else:
                        self._plan_restart(running)
            self._start_again()
            self._sleep(self._pause(until))

    def stop(self) -> None:
        """Asks every part to end, newest first, and ends what has not after nine seconds. Frees the data folder."""
        self._stopping = True
        up = [running for running in reversed(self._running.values()) if running.process.poll() is None]
        if up:
            self._say(f"stopping {', '.join(running.part.name for running in up)}; what was acknowledged is kept")
        alive = [running.process for running in up]
        for process in alive:
            process.terminate()
        deadline = time.monotonic() + STOP_WITHIN_S
        for process in alive:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._lock is not None:
            (self._run_dir / "state.json").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def write_state(self, state: Mapping[str, object]) -> None:
        """Says in state.json where this instance is found, for client commands and `assay doctor`."""
        pids = {name: running.process.pid for name, running in self._running.items()}
        draft = self._run_dir / ".state.json"
        draft.write_text(json.dumps({**state, "pid": os.getpid(), "pids": pids}) + "\n", encoding="utf-8")
        draft.replace(self._run_dir / "state.json")

    def last_words(self, name: str) -> str:
        """The end of a part's log, as text for a terminal: its complaint, or else the last lines."""
        try:
            with (self._run_dir / f"{name}.log").open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 2000))
                return complaint_of(log.read().decode("utf-8", errors="replace"))
        except OSError:
            return ""

    def _spawn(self, part: Part) -> subprocess.Popen[bytes]:
        log = self._run_dir / f"{part.name}.log"
        with suppress(FileNotFoundError):
            if log.stat().st_size > LOG_KEPT_BYTES:
                log.replace(log.with_suffix(".log.1"))
        environment = {**os.environ, **part.environment, "ASSAY_SUPERVISOR": str(os.getpid())}
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            return subprocess.Popen(
                part.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which ends the parts in order
            )
        finally:
            os.close(output)

    def _died_early(self, running: _Running) -> None:
        running.n_deaths += 1
        if running.process.returncode == 2 or running.n_deaths >= MAX_EARLY_DEATHS:
            words = self.last_words(running.part.name).removeprefix("assay: ")
            said = f"the {running.part.name} could not start: {words or 'it said nothing'}"
            raise CannotStart(said, usage=running.process.returncode == 2)
        running.again_at = time.monotonic() + 0.3 * running.n_deaths

    def _go_on(self, ended: Part) -> None:
        self._say(f"{ended.name}: {(self.last_words(ended.name).splitlines() or ['done'])[-1]}")
        del self._running[ended.name]
        self.start([] if ended.then is None else [ended.then])

    def _plan_restart(self, running: _Running) -> None:
        now = time.monotonic()
        if now - running.started_at >= STEADY_S:
            running.n_deaths = 0
        pause = min(MAX_BACKOFF_S, 0.5 * 2**running.n_deaths) if running.n_deaths else 0.0
        running.n_deaths += 1
        running.again_at = now + pause
        ended = _how(running.process.returncode)
        self._say(f"the {running.part.name} ended ({ended}); starting it again" + (f" in {pause:g} s" if pause else ""))

    def _start_again(self) -> None:
        now = time.monotonic()
        for running in self._running.values():
            if running.again_at is not None and now >= running.again_at:
                running.process = self._spawn(running.part)
                running.started_at, running.again_at = now, None

    def _pause(self, until: float | None) -> float:
        """Seconds until something is due; a signal or a death wakes up earlier."""
        due = [running.again_at for running in self._running.values() if running.again_at is not None]
        if until is not None:
            due.append(until)
        return max(0.0, min(due) - time.monotonic()) if due else 5.0

    def _sleep(self, seconds: float) -> None:
        ready, _, _ = select.select([self._wake_reader], [], [], seconds)
        if ready:
            with suppress(BlockingIOError):
                os.read(self._wake_reader, 512)

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True


def complaint_of(text: str) -> str:
    """What a command that failed said last: three lines from the last that begins with `assay: `, else two lines."""
    lines = [line for line in text.splitlines() if line.strip()]
    begins = [n for n, line in enumerate(lines) if line.startswith("assay: ")]
    return "\n".join(lines[begins[-1] :][:3] if begins else lines[-2:])


def require_free_ports(host: str, ports: Mapping[str, int]) -> None:
    """Raises CannotStart naming the first port of `ports` that somebody else listens on."""
    for name, port in ports.items():
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise CannotStart(
                        f"port {port} ({name}) is in use; stop what uses it, or move all ports with --port-base",
                        usage=True,
                    ) from None
                said = f"port {port} ({name}) on {host} cannot be used: {error.strerror}"
                raise CannotStart(said, usage=True) from None


def serves(part: Part) -> bool:
    """Whether the part accepts connections on its ports and, where it has one, answers 200 at its ready path."""
    for port in part.ports:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
        except OSError:
            return False
    if part.ready_path is None:
        return True
    connection = http.client.HTTPConnection("127.0.0.1", part.ports[-1], timeout=2)
    try:
        connection.request("GET", part.ready_path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _how(code: int | None) -> str:
    if code is None:
        return "running"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """A handler that does nothing: the wake-up descriptor is what counts."""
