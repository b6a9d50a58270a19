"""Large JSON bodies are read in a process beside the collector: `python -m collector.json_reader`, on its stdin.

The JSON parser holds the GIL from the first byte to the last: 380 ms for 12 MB of `{}`, in which nobody else's request
was acknowledged. What becomes of a body is a pure function of it, so it can be worked out anywhere. A reader is started
when it is needed, gives way to the collector, and ends with it, when nothing came for a while, or when it has grown.

A question is a header (signal, length) and the body; an answer a header (length of the head), the head in JSON, the
protobuf request and the payloads of what was rejected.
"""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

from collector.json_body import Transcoded, transcode
from collector.kinds import Signal
from collector.rejected import Rejection
from core.errors import Overloaded, TooLarge, Undecodable
from core.memory import peak_bytes

ALONE_BYTES: Final = 128 << 10  # a smaller body keeps the collector for 5 ms at the most
IDLE_S: Final = 30.0
MOST_BYTES: Final = 256 << 20  # a reader that ever held more ends after its answer
NICE: Final = 5
_QUESTION: Final = struct.Struct("<BQ")
_ANSWER: Final = struct.Struct("<Q")
_SIGNALS: Final = tuple(Signal)
_REFUSALS: Final = {"Undecodable": Undecodable, "TooLarge": TooLarge}


class JsonReaders:
    """As many readers as threads ask at once. Thread-safe."""

    def __init__(self) -> None:
        self._idle: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    def transcode(self, body: bytes, about: Signal) -> Transcoded:
        """What collector.json_body.transcode answers and raises; Overloaded when a reader cannot be had."""
        if len(body) <= ALONE_BYTES:
            return transcode(body, about)
        for reader in (self._taken(), None):  # one that was idle may just have ended
            try:
                return self._asked(reader or _started(), body, about)
            except (OSError, EOFError, struct.error):
                continue
        raise Overloaded("the process that reads JSON has ended; nothing was kept, send again in 1 s", 1)

    def close(self) -> None:
        """Ends those that are idle."""
        while reader := self._taken():
            _ended(reader)

    def _taken(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _asked(self, reader: subprocess.Popen[bytes], body: bytes, about: Signal) -> Transcoded:
        assert reader.stdin is not None
        assert reader.stdout is not None
        try:
            reader.stdin.write(_QUESTION.pack(_SIGNALS.index(about), len(body)))
            reader.stdin.write(body)
            reader.stdin.flush()
            answer = _answer_from(reader.stdout)
        except BaseException:
            _ended(reader)
            raise
        with self._lock:
            self._idle.append(reader)
        return answer()


def _started() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "collector.json_reader"]
    return subprocess.Popen(
        command,
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # no signal for the collector reaches it: it ends when its stdin does
    )


def _ended(reader: subprocess.Popen[bytes]) -> None:
    reader.kill()
    for pipe in (reader.stdin, reader.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except OSError:  # what it was not given any more
            continue
    reader.wait()


def _answer_from(stdout: IO[bytes]) -> Callable[[], Transcoded]:
    """The answer, to be had or raised by calling it. Raises EOFError when it is not whole."""
    (size,) = _ANSWER.unpack(_exactly(stdout, _ANSWER.size))
    head = json.loads(_exactly(stdout, size))
    if "refused" in head:
        return lambda: _raised(head)
    protobuf = _exactly(stdout, head.pop("protobuf"))
    rejected = [Rejection(**{**each, "payload": _exactly(stdout, each["payload"])}) for each in head.pop("rejected")]
    return lambda: Transcoded(protobuf=protobuf, rejected=rejected, **head)


def _raised(head: dict[str, Any]) -> Transcoded:
    raise _REFUSALS[head["refused"]](head["message"], head["field"])


def _exactly(source: IO[bytes], size: int) -> bytes:
    found = source.read(size)
    if len(found) < size:
        raise EOFError
    return found


# -- the reader ----------------------------------------------------------------------------------------------------


def main() -> int:
    """Answers until stdin ends, nothing came for IDLE_S, or it has grown."""
    os.nice(NICE)
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while select.select([stdin], [], [], IDLE_S)[0]:
        try:
            number, size = _QUESTION.unpack(_exactly(stdin, _QUESTION.size))
            body = _exactly(stdin, size)
        except EOFError:
            return 0
        _answer(body, _SIGNALS[number], stdout)
        if peak_bytes() > MOST_BYTES:
            return 0
    return 0


def _answer(body: bytes, about: Signal, stdout: IO[bytes]) -> None:
    blobs: list[bytes] = []
    try:
        done = transcode(body, about)
        rejected = [{**vars(each), "payload": len(each.payload)} for each in done.rejected]
        head = {**vars(done), "protobuf": len(done.protobuf), "rejected": rejected}
        blobs = [done.protobuf, *(each.payload for each in done.rejected)]
    except (Undecodable, TooLarge) as error:
        head = {"refused": type(error).__name__, "message": str(error), "field": error.field}
    said = json.dumps(head).encode()
    for piece in (_ANSWER.pack(len(said)), said, *blobs):
        stdout.write(piece)
    stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
