"""The whole stack with its three larger settings at once: the lake in S3, PostgreSQL, and ClickHouse's engine."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.judges.answering import model_server, verdict
from tests.server import newer_areas
from tests.server.clustered import APP
from tests.stack import Stack, running_stack
from tests.store.buckets import environment, new_bucket
from tests.store.databases import PostgreSQL
from tests.waiting import wait_until

pytest.importorskip("chdb", reason="ClickHouse's engine for tests comes with chdb (make setup)")
N_TRACES = 20


def send(stack: Stack, first: int) -> None:
    now = time.time_ns()
    spans = [
        {
            "traceId": f"{first + n:032x}",
            "spanId": f"{first + n:016x}",
            "name": "answer",
            "startTimeUnixNano": str(now + n * 1000),
            "endTimeUnixNano": str(now + n * 1000 + 5_000_000),
            "attributes": [{"key": "gen_ai.conversation.id", "value": {"stringValue": f"s{n % 4}"}}],
        }
        for n in range(N_TRACES)
    ]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "far"}}]}
    body = json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]})
    headers = {**stack.headers, "content-type": "application/json"}
    assert httpx.post(f"{stack.otlp_http}/v1/traces", content=body, headers=headers, timeout=60).status_code == 200


def seen(api: httpx.Client) -> dict[str, int]:
    def items(path: str, **more: str) -> list[object]:
        answer = api.get(f"/api/v1/{path}", params={"since": "1h", "limit": "200", **more})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    return {
        "spans": len(items("spans", app="far")),
        "traces": len(items("traces", app="far")),
        "sessions": len(items("sessions", app="far")),
        "found": len(items("search", q="ANSWER", app="far")),
        "scores": len(items("scores", evaluator="tone")),
    }


def check_areas(told: dict[str, Any]) -> None:
    """That each area found what was sent: three kinds of sessions, of which one fails, in two arms."""
    n = newer_areas.N_SESSIONS
    clusters = sorted((one["n_sessions"], one["n_failed"]) for one in told["clusters"].values())
    assert clusters == [(n // 3, 0), (n // 3, 0), (n // 3, n // 3)]
    assert ([len(one) for one in told["members"].values()], len(told["map"])) == ([n // 3] * 3, n)
    arms = told["experiment"]["arms"]
    assert (told["experiment"]["n_units"], sum(one["n_units"] for one in arms)) == (n, n)
    assert [one["n_series"] >= 1 for one in told["monitors"]] == [True] * len(newer_areas.BANDS)
    resolved = [value for value in told["monitors"][0]["charts"][0]["value"] if value is not None]
    assert len(resolved) >= newer_areas.N_PAST // 6, "sessions of the past, three an hour, have outcomes in buckets"
    assert (told["judge"]["n_targets"], told["judge"]["n_cached"]) == (n, n)
    assert {one["evaluator"]: one["n"] for one in told["scores"]} == {"resolved": n, "helped": n, "latency_ms": 2 * n}
    assert told["figures"]["scores"][0]["mean"]["value"] == pytest.approx(2 / 3)
    assert (len(told["dataset"]), told["check"]["n_prompts"], told["check"]["n_given_away"]) == (n, 1, 1)
    assert [len(one) for one in told["runs"]] == [n, n]
    assert [one["decision"] for one in told["gates"]] == ["inconclusive"], "no session is of both releases"
    assert {one["app"]: one["n_turns"] for one in told["apps"]}[APP] == n


@pytest.mark.timeout(900)
def test_the_stack_runs_on_s3_postgresql_and_clickhouse(s3: str, postgres: PostgreSQL, tmp_path: Path) -> None:
    postgres.psql("CREATE DATABASE far")
    services = {
        **environment(s3),
        "ASSAY_LAKE": new_bucket(s3),
        "ASSAY_CONTROL_URL": postgres.get_uri("far"),
        "ASSAY_CLICKHOUSE_URL": "chdb://memory",
    }
    expected = {"spans": N_TRACES, "traces": N_TRACES, "sessions": 4, "found": N_TRACES, "scores": 1}
    with running_stack(tmp_path, environment=services) as stack, stack.client() as api:
        send(stack, 1)
        score = {
            "evaluator": "tone",
            "evaluator_kind": "human",
            "target": "turn",
            "trace_id": f"{1:032x}",
            "value": 1.0,
        }
        assert api.post("/api/v1/scores", json={"items": [score]}).status_code == 201
        wait_until(lambda: seen(api) == expected, 60, "all lists to show what was sent")
        (row,) = [line for line in api.get("/api/v1/ledger").json()["items"] if line["signal"] == "spans"]
        assert (row["stored"], row["balanced"]) == (N_TRACES, True)
        assert api.get("/api/v1/audit/verify").json()["ok"] is True
        foreseen = api.post("/api/v1/erasures", json={"user_id": "u"})
        assert (foreseen.status_code, foreseen.json()["rows"]) == (200, {})
        with model_server(verdict("pass")) as model:
            areas = newer_areas.made(stack, api, model.url)
        answers = newer_areas.told(api, areas)
        check_areas(answers)
    assert not (tmp_path / "data" / "lake").exists()
    assert not (tmp_path / "data" / "control.db").exists()
    shutil.rmtree(tmp_path / "data" / "lake-cache")
    without_clickhouse = {**services, "ASSAY_CLICKHOUSE_URL": ""}
    with running_stack(tmp_path, environment=without_clickhouse) as stack, stack.client() as api:
        assert seen(api) == expected
        assert newer_areas.told(api, areas) == answers, "DuckDB answers as ClickHouse did"
