"""A provider that speaks OpenAI, keeps its own ledger, and misbehaves as a request asks for it.

    python -m tests.gateway.fault_upstream [--port N]      serves until its standard input is closed

A user's message says what is to happen: `fault=NAME` for every attempt, `fault=NAME:2` for the first two with the same
`id=...`; `words=N` is the length of the answer, `after=S` a Retry-After, `at=N` the words before a stream goes wrong.
Tokens are counted as the gateway estimates them: four characters are one. `GET /ledger` tells what was billed: `told`
with its usage in the answer, `untold` without, `gone` while the client left a stream. What is billed untold is the rule
of gateway/upstreams/billing.py: the input of what was met with silence, and the output as far as it was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

PLAIN = ("ok", "crlf", "one_byte", "no_done")  # whole streams, however they arrive
BROKEN = ("close_mid", "end_mid", "error_mid", "garbage_mid", "deep_mid", "utf8_mid", "huge_mid", "stall_mid")
SILENT = ("hang", "hang_head")  # the model works, and nobody hears of it
SHUT = ("close_first", "html", "error_first")  # nothing is billed
STATUSES = ("http_400", "http_401", "http_404", "http_408", "http_413", "http_429", "http_500", "http_503", "http_529")
DEEP = "[" * 900 + "]" * 900  # JSON that can be read, and not be written
_HEAD = "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{more}\r\n"


@dataclass
class Ledger:
    """What was billed, and how many connections are open."""

    n_requests: int = 0
    n_open: int = 0
    n_gone: int = 0  # requests whose client left before the end
    told_input: int = 0
    told_output: int = 0
    untold_input: int = 0
    untold_output: int = 0
    n_untold: int = 0
    gone_input: int = 0
    gone_output: int = 0

    def tell(self, n_input: int, n_output: int) -> dict[str, int]:
        """Bills with usage."""
        self.told_input += n_input
        self.told_output += n_output
        return {"prompt_tokens": n_input, "completion_tokens": n_output, "total_tokens": n_input + n_output}

    def bill(self, n_input: int, n_output: int) -> None:
        """Bills without."""
        self.n_untold += 1
        self.untold_input += n_input
        self.untold_output += n_output


@dataclass
class Asked:
    """One request."""

    body: dict[str, Any]
    headers: dict[str, str]
    fault: str
    text: str
    n_input: int

    def number(self, name: str, otherwise: int) -> int:
        """`name=N` of the message."""
        found = re.search(rf"\b{name}=(\d+)", self.text)
        return int(found[1]) if found else otherwise

    @property
    def words(self) -> list[str]:
        """The answer: eight characters a word, two tokens."""
        return [f"word{n:03d} " for n in range(self.number("words", 12))]


def tokens(n_characters: int) -> int:
    """Four characters are a token."""
    return -(-n_characters // 4)


def characters(value: object) -> int:
    """Of all texts in a part of a body."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(characters, value.values()))
    if isinstance(value, list):
        return sum(map(characters, value))
    return 1 if isinstance(value, int) else 0


