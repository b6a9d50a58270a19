"""A subject of an erasure, and places of a data folder that hold something of it and of somebody else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import polars as pl
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from core.ids import TenantId
from core.records import Principal, Role, TargetKind
from experiments.gates.bundle import Evidence, bundle_of
from gateway.spool import Spool
from server.gate_policy import read_policy
from store.control.control import Control
from store.control.judge_records import TargetRecord
from store.control.label_records import AnnotationRecord
from store.control.labelling import TaskChange
from store.control.run_records import RunSource, RunSpec, TrialRecord, TrialStatus
from store.control.secret_file import read_or_create_secret
from tests.collector import otlp
from tests.experiments.gates.evidence import ASKED, BASELINE, CANDIDATE, FACTS, NOW, POLICY
from tests.store.control_rows import JUDGE_VERSION, decided, experimented, job_of, queue_of, task_of, verdict_of

USER, MAIL = "subject-7f3a9c", "subject.7f3a9c@example.org"
TEXT = "marker-b51e77d2 said the subject"
OTHER = "another-user-1"
DAY_NS = 86_400 * 10**9
SESSION = "session-3e9d51-of-the-subject"
PIECES = [USER.encode(), b"marker-b51e77d2"]


def trace_id(n: int) -> str:
    return f"{n:08x}" + "a7" * 12


def spans(n: int, user: str | None, text: str, session: str, day: int = 0) -> list[Span]:
    """A trace of three spans, of which the second alone says whose it is."""
    made = []
    for i in range(3):
        attributes = {"session.id": session, "note": text, "gen_ai.input.messages": text}
        if i == 1 and user is not None:
            attributes["user.id"] = user
        start = otlp.START_NS + day * DAY_NS + n * 10**9 + i
        parent = b"" if i == 0 else f"{n * 10:08x}".encode()
        made.append(
            otlp.span(
                attributes,
                trace_id=bytes.fromhex(trace_id(n)),
                span_id=f"{n * 10 + i:08x}".encode(),
                parent_span_id=parent,
                start_time_unix_nano=start,
                end_time_unix_nano=start + 1000,
            )
        )
    return made


def bad(text: str) -> bytes:
    """A request whose span has an invalid id and says whose it is."""
    return otlp.traces(otlp.span({"user.id": USER, "note": text}, span_id=b"abc")).SerializeToString()


def evaluation(n: int, text: str) -> LogRecord:
    attributes = {
        "gen_ai.evaluation.name": "tone",
        "gen_ai.evaluation.score.value": 0.5,
        "gen_ai.evaluation.explanation": text,
    }
    ids = {"trace_id": bytes.fromhex(trace_id(n)), "span_id": f"{n * 10:08x}".encode()}
    return otlp.log_record("gen_ai.evaluation.result", attributes, **ids)


def event(n: int, text: str) -> LogRecord:
    ids = {"trace_id": bytes.fromhex(trace_id(n)), "span_id": f"{n * 10:08x}".encode()}
    return otlp.log_record("gen_ai.user.message", {"note": text}, {"content": text}, **ids)


TENANT: Final = TenantId("default")
ANN: Final = Principal(tenant=TENANT, role=Role.POWER_USER, name="ann")


def fill_control(control: Control) -> None:
    """Rows of the control database about the subject and about somebody else, in every way that there is."""
    fill_dataset(control)
    fill_queue(control)
    experimented(control, TENANT)
    control.set_overrides(TENANT, "refund-prompt", {USER: "treatment", OTHER: "control"}, by=ANN)
    fill_run(control)
    fill_judging(control)
    fill_gate(control)


def fill_run(control: Control) -> None:
    """A run over stored traffic, in which each session is an example."""
    spec = RunSpec(
        app="desk", release="v2", dataset="-", dataset_version=0, content_hash="0" * 64, evaluators=("tone@1",), k=1,
        source=RunSource.TRACES,
    )  # fmt: skip
    said: tuple[dict[str, Any], ...] = (
        {"session_id": SESSION, "user_id": USER, "output": TEXT, "trace_ids": (trace_id(8),)},
        {"session_id": "s-2", "user_id": OTHER, "output": "fine", "trace_ids": (trace_id(2),)},
    )
    trials = [
        TrialRecord(
            run_id="run_1", example_id=one["session_id"], trial=0, position=n, status=TrialStatus.DONE, **one
        )
        for n, one in enumerate(said)
    ]  # fmt: skip
    control.start_run(TENANT, "run_1", spec, trials, by=ANN)


def fill_judging(control: Control) -> None:
    """A job of a judge that waits, with verdicts that were paid for."""
    sessions = (SESSION, "s-2")
    targets = [TargetRecord(target="session", session_id=one, probability=1.0) for one in sessions]
    targets.append(TargetRecord(target="turn", session_id="s-2", trace_id=trace_id(8), probability=1.0))
    verdicts = [
        replace(verdict_of(TENANT, n), session_id=one, raw=text, explanation=text)
        for n, (one, text) in enumerate(zip(sessions, (TEXT, "fine"), strict=True))
    ]
    control.put_judge(TENANT, "kind", JUDGE_VERSION, {"name": "kind"}, by=ANN)
    control.start_job(job_of(TENANT), targets, by=ANN)
    control.put_verdicts(TENANT, "judging_1", verdicts)


def fill_gate(control: Control) -> None:
    """A decision in which the subject's session is among the worst examples."""
    one = pl.col("example_id") == "ex_0024"
    after = CANDIDATE.rows.with_columns(
        session_id=pl.when(one).then(pl.lit(SESSION)).otherwise("session_id"),
        trace_id=pl.when(one).then(pl.lit(trace_id(8))).otherwise("trace_id"),
    )
    evidence = Evidence(
        policy_text=POLICY, asked=ASKED, facts=FACTS, now_ns=NOW, seed=0, absent=(),
        baseline=BASELINE, candidate=replace(CANDIDATE, rows=after),
    )  # fmt: skip
    bundle = bundle_of(evidence, evidence.decided(read_policy(POLICY)), assay_version="0.1.0")
    assert SESSION in json.dumps(bundle["decision"]["worst"])
    record = replace(decided(TENANT), told=bundle["decision"], digest=bundle["digest"])
    control.add_gate(record, json.dumps(bundle).encode(), by=ANN)


