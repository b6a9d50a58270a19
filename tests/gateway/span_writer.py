"""A process that answers calls as the gateway does: the span is in the spool before the caller has its answer.

    python -m tests.gateway.span_writer DATA_FOLDER COLLECTOR_URL INGEST_KEY PORT

Every line that it is sent is a call, and is answered with the call's id. Ends on SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path

from gateway.exporter import Exporter
from gateway.spans import span_of
from gateway.spool import Spool
from tests.gateway.calls import answered


async def main(folder: Path, url: str, key: str, port: int) -> None:
    """Serves until SIGTERM."""
    exporter = Exporter(Spool(folder / "spool", bytes(32)), url, lambda tenant: key)
    await exporter.start()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            call = answered(time.time_ns() - 20_000_000)
            exporter.send(call.caller.tenant, span_of(call, content=True))
            writer.write(call.id.encode() + b"\n")
            await writer.drain()
        writer.close()

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await asyncio.start_server(serve, "127.0.0.1", port)
    await stop.wait()
    await exporter.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
