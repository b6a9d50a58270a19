"""The parent's side of the child process of custom evaluators: started when needed, killed when it is too long."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from core.errors import InvalidInput
from evaluators.custom.wire import decode
from evaluators.records import Reason, Unscored

_SCRIPT: Final = Path(__file__).with_name("child.py")
_DYING_S: Final = 5.0
_PASSED_ON: Final = ("PATH", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")  # of the environment; nothing else


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a custom evaluator may take: seconds of wall and CPU time per target, and to load; memory of its process;
    bytes of a target and of an answer."""

    wall_s: float = 10.0
    cpu_s: float = 10.0
    start_s: float = 30.0
    memory_mb: int = 1024
    most_target_bytes: int = 32 << 20
    most_bytes: int = 1 << 20


class Broken(InvalidInput):
    """A file cannot be loaded; the message says why."""

    code = "evaluator_broken"


class Child:
    """One child process and what it loaded; started at the first use, and again after it died. Safe between threads:
    one target at a time."""

    def __init__(self, loads: Mapping[str, Any], limits: Limits) -> None:
        self._loads = dict(loads)
        self._limits = limits
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._hello: dict[str, Any] = {}
        self._rest = b""
        self._asked = 0
        self._expected: str | None = None

    def hello(self) -> dict[str, Any]:
        """What was declared when it loaded. Raises Broken."""
        with self._lock:
            self._start()
            return self._hello

    def expect(self, sha256: str) -> None:
        """Holds a file to the one that was declared: where another one is loaded later, every target is unscored."""
        self._expected = sha256

    def ask(self, evaluator: str, target: dict[str, Any], wall_s: float | None = None) -> Any | Unscored:
        """The evaluator's answer, still to be judged; Unscored where there is none."""
        line = json.dumps(target, default=str).encode()
        if len(line) > self._limits.most_target_bytes:
            return Unscored(reason=Reason.TOO_LARGE, detail=f"the target has {len(line):,} bytes of JSON")
        with self._lock:
            try:
                self._start()
            except Broken as error:
                return Unscored(reason=Reason.FAILED, detail=f"it cannot be loaded: {error}"[:400])
            self._asked += 1
            head = json.dumps({"n": self._asked, "evaluator": evaluator})[:-1].encode()
            until = time.monotonic() + (wall_s or self._limits.wall_s)
            return self._answer(head + b', "target": ' + line + b"}\n", until)

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            self._kill()

    def _answer(self, line: bytes, until: float) -> Any | Unscored:
        try:
            self._send(line, until)
            said = decode(self._receive(until))
        except TimeoutError:
            self._kill()
            return Unscored(reason=Reason.TIMED_OUT, detail="it did not answer in time and was ended")
        except EOFError:
            return self._died()
        except InvalidInput as error:
            self._kill()
            return Unscored(reason=Reason.FAILED, detail=str(error)[:300])
        if said.get("n") != self._asked:
            self._kill()
            return Unscored(reason=Reason.FAILED, detail="its process answered out of turn")
        if "answer" in said:
            return said["answer"]
        if said.get("memory"):
            self._kill()  # what it holds is unknown
            return Unscored(reason=Reason.OUT_OF_MEMORY, detail=f"beyond {self._limits.memory_mb} MB")
        if "timed_out" in said:
            return Unscored(reason=Reason.TIMED_OUT, detail=str(said["timed_out"])[:300])
        return Unscored(reason=Reason.FAILED, detail=str(said.get("raised", "it answered nonsense"))[:400])

    def _died(self) -> Unscored:
        """What the end of the process says. The kernel ends what takes too much memory with SIGKILL."""
        code = self._end_of_process()
        self._kill()
        if code == -signal.SIGXCPU:
            return Unscored(reason=Reason.TIMED_OUT, detail=f"it took more than {self._limits.cpu_s:g} s of CPU time")
        if code == -signal.SIGKILL:
            return Unscored(reason=Reason.OUT_OF_MEMORY, detail="its process was killed, as for memory")
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        return Unscored(reason=Reason.FAILED, detail=f"its process ended {how}")

    def _ended(self) -> int | None:
        """The exit code of the process, negative for a signal, and left to be reaped: while it is, its group's number
        is nobody else's. None: it runs."""
        if self._process is None:
            return 0
        found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def _end_of_process(self) -> int:
        """The exit code of a process that closed its socket; 0 where it lives on for some reason."""
        until = time.monotonic() + _DYING_S
        while (code := self._ended()) is None and time.monotonic() < until:
            time.sleep(0.01)
        return code or 0

    def _start(self) -> None:
        if self._process is not None and self._ended() is None:
            return
        self._kill()
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-B", str(_SCRIPT), str(theirs.fileno()), str(os.getpid())]
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**environment, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                cwd="/",
                start_new_session=True,
            )
        self._socket, self._rest = ours, b""
        self._hello = self._greeted()
        if self._expected not in (None, self._hello.get("sha256")):
            self._kill()
            raise Broken("the file was changed since it was read; start again to score with the new one")

    def _greeted(self) -> dict[str, Any]:
        limits = self._limits
        told = {"memory_mb": limits.memory_mb, "cpu_s": limits.cpu_s, "start_s": limits.start_s}
        until = time.monotonic() + limits.start_s
        try:
            self._send(json.dumps({**self._loads, **told, "most_bytes": limits.most_bytes}).encode() + b"\n", until)
            said = decode(self._receive(until))
        except TimeoutError:
            self._kill()
            raise Broken(f"it was not loaded within {limits.start_s:g} s") from None
        except (EOFError, InvalidInput):
            code = self._end_of_process()
            self._kill()
            raise Broken(f"its process ended while it was loaded (code {code})") from None
        if "hello" not in said:
            self._kill()
            raise Broken(str(said.get("problem", "it answered nonsense"))[:500])
        return dict(said["hello"])

    def _send(self, line: bytes, until: float) -> None:
        """Raises TimeoutError, EOFError."""
        if self._socket is None:
            raise EOFError
        self._socket.settimeout(max(0.001, until - time.monotonic()))
        try:
            self._socket.sendall(line)
        except TimeoutError:
            raise
        except OSError:
            raise EOFError from None

    def _receive(self, until: float) -> bytes:
        """The next line. Raises TimeoutError, EOFError, InvalidInput (too long)."""
        if self._socket is None:
            raise EOFError
        while b"\n" not in self._rest:
            if len(self._rest) > self._limits.most_bytes + 1024:
                raise InvalidInput("its process answered without end")
            self._socket.settimeout(max(0.001, until - time.monotonic()))
            if time.monotonic() >= until:
                raise TimeoutError
            try:
                piece = self._socket.recv(1 << 16)
            except TimeoutError:
                raise
            except OSError:
                piece = b""
            if not piece:
                raise EOFError
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _kill(self) -> None:
        """Ends the process, its group, and what it started outside of it."""
        if self._process is not None:
            started: list[psutil.Process] = []
            with contextlib.suppress(psutil.Error):
                started = psutil.Process(self._process.pid).children(recursive=True)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            for one in started:
                with contextlib.suppress(psutil.Error):
                    one.kill()
            self._process.wait()
        if self._socket is not None:
            self._socket.close()
        self._process, self._socket, self._rest = None, None, b""
