"""A network that is away at first: a loopback port nobody listens on until it is opened, then a pipe to the target."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

_CHUNK = 1 << 16


class Link:
    """Forwards TCP from its own port to `target` after `open()`; before, connections are refused."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._door = socket.socket()
        self._door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._door.bind(("127.0.0.1", 0))  # bound and not listening: the port is ours, and refuses
        self._open: list[socket.socket] = [self._door]

    @property
    def address(self) -> str:
        """host:port to send to."""
        return f"127.0.0.1:{self._door.getsockname()[1]}"

    def open(self) -> None:
        """From now on, connections reach the target."""
        self._door.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for held in self._open:
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)
            held.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._door.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pipe, args=(source, sink), daemon=True).start()


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
