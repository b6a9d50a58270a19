"""A server with sessions to judge, a model that judges them and a collector that takes the traces, for tests."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from core.records import Role
from server.judging import JudgeRunner
from store.scores import ScoresAsked, list_scores
from tests.judges.answering import ModelServer, Said, Script, model_server, verdict
from tests.loopback import listening
from tests.server.shell import AIRLINE, Shell, running_shell
from tests.store.build import agent_trace, fill
from tests.waiting import wait_until

RUBRIC = """---
name: resolution
version: 1
kind: pass_fail
aliases: {satisfied: pass}
---
Was the user's matter resolved?
"""
WINDOW = {"start": "2020-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z"}
OVER = ("done", "out_of_budget", "failed", "cancelled")


@dataclass(kw_only=True)
class Sink:
    """An OTLP door: the spans that arrived, each id once, by app."""

    url: str = ""
    spans: dict[tuple[bytes, bytes], tuple[str, Span]] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    status: int = 200

    def named(self, name: str) -> list[Span]:
        """The spans whose name begins so."""
        return [span for _, span in self.spans.values() if span.name.startswith(name)]


@contextmanager
def sink() -> Iterator[Sink]:
    """Runs one."""
    state = Sink()

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            state.keys.add(self.headers["authorization"])
            for group in ExportTraceServiceRequest.FromString(body).resource_spans if state.status == 200 else ():
                app = next(one.value.string_value for one in group.resource.attributes if one.key == "service.name")
                for span in (span for scope in group.scope_spans for span in scope.spans):
                    state.spans[span.trace_id, span.span_id] = (app, span)
            self.send_response(state.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *said: Any) -> None:
            """Says nothing."""

    with listening(Door) as state.url:
        yield state


@dataclass(frozen=True, kw_only=True)
class Court:
    """All of it."""

    shell: Shell
    model: ModelServer
    sink: Sink

    def ask(self, method: str, path: str, status: int = 200, role: Role = Role.ADMIN, **how: Any) -> Any:
        """The API's answer."""
        answer = self.shell.client.request(method, f"/api/v1/{path}", headers=self.shell.headers(role), **how)
        assert answer.status_code == status, answer.text
        return answer.json()

    def judge(self, name: str = "resolution", status: int = 201, **more: Any) -> Any:
        """Makes a judge of the test's model."""
        given = {"rubric": RUBRIC} if "rubric_name" not in more else {}
        body = {"name": name, **given, "models": ["openai:gpt-5-mini"], "url": self.model.url, **more}
        return self.ask("POST", "judges", status, json=body)

    def run(self, judge: str = "resolution", status: int = 201, **more: Any) -> Any:
        """Begins a job over the sessions of the app."""
        body = {"app": "airline", **({} if "run_id" in more else WINDOW), **more}
        return self.ask("POST", f"judges/{judge}/runs", status, json=body)

    def job(self, job: Any) -> Any:
        """A job as it is now."""
        return self.ask("GET", f"judges/{job['judge']}/runs/{job['job_id']}")

    def ended(self, job: Any, within_s: float = 120) -> Any:
        """A job when it is over."""
        wait_until(lambda: self.job(job)["status"] in OVER, within_s, "the job to end")
        return self.job(job)

    def judged(self, judge: str = "resolution", **more: Any) -> Any:
        """A job, begun and over."""
        return self.ended(self.run(judge, **more))

    def scores(self, judge: str = "resolution") -> list[dict[str, Any]]:
        """The judge's rows in the lake."""
        from core.windows import Window

        wanted = ScoresAsked(window=Window(start_ns=0, end_ns=2**62), evaluator=judge, limit=100_000)
        return list_scores(self.shell.services.store.tenant(AIRLINE), wanted).to_dicts()


def add_sessions(shell: Shell, n: int, first: int = 1, **given: Any) -> None:
    """Sessions s1, s2 ... of one turn each, in which the agent answers "answer N"."""
    rows = []
    for number in range(first, first + n):
        rows += agent_trace(number, at_s=number, tenant=AIRLINE, session_id=f"s{number}", user_id=f"u{number}", **given)
    fill(shell.services.lake, rows)


def passing(index: int, body: dict[str, Any]) -> Said:
    """Passes everything."""
    return verdict("pass")


@contextmanager
def court(folder: Path, script: Script | Said = passing, n: int = 12, *, works: bool = True) -> Iterator[Court]:
    """Runs one with `n` sessions; `works`: jobs are worked on."""
    with model_server(script) as model, sink() as traces, running_shell(folder, collector_url=traces.url) as shell:
        add_sessions(shell, n)
        runner = JudgeRunner(shell.services)
        if works:
            runner.start()
        yield Court(shell=shell, model=model, sink=traces)
        runner.close()
