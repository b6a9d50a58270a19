"""Streamed calls with faults through a real gateway process: every call one closed span, totals as the upstream bills.

    python -m tests.gateway.faults --calls 10000 [--at-once 32] [--seed 1] [--out FILE]

The gateway runs as `assay serve gateway` before the fault upstream (a process of its own, behind two targets), and
sends its spans to a door here that counts them. One call in ten meets a fault: before the first chunk (tried again), in
the middle (ends in an error event), from the provider (told), or a caller who leaves. At the end:

* every call has exactly one span, that ended, and says how the call went;
* what the spans say was used is what the upstream billed: input for all calls, output for all but those whose caller
  left, of whom the gateway cannot know what was still under way;
* no provider's key is in a span, an answer or the log, although errors echo it;
* nothing is in flight, and memory did not grow.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import psutil
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.gateway.fault_upstream import BROKEN
from tests.loopback import listening
from tests.reliability.crash_results import commit, machine
from tests.server.gateways import Running, running_gateway
from tests.waiting import wait_until

RETRIED = ("http_500", "http_503", "http_429", "close_first", "html", "error_first", "hang", "hang_head")
WHOLE = ("ok", "crlf", "one_byte", "no_done")
LEFT = ("never_ends", "hang_left")  # the caller leaves a stream, or silence
FAULTS = (*RETRIED, *BROKEN, *LEFT, "http_400")
N_WORDS = 12
TEXT = "".join(f"word{n:03d} " for n in range(N_WORDS))
N_KEYS = 9  # a key that is limited rests for a second, while others go on
_KEYS = {f"FAULT_KEY_{n}": f"sk-fault-{n:06d}" for n in range(N_KEYS)}
_SECRET = b"sk-fault-"
_MODELS = "models: {m: {targets: [{upstream: main, model: fault-1}, {upstream: spare, model: fault-1}]}}"


@dataclass(kw_only=True)
class SpanSeen:
    """What the span of a call says."""

    input_tokens: int
    output_tokens: int
    aborted: bool
    status: int


@dataclass(kw_only=True)
class Found:
    """What the campaign found."""

    n_calls: int
    n_faults: int
    seconds: float
    outcomes: dict[str, int]
    wrong: list[str]
    n_spans: int
    span_totals: dict[str, int]
    ledger: dict[str, int]
    in_flight: int
    rss_mb: list[tuple[int, float]] = field(default_factory=list)

    def problems(self) -> list[str]:
        """What should not be; none is what everybody hopes for."""
        ledger, spans, found = self.ledger, self.span_totals, list(self.wrong)
        billed_input = ledger["told_input"] + ledger["untold_input"] + ledger["gone_input"]
        billed_output = ledger["told_output"] + ledger["untold_output"]
        if self.n_spans != self.n_calls:
            found.append(f"{self.n_calls} calls left {self.n_spans} spans")
        if spans["input"] != billed_input:
            found.append(f"input: the spans say {spans['input']}, the upstream billed {billed_input}")
        if spans["output"] != billed_output:
            found.append(f"output: the spans say {spans['output']}, the upstream billed {billed_output}")
        if spans["aborted_output"] > ledger["gone_output"]:
            found.append(f"left: {spans['aborted_output']} is more than the {ledger['gone_output']} that was sent")
        if self.in_flight:
            found.append(f"{self.in_flight} attempts are in flight after the last call")
        if self.growth_mb > 24:
            found.append(f"the gateway grew by {self.growth_mb:.1f} MB")
        return found

    @property
    def growth_mb(self) -> float:
        """From the second quarter to the last, by medians; 0 for runs that are too short to tell."""
        sizes = [size for _, size in self.rss_mb]
        quarter = len(sizes) // 4
        return median(sizes[-quarter:]) - median(sizes[quarter : 2 * quarter]) if quarter >= 5 else 0.0


class Spans:
    """The door that spans come to. Calls are told apart by their user."""

    def __init__(self) -> None:
        self.seen: dict[str, list[SpanSeen]] = {}
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def take(self, raw: bytes) -> None:
        """One export request."""
        if _SECRET in raw:
            self.wrong.append("a provider's key is in a span")
        request = ExportTraceServiceRequest.FromString(raw)
        for span in (s for r in request.resource_spans for g in r.scope_spans for s in g.spans):
            if span.name.startswith("attempt "):
                continue
            said = {each.key: each.value for each in span.attributes}
            if not 0 < span.start_time_unix_nano <= span.end_time_unix_nano:
                self.wrong.append(f"the span {span.name} did not end")
            seen = SpanSeen(
                input_tokens=said["gen_ai.usage.input_tokens"].int_value if "gen_ai.usage.input_tokens" in said else 0,
                output_tokens=said["gen_ai.usage.output_tokens"].int_value
                if "gen_ai.usage.output_tokens" in said
                else 0,
                aborted="assay.gateway.aborted" in said and said["assay.gateway.aborted"].bool_value,
                status=span.status.code,
            )
            with self._lock:
                self.seen.setdefault(said["user.id"].string_value if "user.id" in said else "", []).append(seen)

    def totals(self) -> dict[str, int]:
        """Tokens of all spans; the output of calls whose caller left apart."""
        every = [each for listed in self.seen.values() for each in listed]
        return {
            "input": sum(each.input_tokens for each in every),
            "output": sum(each.output_tokens for each in every if not each.aborted),
            "aborted_output": sum(each.output_tokens for each in every if each.aborted),
        }

    @contextmanager
    def served(self) -> Iterator[str]:
        """The address of the door."""
        take = self.take

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                take(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        with listening(Door) as url:
            yield url


class Load:
    """The calls."""

    def __init__(self, running: Running, n_calls: int, seed: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.rss_mb: list[tuple[int, float]] = []
        self._running, self._n_calls, self._n_done = running, n_calls, 0
        chance = random.Random(seed)
        faults = [FAULTS[n % len(FAULTS)] for n in range(-(-n_calls // 10))]
        whole = [WHOLE[0] if n % 4 else WHOLE[n // 4 % 4] for n in range(n_calls - len(faults))]
        self.kinds = [*faults, *whole]
        chance.shuffle(self.kinds)

    async def run(self, at_once: int) -> None:
        """All of them, `at_once` at a time."""
        process = psutil.Process(self._running.process.pid)
        every = max(1, self._n_calls // 200)
        todo = iter(enumerate(self.kinds))
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, headers=self._running.headers) as client:

            async def work() -> None:
                for n, kind in todo:
                    await self._call(client, n, kind)
                    self._n_done += 1
                    if self._n_done % every == 0:
                        self.rss_mb.append((self._n_done, process.memory_info().rss / 2**20))

            await asyncio.gather(*(work() for _ in range(at_once)))

    async def _call(self, client: aiohttp.ClientSession, n: int, kind: str) -> None:
        fault = "hang" if kind == "hang_left" else f"{kind}:1" if kind in RETRIED else kind
        text = f"id=c{n} words={N_WORDS} fault={fault} "
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": text}]}
        if n % 2:
            body["stream_options"] = {"include_usage": True}
        asking = client.post(f"{self._running.url}/v1/chat/completions", json=body, headers={"x-assay-user": f"u{n}"})
        try:
            if kind == "hang_left":
                with suppress(TimeoutError):
                    await asyncio.wait_for(asking, 1)
                outcome = "left"
            else:
                outcome = await self._read(await asking, kind)
        except aiohttp.ClientError as error:
            outcome = f"{type(error).__name__}"
        self.outcomes[outcome] += 1
        wanted = (
            "left" if kind in LEFT else "http_400" if kind == "http_400" else "error" if kind in BROKEN else "whole"
        )
        if outcome != wanted:
            self.wrong.append(f"call {n} ({kind}) ended as {outcome} instead of {wanted}")

    async def _read(self, answer: aiohttp.ClientResponse, kind: str) -> str:
        if answer.status != 200:
            said = await answer.text()
            is_fine = kind == "http_400" and _SECRET.decode() not in said
            return f"http_{answer.status}" if is_fine else f"http_{answer.status} {said[:200]}"
        text, usage, end = "", 0, "no end"
        async for line in answer.content:
            if not line.startswith(b"data: "):
                continue
            if line.startswith(b"data: [DONE]"):
                end = "done"
                continue
            if _SECRET in line:
                return "a provider's key is in the answer"
            chunk = json.loads(line[6:])
            if "error" in chunk:
                end = "error"
            usage += "usage" in chunk
            text += "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices", ()))
            if kind == "never_ends" and len(text) > 20:
                answer.close()
                return "left"
        if end == "done" and text == TEXT:
            return "whole"
        return end if end == "error" and TEXT.startswith(text) else f"{end}: {text!r}"


def _upstream_config(url: str, timeout_s: float) -> dict[str, Any]:
    times = {"timeout_s": timeout_s, "idle_timeout_s": timeout_s}
    breaker = {"failures": 1_000_000, "window_s": 1}  # every call is to meet its fault
    return {"base_url": url, "keys": [f"${{env:{name}}}" for name in _KEYS], **times, "breaker": breaker}


@contextmanager
def _upstream() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.gateway.fault_upstream"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def campaign(folder: Path, n_calls: int, at_once: int = 16, seed: int = 1, timeout_s: float = 8) -> Found:
    """Runs it in an empty folder. `timeout_s` has to be more than a busy machine needs for a sound call."""
    spans = Spans()
    with _upstream() as upstream, spans.served() as door:
        config = json.dumps(_upstream_config(upstream, timeout_s))
        more = f"  main: {config}\n  spare: {config}\n{_MODELS}"
        with running_gateway(folder, more, environ={"ASSAY_COLLECTOR_URL": door, **_KEYS}) as running:
            load = Load(running, n_calls, seed)
            began = time.monotonic()
            asyncio.run(load.run(at_once))
            seconds = time.monotonic() - began
            with suppress(AssertionError):  # what is missing is told below
                wait_until(lambda: sum(map(len, spans.seen.values())) >= n_calls, 30, "the spans")
            ledger = json.load(urllib.request.urlopen(f"{upstream}/ledger", timeout=10))
            upstreams: Any = running.status()["upstreams"]
        if _SECRET in running.log.read_bytes():
            spans.wrong.append("a provider's key is in the log")
    twice = [f"{user} has {len(seen)} spans" for user, seen in spans.seen.items() if len(seen) != 1]
    return Found(
        n_calls=n_calls,
        n_faults=sum(kind in FAULTS for kind in load.kinds),
        seconds=round(seconds, 1),
        outcomes=dict(load.outcomes),
        wrong=(load.wrong + spans.wrong + twice)[:20],
        n_spans=sum(map(len, spans.seen.values())),
        span_totals=spans.totals(),
        ledger=ledger,
        in_flight=sum(row["in_flight"] for row in upstreams),
        rss_mb=[(n, round(size, 1)) for n, size in load.rss_mb],
    )


def main(words: list[str]) -> int:
    """1 when something is wrong."""
    options = argparse.ArgumentParser(prog="python -m tests.gateway.faults", description=__doc__)
    options.add_argument("--calls", type=int, default=10_000)
    options.add_argument("--at-once", type=int, default=32)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--timeout", type=float, default=15, help="of the upstreams, in seconds")
    options.add_argument("--out", type=Path)
    given = options.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        found = campaign(Path(folder), given.calls, given.at_once, given.seed, given.timeout)
    about = {"machine": machine(), "commit": commit(), "date": time.strftime("%Y-%m-%d"), "at_once": given.at_once}
    told: dict[str, Any] = {
        **about,
        **asdict(found),
        "growth_mb": round(found.growth_mb, 1),
        "problems": found.problems(),
    }
    if given.out:
        given.out.write_text(json.dumps(told, indent=1) + "\n")
    told["rss_mb"] = [found.rss_mb[0], found.rss_mb[len(found.rss_mb) // 2], found.rss_mb[-1]]
    print(json.dumps(told, indent=1))
    return 1 if found.problems() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