def fill_spool(data: Path) -> None:
    """Spans that a gateway has not sent, and such as the collector refused, of the subject in every way, of somebody
    else, and of the subject with another tenant."""
    spool = Spool(data / "gateway" / "spool", read_or_create_secret(data / "secrets" / "gateway-spool"))
    waiting = (
        spans(9, USER, TEXT, "s-9"),
        spans(1, None, TEXT, "s-1"),
        spans(10, None, TEXT, SESSION),
        spans(11, OTHER, "waits", "s-11"),
    )
    for one in waiting:
        spool.append("default", otlp.traces(*one).SerializeToString())
    refused = (spans(12, USER, TEXT, "s-12"), spans(13, OTHER, "refused", "s-13"))
    for one in refused:
        spool.set_aside("default", otlp.traces(*one).SerializeToString())
    spool.set_aside("default", b"\x0a\xff\xff\xff\xff\x0f" + USER.encode())
    spool.append("shop", otlp.traces(*spans(14, USER, "kept-by-shop", "s-14")).SerializeToString())
    spool.close()


def fill_queue(control: Control) -> None:
    """Label tasks over a session and a trace of the subject, one with the subject's text, and one of somebody else."""
    tenant, ann = TENANT, ANN
    control.create_label_queue(queue_of(tenant), by=ann)
    new = [
        task_of(1, session_id="s-1", item="s-1"),
        task_of(2, session_id="", trace_id=trace_id(1), item=trace_id(1), target=TargetKind.TURN),
        task_of(3, session_id="i-3", item="i-3", target=TargetKind.EXAMPLE, user_id=USER, has_text=True),
        task_of(4, session_id="s-2", item="s-2"),
    ]
    control.add_label_tasks(tenant, "triage", lambda *_: (new, []), texts={"task_3": {"answer": TEXT}}, by=ann)
    note = AnnotationRecord(queue="triage", task_id="task_1", annotator="ann", labels=("pass",), note=TEXT)
    change = TaskChange(task=replace(new[0], answered={"ann": True}), said=note)
    control.change_label_task(tenant, "triage", "task_1", lambda *_: change, by=ann)


def fill_dataset(control: Control) -> None:
    """Examples of the subject by its id, by a session and by metadata, and one of somebody else, in two versions."""
    other = {"user_id": OTHER, "session_id": "s-2"}
    sources: tuple[dict[str, str], ...] = ({"user_id": USER}, {"session_id": "s-1"}, {}, other)
    texts = (TEXT, TEXT, TEXT, "of another")
    lines = [
        json.dumps(
            {
                "example_id": f"e{n}",
                "split": "test",
                "source": source,
                "input": {"turns": [texts[n]]},
                "metadata": {"user_id": USER} if n == 2 else {},
            }
        ).encode()
        for n, source in enumerate(sources)
    ]
    control.create_dataset(TENANT, "golden", by=ANN)
    first, _ = control.write_dataset(TENANT, "golden", lines, None, "", by=ANN)
    control.write_dataset(TENANT, "golden", lines[1:], first, "", by=ANN)
