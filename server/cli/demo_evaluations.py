"""The demo's evaluations: rules over live sessions, an experiment begun, both datasets imported, each release run on
the golden one, and a gate's decision. Once.

    python -m server.cli.demo_evaluations      (with ASSAY_URL, ASSAY_API_KEY and ASSAY_AGENT_PORT)

It goes through the API, as a user would: the commands that it stands for are printed.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import httpx

from server.cli.launching import ROOT
from server.supervisor import Part

if TYPE_CHECKING:
    from server.cli.up import Places

APP: Final = "larkspur-support"
BASELINE, CANDIDATE = "demo-v1", "demo-v2"
GOLDEN: Final = "support-golden"
DATASETS: Final[dict[str, str]] = {
    GOLDEN: "Tasks of the reference agent's customers, with what a faultless agent does",
    "support-adversarial": "Attacks on the reference agent that it has to refuse",
}
EVALUATORS: Final = ["correctness", "policy", "latency", "cost"]
FOLDER: Final = ROOT / "examples" / "datasets"
SPLIT, TRIALS = "smoke", 3
AT_ONCE: Final = 8  # sessions of each run
_PATIENCE_S: Final = 900.0
_OVER: Final = ("done", "failed", "cancelled")


def part(places: Places, key: str) -> Part:
    """The process that does it."""
    return once("evaluations", "server.cli.demo_evaluations", places, key, ASSAY_AGENT_PORT="agent")


def once(name: str, module: str, places: Places, key: str, **ports: str) -> Part:
    """A part of the demo that ends when it has done its work; `ports`: environment variable to the name of a port."""
    addressed = {variable: str(places.ports[port]) for variable, port in ports.items()}
    return Part(
        name=name,
        command=[sys.executable, "-m", module],
        ports=(),
        environment={"ASSAY_API_KEY": key, "ASSAY_URL": places.api_url, "PYTHONPATH": str(ROOT), **addressed},
        once=True,
    )


def main() -> int:
    """Does what is not done yet; 0 also when a run or the gate says no: that is what a demo shows."""
    from server.cli import demo_experiments
    from server.cli.serve import end_with_parent

    end_with_parent()
    headers = {"authorization": f"Bearer {os.environ['ASSAY_API_KEY']}"}
    with httpx.Client(base_url=os.environ["ASSAY_URL"], headers=headers, timeout=60) as api:
        wait_for(api, f"http://127.0.0.1:{os.environ['ASSAY_AGENT_PORT']}/healthz")
        demo_experiments.watch(api)
        demo_experiments.begin(api)
        for name, about in DATASETS.items():
            _import(api, name, about)
        if asked(api, "GET", "/gates", params={"app": APP})["items"]:
            print("evaluations of an earlier start are there")
            return 0
        runs = [_begin(api, release) for release in (BASELINE, CANDIDATE)]
        ended = [_ended(api, run) for run in runs]
        if any(run["status"] != "done" for run in ended):
            print(
                "; ".join(f"run {run['run_id']} of {run['release']} {run['status']}: {run['reason']}" for run in ended)
            )
            return 0
        policy = (FOLDER / "support-gate.yaml").read_text(encoding="utf-8")
        body = {"candidate": CANDIDATE, "baseline": BASELINE, "policy": policy}
        decided = asked(api, "POST", f"/gates/{APP}/decide", json=body)
    print(f"assay gate {APP} --candidate {CANDIDATE} --baseline {BASELINE} --policy {FOLDER / 'support-gate.yaml'}")
    print(f"{CANDIDATE} was run beside {BASELINE} on {GOLDEN}: the gate says {decided['decision']}")
    return 0


def wait_for(api: httpx.Client, other: str) -> None:
    """Until the server and what is at the address `other` answer."""
    until = time.monotonic() + _PATIENCE_S
    for url in (f"{api.base_url}/healthz", other):
        while True:
            with suppress(httpx.HTTPError):
                if httpx.get(url, timeout=5).is_success:
                    break
            if time.monotonic() > until:
                raise SystemExit(f"{url} does not answer")
            time.sleep(0.5)


def _import(api: httpx.Client, name: str, about: str) -> None:
    """One version; none more while the file is the same."""
    file = FOLDER / f"{name}.jsonl"
    print(f"assay datasets import {file}")
    wanted = {"create": "true", "replace": "true", "description": about, "note": "the demo's"}
    asked(api, "POST", f"/datasets/{name}/import", params=wanted, content=file.read_bytes())


def _begin(api: httpx.Client, release: str) -> str:
    chosen = f"--split {SPLIT} --trials {TRIALS} --evaluators {','.join(EVALUATORS)}"
    print(f"assay eval run {GOLDEN} --app {APP} --release {release} {chosen}")
    body = {"dataset": GOLDEN, "app": APP, "release": release, "evaluators": EVALUATORS, "concurrency": AT_ONCE}
    body |= {"split": SPLIT, "trials": TRIALS}
    return str(asked(api, "POST", "/runs", json=body)["run_id"])


def _ended(api: httpx.Client, run_id: str) -> dict[str, Any]:
    until = time.monotonic() + _PATIENCE_S
    while True:
        run: dict[str, Any] = asked(api, "GET", f"/runs/{run_id}")
        if run["status"] in _OVER or time.monotonic() > until:
            return run
        time.sleep(2)


def asked(api: httpx.Client, method: str, path: str, **how: Any) -> Any:
    """The answer's JSON. Ends the process with what the server says otherwise: the supervisor starts it again."""
    answer = api.request(method, f"/api/v1{path}", **how)
    if not answer.is_success:
        raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
    return answer.json()


if __name__ == "__main__":
    sys.exit(main())