@dataclass
class FaultUpstream:
    """The server. `ledger` and `asked` (the last 100 requests' headers and bodies) are for tests in its process; with
    `is_sound` nothing goes wrong."""

    is_sound: bool = False
    ledger: Ledger = field(default_factory=Ledger)
    asked: list[Asked] = field(default_factory=list)
    _seen: Counter[str] = field(default_factory=Counter)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.ledger.n_open += 1
        try:
            while await self._request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.ledger.n_open -= 1
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection stays."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        if lines[0].startswith("GET"):
            _whole(writer, 200, json.dumps(asdict(self.ledger)).encode())
            return True
        self.ledger.n_requests += 1
        asked = self._read(json.loads(raw), headers)
        self.asked = [*self.asked[-99:], asked]
        if asked.fault.startswith("http_"):
            return _refuse(writer, asked)
        if asked.fault == "close_first":
            return False
        if asked.fault == "not_http":
            writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
            return False
        if asked.fault == "html":
            _whole(writer, 200, b"<html><body>Bad gateway</body></html>", "text/html")
            return True
        if asked.fault == "hang":
            self.ledger.bill(asked.n_input, 0)
            await reader.read()
            return False
        if asked.body.get("stream"):
            return await _Stream(self.ledger, asked, reader, writer).send()
        return self._answer(writer, asked, "embeddings" in lines[0])

    def _read(self, body: dict[str, Any], headers: dict[str, str]) -> Asked:
        messages = body.get("messages") or [{"content": str(body.get("input"))}]
        text = str(messages[-1].get("content"))
        found = re.search(r"\bfault=(\w+?)(?::(\d+))?(?:\s|$)", text)
        fault = found[1] if found and not self.is_sound else "ok"
        if found and found[2]:
            named = re.search(r"\bid=(\w+)", text)
            key = f"{named[1] if named else ''} {fault}"
            self._seen[key] += 1
            if self._seen[key] > int(found[2]):
                del self._seen[key]
                fault = "ok"
        n_input = tokens(characters(body.get("messages") or body.get("input")) + characters(body.get("tools")))
        return Asked(body=body, headers=headers, fault=fault, text=text, n_input=n_input)

    def _answer(self, writer: asyncio.StreamWriter, asked: Asked, embeds: bool) -> bool:
        text = "".join(asked.words)
        usage = {"prompt_tokens": asked.n_input, "total_tokens": asked.n_input}
        if embeds:
            self.ledger.tell(asked.n_input, 0)
            vectors = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]
            whole = {"object": "list", "data": vectors, "model": asked.body["model"], "usage": usage}
            _whole(writer, 200, json.dumps(whole).encode())
            return True
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        whole = {"id": "chatcmpl-f", "object": "chat.completion", "created": 1, "model": asked.body["model"]}
        n_output = tokens(len(text))
        untold = json.dumps({**whole, "choices": [choice]}).encode()
        if asked.fault in ("half_json", "no_usage", "cut"):
            self.ledger.bill(asked.n_input, n_output)
            if asked.fault == "cut":
                more = "content-length: 99999\r\n"
                writer.write(_HEAD.format(status=200, kind="application/json", more=more).encode() + untold)
                return False
            _whole(writer, 200, untold[: untold.index(b"finish_reason")] if asked.fault == "half_json" else untold)
            return True
        usage = self.ledger.tell(asked.n_input, n_output)
        if asked.fault == "deep":
            message["more"] = DEEP
        told = json.dumps({**whole, "choices": [choice], "usage": usage})
        _whole(writer, 200, told.replace(json.dumps(DEEP), DEEP).encode())
        return True


