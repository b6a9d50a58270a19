"""The file layer of `faults.c`: built once, armed from a test while the product runs, and its record read back.

It is loaded into child processes with LD_PRELOAD and never ships: nothing outside the tests knows of it.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("faults.c")
_RECORD: Final = struct.Struct("<IIQqiIIIII")
_MAGIC: Final = 0x31544C46
_FIELDS: Final = ("ready", "counter", "from", "upto", "kinds", "error", "action", "n_failed", "next_open", "total")
_RECORDING: Final = 80
_MATCH: Final = 128
_FIRST: Final = 256
_FIRST_KIND: Final = 768
_WHOLE: Final = 1
_COUNTED: Final = 2
FOREVER: Final = (1 << 64) - 1


class Kind(IntFlag):
    """What a call does to the disk."""

    OPEN = 1  # with the wish to write
    WRITE = 2
    SYNC = 4
    RENAME = 8
    LINK = 16
    UNLINK = 32
    MKDIR = 64
    TRUNCATE = 128
    MARK = 1 << 30  # a note of the test's own, no call


ANY: Final = Kind(255)
SPACE: Final = Kind.OPEN | Kind.WRITE | Kind.RENAME | Kind.LINK | Kind.MKDIR  # what a full disk refuses


class Action(IntEnum):
    """What becomes of the calls that are hit."""

    FAIL = 1
    KILL = 2  # the process dies; of a write half is made
    SHORT = 3  # a write is cut to half; everything else fails


def compiler() -> str | None:
    """A C compiler, None when there is none."""
    return os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def library() -> Path:
    """The compiled layer, made at the first call. Raises CalledProcessError when it does not compile."""
    content = SOURCE.read_bytes()
    made = Path(tempfile.gettempdir()) / f"assay-faults-{os.getuid()}-{hashlib.sha256(content).hexdigest()[:16]}.so"
    if not made.exists():
        found = compiler()
        assert found, "a C compiler is needed"
        draft = made.with_name(f"{made.name}.{os.getpid()}")
        subprocess.run([found, "-shared", "-fPIC", "-O1", "-o", str(draft), str(SOURCE), "-lpthread"], check=True)
        draft.replace(made)
    return made


class Layer:
    """One layer over the files below `root`. `work` is a folder of the test's own, outside `root`."""

    def __init__(self, root: Path, work: Path, *, record: bool = False) -> None:
        self.root, self.log = root.absolute(), work / "faults.log"
        self._shared = work / "faults.state"
        self._library = library()
        work.mkdir(parents=True, exist_ok=True)
        loaded = ctypes.CDLL(str(self._library))
        loaded.faults_make(str(self._shared).encode())
        with self._shared.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._put(_RECORDING, _WHOLE if record else 0)

    @property
    def environment(self) -> dict[str, str]:
        """What a child process must be given to run under the layer."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAULT_ROOT": str(self.root),
            "FAULT_STATE": str(self._shared),
            "FAULT_LOG": str(self.log),
        }

    def arm(
        self,
        kinds: Kind = ANY,
        *,
        error: int = errno.EIO,
        action: Action = Action.FAIL,
        skip: int = 0,
        n: int = FOREVER,
        match: str = "",
    ) -> None:
        """From now on, of the calls of `kinds` on paths that contain `match`, `skip` pass and the next `n` are hit."""
        self.lift()
        self._map[_MATCH : _MATCH + 128] = match.encode().ljust(128, b"\0")
        self._set("kinds", int(kinds))
        self._set("counter", 0)
        self._set("n_failed", 0)
        self._set("error", error)
        self._set("action", int(action))
        self._set("upto", min(FOREVER, skip + n))
        self._set("from", skip + 1)

    def lift(self) -> None:
        """Lets everything pass again."""
        self._set("from", 0)

    @property
    def n_failed(self) -> int:
        """How many of them were hit."""
        return self._get("n_failed")

    @property
    def first_failed(self) -> tuple[Kind, str]:
        """The first call that was hit: its kind, and its path below `root`."""
        (kind,) = struct.unpack_from("<Q", self._map, _FIRST_KIND)
        path = self._map[_FIRST : _FIRST + 512].split(b"\0", 1)[0].decode()
        return Kind(kind), path.removeprefix(f"{self.root}/")

    @contextmanager
    def listed(self, match: str = "") -> Iterator[list[tuple[Kind, str]]]:
        """Lets everything pass; the list has, at the end, the calls that `arm` with the same `match` would count: kind
        and path below `root`. Not for a layer that records."""
        found: list[tuple[Kind, str]] = []
        with self.log.open("wb"):  # whoever has it open appends
            pass
        self._put(_RECORDING, _COUNTED)
        self.arm(skip=1 << 62, match=match)
        try:
            yield found
        finally:
            self._put(_RECORDING, 0)
            self.lift()
        found += [(call.kind, call.path.removeprefix(f"{self.root}/")) for call in self.calls()]

    def mark(self, text: bytes) -> None:
        """Writes a note of the test's own into the record: everything before it had taken effect."""
        record = _RECORD.pack(_MAGIC, int(Kind.MARK), 0, 0, 0, 0, os.getpid(), len(text), 0, 0)
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, record + text)
        finally:
            os.close(descriptor)

    def calls(self) -> Iterator[Call]:
        """The record, in the order in which the calls took effect."""
        raw = self.log.read_bytes()
        at = 0
        while at + _RECORD.size <= len(raw):
            magic, kind, opened, offset, error, flags, pid, a, b, _ = _RECORD.unpack_from(raw, at)
            assert magic == _MAGIC, f"the record of calls is broken at {at}"
            at += _RECORD.size
            if at + a + b > len(raw):
                return
            yield Call(
                kind=Kind(kind),
                open_id=opened,
                offset=offset,
                error=error,
                flags=flags,
                pid=pid,
                path=raw[at : at + a].decode(errors="replace"),
                content=raw[at + a : at + a + b],
            )
            at += a + b

    def _put(self, at: int, value: int) -> None:
        struct.pack_into("<Q", self._map, at, value)

    def _set(self, name: str, value: int) -> None:
        self._put(_FIELDS.index(name) * 8, value)

    def _get(self, name: str) -> int:
        (value,) = struct.unpack_from("<Q", self._map, _FIELDS.index(name) * 8)
        return int(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One recorded call. `content` is what was written, or the second path; `path` of a MARK is its text."""

    kind: Kind
    open_id: int
    offset: int
    error: int
    flags: int
    pid: int
    path: str
    content: bytes


@contextmanager
def preloaded(layer: Layer) -> Iterator[None]:
    """Children started inside run under the layer."""
    before = {name: os.environ.get(name) for name in layer.environment}
    os.environ.update(layer.environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
