"""An HTTP server of a test's own, on loopback for as long as a block lasts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def listening(door: type[BaseHTTPRequestHandler], port: int = 0) -> Iterator[str]:
    """Serves with `door`, each request in a thread; gives http://127.0.0.1:PORT. A request that hangs ends with the
    process, not with the block."""
    server = ThreadingHTTPServer(("127.0.0.1", port), door)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