class _Stream:
    """One streamed answer."""

    def __init__(
        self, ledger: Ledger, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._ledger, self._asked, self._reader, self._writer = ledger, asked, reader, writer
        self._n_sent = 0
        self._end = "\r\n" if asked.fault == "crlf" else "\n"

    async def send(self) -> bool:
        """Whether the connection stays."""
        asked = self._asked
        head = _HEAD.format(status=200, kind="text/event-stream", more="transfer-encoding: chunked\r\n")
        self._writer.write(head.encode())
        if asked.fault == "hang_head":
            self._ledger.bill(asked.n_input, 0)
            await self._reader.read()
            return False
        if asked.fault == "error_first":
            await self._event({"error": {"message": "overloaded", "type": "server_error", "code": None}})
            self._writer.write(b"0\r\n\r\n")
            return True
        gone = asyncio.ensure_future(self._reader.read(1))
        try:
            return await self._body(gone)
        except ConnectionError:
            self._leave()
            return False
        finally:
            gone.cancel()

    async def _body(self, gone: asyncio.Future[bytes]) -> bool:
        asked, at = self._asked, self._asked.number("at", 3)
        words = asked.words
        if asked.fault == "never_ends":
            words = words * 1_000_000
        await self._chunk({"role": "assistant", "content": ""})
        for n, word in enumerate(words):
            if gone.done():
                self._leave()
                return False
            if n == at and asked.fault in BROKEN:
                return await self._break()
            self._n_sent += len(word)
            await self._chunk({"content": word})
            if asked.fault in ("slow", "never_ends"):
                await asyncio.sleep(0.002)
        await self._chunk({}, "stop")
        usage = self._ledger.tell(asked.n_input, tokens(self._n_sent))
        if asked.body.get("stream_options", {}).get("include_usage"):
            await self._event({**self._named(), "choices": [], "usage": usage})
        if asked.fault in ("close_last", "stall_last"):
            if asked.fault == "stall_last":
                await self._reader.read()
            return False
        if asked.fault != "no_done":
            await self._bytes(f"data: [DONE]{self._end}{self._end}".encode())
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()
        return True

    async def _break(self) -> bool:
        """What goes wrong in the middle; what was sent is billed."""
        self._ledger.bill(self._asked.n_input, tokens(self._n_sent))
        match self._asked.fault:
            case "end_mid":
                self._writer.write(b"0\r\n\r\n")
                return True
            case "error_mid":
                key = self._asked.headers.get("authorization", "")
                await self._event({"error": {"message": f"failed for {key}", "type": "server_error"}})
            case "garbage_mid":
                await self._bytes(b'data: {"choices": [{"index"\n\n')
            case "deep_mid":
                await self._bytes(b'data: {"choices": [{"index": 0, "delta": {"more": %s}}]}\n\n' % DEEP.encode())
            case "utf8_mid":
                await self._bytes(b'data: {"choices": [{"index": 0, "delta": {"content": "\xff\xfe\xc3"}}]}\n\n')
            case "huge_mid":
                with suppress(ConnectionError):
                    await self._bytes(b"data: " + b"x" * (9 << 20))
            case "stall_mid":
                await self._reader.read()
        return False

    def _leave(self) -> None:
        """The client went away: what was sent to it is billed."""
        self._ledger.n_gone += 1
        self._ledger.gone_input += self._asked.n_input
        self._ledger.gone_output += tokens(self._n_sent)

    def _named(self) -> dict[str, Any]:
        return {"id": "chatcmpl-f", "object": "chat.completion.chunk", "created": 1, "model": self._asked.body["model"]}

    async def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> None:
        await self._event({**self._named(), "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    async def _event(self, event: dict[str, Any]) -> None:
        comment = f": keep-alive{self._end}" if self._asked.fault == "crlf" else ""
        await self._bytes(f"{comment}data: {json.dumps(event)}{self._end}{self._end}".encode())

    async def _bytes(self, content: bytes) -> None:
        size = 1 if self._asked.fault == "one_byte" else max(1, len(content))
        for start in range(0, len(content), size):
            piece = content[start : start + size]
            self._writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await self._writer.drain()


def _refuse(writer: asyncio.StreamWriter, asked: Asked) -> bool:
    """An error that names the key which it was sent."""
    status = int(asked.fault.removeprefix("http_"))
    key = asked.headers.get("authorization") or asked.headers.get("api-key") or asked.headers.get("x-api-key")
    error = {"message": f"answers {status} to {key}", "type": "some_error", "code": None, "param": None}
    found = re.search(r"\bafter=([\w.]+)", asked.text)
    more = f"retry-after: {found[1]}\r\n" if found else ""
    _whole(writer, status, json.dumps({"error": error}).encode(), more=more)
    return True


def _whole(
    writer: asyncio.StreamWriter, status: int, body: bytes, kind: str = "application/json", more: str = ""
) -> None:
    head = _HEAD.format(status=status, kind=kind, more=f"content-length: {len(body)}\r\n{more}")
    writer.write(head.encode() + body)


@asynccontextmanager
async def fault_upstream(
    port: int = 0, *, is_sound: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, FaultUpstream]]:
    """Serves in this event loop: the base URL, and the server."""
    upstream = FaultUpstream(is_sound=is_sound)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", port, limit=1 << 26, ssl=tls)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", upstream
    finally:
        server.close()


async def _serve(port: int) -> None:
    async with fault_upstream(port) as (url, _):
        print(url, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, default=0)
    asyncio.run(_serve(options.parse_args().port))
