"""Clusters, experiments, monitors, judges, datasets, runs and gates of a running stack: made over its doors, and asked
over its API one question each that the lake answers."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Final

import httpx

from core.clock import NS_PER_S
from experiments.registered import of_json
from experiments.service_reading import SETTLE_S
from experiments.splits import placed
from tests.server.clustered import APP, KINDS, PARAMS, THINGS
from tests.stack import Stack
from tests.waiting import wait_until

EXPERIMENT: Final = {
    "name": "refund-prompt",
    "app": APP,
    "arms": [
        {"variant": "control", "release": "v1", "weight": 50},
        {"variant": "treatment", "release": "v2", "weight": 50},
    ],
    "metrics": [{"name": "resolution", "role": "primary"}, {"name": "p95_latency", "role": "secondary"}],
    "start": True,
}
RUBRIC: Final = """---
name: resolution
version: 1
kind: pass_fail
---
Was the user's matter resolved?
"""
POLICY: Final = """version: 1
dataset: golden
metrics:
  - {metric: latency_ms, role: primary, margin: "20%"}
"""
BANDS: Final = {
    "score:resolved": {"kind": "ema", "alpha": 0.1, "season": False},
    "p95_latency": {"kind": "distribution", "window_s": 21_600, "reference_s": 86_400},
    "embeddings:whole": {"kind": "distribution", "window_s": 21_600, "reference_s": 86_400},
    "mix:cluster": {"kind": "distribution"},
}
HOURLY: Final = {"app": APP, "step": "1h"}
INSTRUCTIONS: Final = json.dumps([{"type": "text", "content": f"Be kind. Example: {KINDS['wash'][0].format('tent')}"}])
N_SESSIONS: Final = len(KINDS) * len(THINGS)
N_PAST: Final = 60  # sessions before these, one in twenty minutes


@dataclass(frozen=True, kw_only=True)
class Areas:
    """What was made, and the window in which all of it happened (RFC 3339); `before` begins two days earlier."""

    before: str
    start: str
    end: str
    runs: tuple[str, ...]


def ask(api: httpx.Client, method: str, path: str, status: int = 200, **how: Any) -> Any:
    """The answer of the API."""
    answer = api.request(method, f"/api/v1/{path}", **how)
    assert answer.status_code == status, (path, answer.text)
    return answer.json()


def made(stack: Stack, api: httpx.Client, model: str) -> Areas:
    """An app with a past, an experiment on live traffic, its sessions in clusters and judged by the model at a URL, a
    dataset of them, a run over it for each release, and a gate between these."""
    began_ns = time.time_ns()
    _send(stack, api, [_session(n, began_ns - n * 1200 * NS_PER_S, "v0", None) for n in range(100, 100 + N_PAST)])
    for name in ("v1", "v2"):
        body = {"app": APP, "name": name, "endpoint": f"http://127.0.0.1:1/{name}"}
        ask(api, "POST", "releases", 201, json=body)
    _visit(stack, api, ask(api, "POST", "experiments", json=EXPERIMENT))
    wait_until(lambda: len(_items(api, "sessions", app=APP, since="10m")) == N_SESSIONS, 60, "the sessions")
    chosen = {"where": {"app": APP, "since": "10m"}, "create": True, "with_answer": True}
    ask(api, "POST", "datasets/golden/examples", json=chosen)
    clusters = ask(api, "POST", "clusters/runs", 201, json={"app": APP, "since": "10m", "params": PARAMS})
    judge = {"name": "helped", "rubric": RUBRIC, "models": ["openai:gpt-5-mini"], "url": model}
    ask(api, "POST", "judges", 201, json=judge)
    judged = ask(api, "POST", "judges/helped/runs", 201, json={"app": APP, "since": "10m"})
    runs = [
        ask(api, "POST", "runs", 201, json={"dataset": "golden", "app": APP, "release": name, "source": "traces",
                                            "evaluators": ["latency_ms"], "since": "10m"})["run_id"]
        for name in ("v1", "v2")
    ]  # fmt: skip
    ended = [*[(f"runs/{one}", "finished_at") for one in runs], (f"clusters/runs/{clusters['id']}", "ended_at"),
             (f"judges/helped/runs/{judged['job_id']}", "finished_at")]  # fmt: skip
    for path, key in ended:
        _wait_for(api, path, key)
    ask(api, "POST", f"gates/{APP}/decide", json={"candidate": "v2", "baseline": "v1", "policy": POLICY})
    start_ns, end_ns = began_ns - NS_PER_S, time.time_ns() + NS_PER_S
    before = _moment(start_ns - 2 * 86_400 * NS_PER_S)
    return Areas(before=before, start=_moment(start_ns), end=_moment(end_ns), runs=tuple(runs))


def told(api: httpx.Client, areas: Areas) -> dict[str, Any]:
    """An answer of each area, without what depends on the moment in which it is asked."""
    window = {"start": areas.start, "end": areas.end}
    clusters = _items(api, "clusters", app=APP)
    points = ask(api, "GET", "clusters/map", params={"app": APP})["points"]
    analysis = ask(api, "GET", "experiments/refund-prompt/analysis", params={"as_of": areas.end})
    check = ask(api, "POST", "datasets/golden/check", json={"app": APP, **window})
    figures = {"evaluator": "resolved", "kind": "outcome", "bucket": "1h", **window}
    return {
        "clusters": {one["id"]: one | {"counted_at": None} for one in clusters},
        "map": sorted(zip(*(points[name] for name in sorted(points)), strict=True)),
        "members": {one["id"]: _items(api, f"clusters/{one['id']}/sessions") for one in clusters},
        "experiment": {name: analysis[name] for name in ("n_units", "arms", "health", "metrics", "exposure", "strata")},
        "monitors": [
            ask(api, "POST", "monitors/backtest", json={"definition": HOURLY | {"series": name, "band": band}}
                | window | {"start": areas.before})
            for name, band in BANDS.items()
        ],
        "judge": ask(api, "POST", "judges/helped/forecast", json={"app": APP, **window}),
        "scores": _items(api, "scores/names", **window),
        "figures": ask(api, "GET", "scores/figures", params=figures),
        "dataset": _items(api, "datasets/golden/examples"),
        "check": check,
        "runs": [_items(api, f"runs/{one}/scores") for one in areas.runs],
        "gates": _items(api, "gates"),
        "apps": _items(api, "apps", **window),
    }  # fmt: skip


def _wait_for(api: httpx.Client, path: str, key: str) -> None:
    """Until what goes on at this path is over, and well."""
    wait_until(lambda: ask(api, "GET", path)[key] is not None, 300, path)
    told = ask(api, "GET", path)
    assert told["status"] == "done", told


@dataclass(frozen=True, kw_only=True)
class Session:
    """A session of one turn: its spans, and how it ended."""

    spans: list[dict[str, Any]]
    outcome: dict[str, Any]


def _visit(stack: Stack, api: httpx.Client, experiment: dict[str, Any]) -> None:
    """Sessions of three kinds by users of their own in the arms of the hash, as soon as they count."""
    said = experiment["definition"]
    definition = of_json(said["name"], said["app"], said["version"], said)
    start_ns = time.time_ns() + (SETTLE_S + 1) * NS_PER_S
    arms = [placed(definition, 1.0, f"ü{n}") for n in range(N_SESSIONS)]
    _send(stack, api, [_session(n, start_ns, one.release or "", one.variant) for n, one in enumerate(arms)])


def _send(stack: Stack, api: httpx.Client, sessions: list[Session]) -> None:
    resource = {"attributes": _attributes({"service.name": APP})}
    spans = [span for one in sessions for span in one.spans]
    body = json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]})
    headers = {**stack.headers, "content-type": "application/json"}
    assert httpx.post(f"{stack.otlp_http}/v1/traces", content=body, headers=headers, timeout=60).status_code == 200
    ask(api, "POST", "scores", 201, json={"items": [one.outcome for one in sessions]})


def _session(n: int, start_ns: int, release: str, variant: str | None) -> Session:
    """An agent's span with what was said, a tool's and a model's below it; every session of one kind fails."""
    kind, thing = list(KINDS)[n // len(THINGS) % len(KINDS)], THINGS[n % len(THINGS)]
    asks, answers, tool, fails = KINDS[kind]
    same = {"session.id": f"{kind}-{n}", "user.id": f"ü{n}", "assay.release": release}
    same |= {} if variant is None else {"assay.variant": variant}
    parts: list[tuple[str, dict[str, str]]] = [
        ("AGENT", {"input.value": asks.format(thing), "output.value": answers.format(thing)}),
        ("TOOL", {"tool.name": tool}),
        ("LLM", {"gen_ai.request.model": "gpt-4o", "gen_ai.system_instructions": INSTRUCTIONS}),
    ]
    spans = [
        {
            "traceId": f"{n + 1000:032x}",
            "spanId": f"{(n + 1000) * 10 + place:016x}",
            **({"parentSpanId": f"{(n + 1000) * 10:016x}"} if place else {}),
            "name": own.lower(),
            "startTimeUnixNano": str(start_ns + place),
            "endTimeUnixNano": str(start_ns + place + (5 + n % 7) * 1_000_000),
            "status": {"code": 2 if fails and own == "TOOL" else 1},
            "attributes": _attributes({**same, "openinference.span.kind": own, **more}),
        }
        for place, (own, more) in enumerate(parts)
    ]
    outcome = {"evaluator": "resolved", "evaluator_kind": "outcome", "target": "session", "session_id": f"{kind}-{n}"}
    return Session(spans=spans, outcome=outcome | {"value": float(not fails), "at": _moment(start_ns)})


def _attributes(said: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in said.items()]


def _items(api: httpx.Client, path: str, **asked: str) -> list[Any]:
    found: list[Any] = ask(api, "GET", path, params=asked)["items"]
    return found


def _moment(ns: int) -> str:
    whole, rest = divmod(ns, NS_PER_S)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{rest // 1000:06d}Z"
