"""The demo's judge, held to account by labels: made, run, labelled, calibrated. All of it simulated. Once.

    python -m server.cli.demo_judges      (with ASSAY_URL, ASSAY_API_KEY and ASSAY_SIMULATED_PORT)

The judge is `simulated:sim-judge`, which goes by word counts. Its labels are no people's: two simulated annotators say
what the simulation knows of each session, with slips of their own, under names and notes that say so. Some tasks are
left for whoever looks. It goes through the API, as a user would: the commands that it stands for are printed.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import httpx

from server.cli.demo_evaluations import APP, asked, once, wait_for
from server.cli.launching import ROOT
from server.supervisor import Part

if TYPE_CHECKING:
    from server.cli.up import Places

JUDGE: Final = "resolution"
RUBRIC: Final = "rubrics/resolution/v1.md"
MODEL: Final = "simulated:sim-judge"
QUEUE: Final = "simulated-labels"
SLIPS: Final = {"simulated ann": 0.01, "simulated bob": 0.03}  # how often each says the opposite of what is known
ENOUGH, JUDGED, DRAWN = 1_000, 300, 120  # sessions with a known outcome before it begins; verdicts; labels
LEFT, UNDECIDED = 10, 2  # tasks that nobody answered, and disagreements that nobody decided: for whoever looks
_SAYS: Final = "Simulated: what the simulation knows of this session, not what a person thinks of it."
_NOTE: Final = "Simulated labels: two annotators who say what the simulation knows, with slips. Nobody's judgement."
_PATIENCE_S: Final = 1_800.0
_OPEN: Final = ("needs_review", "needs_others_review")
_OVER: Final = ("done", "out_of_budget", "failed", "cancelled")


def part(places: Places, key: str) -> Part:
    """The process that does it."""
    return once("judges", "server.cli.demo_judges", places, key, ASSAY_SIMULATED_PORT="simulated model")


def main() -> int:
    """Does what is not done yet; 0 also when the judge turns out to be a bad one: that is what a demo shows."""
    from server.cli.serve import end_with_parent

    end_with_parent()
    headers = {"authorization": f"Bearer {os.environ['ASSAY_API_KEY']}"}
    with httpx.Client(base_url=os.environ["ASSAY_URL"], headers=headers, timeout=120) as api:
        wait_for(api, f"http://127.0.0.1:{os.environ['ASSAY_SIMULATED_PORT']}/healthz")
        if _calibrated(api):
            print("the judge of an earlier start is there")
            return 0
        _wait_for_outcomes(api)
        _create(api)
        if not _judged(api):
            return 0
        n = _label(api)
        print(f"assay judges calibrate {JUDGE} --app {APP}")
        found = asked(api, "POST", f"/judges/{JUDGE}/calibrations", json={"app": APP}, timeout=_PATIENCE_S)
        watching = {"app": APP, "share": 0.2, "budget_per_day_usd": 0.5}
        print(f"assay judges watch {JUDGE} --app {APP} --share 0.2 --budget-per-day 0.5usd")
        asked(api, "PUT", f"/judges/{JUDGE}/schedule", json=watching)
    print(f"judge {JUDGE} ({MODEL}) beside {n} simulated labels: {found['state']}, kappa {_kappa(found)}")
    return 0


def _calibrated(api: httpx.Client) -> bool:
    names = [one["name"] for one in asked(api, "GET", "/judges")["items"]]
    return JUDGE in names and bool(asked(api, "GET", f"/judges/{JUDGE}/calibrations")["items"])


def _wait_for_outcomes(api: httpx.Client) -> None:
    """Until the outcomes of enough sessions are known."""
    until = time.monotonic() + _PATIENCE_S
    wanted = {"evaluator": "task_success", "since": "7d", "limit": min(ENOUGH, 1_000)}
    while len(asked(api, "GET", "/scores", params=wanted)["items"]) < ENOUGH:
        if time.monotonic() > until:
            raise SystemExit("there are not enough sessions whose outcome is known")
        time.sleep(2)


def _create(api: httpx.Client) -> None:
    print(f"assay judges create {JUDGE} --rubric {RUBRIC} --model {MODEL} --app {APP}")
    text = (ROOT / RUBRIC).read_text(encoding="utf-8")
    asked(api, "POST", "/judges", json={"name": JUDGE, "rubric": text, "models": [MODEL], "app": APP})


def _judged(api: httpx.Client) -> bool:
    """Whether the judge has been over the sessions; one run, whichever start began it."""
    runs = [one for one in asked(api, "GET", f"/judges/{JUDGE}/runs")["items"] if one["status"] != "cancelled"]
    if runs:
        run = runs[-1]
    else:
        print(f"assay judges run {JUDGE} --app {APP} --since 7d --limit {JUDGED} --budget 1usd")
        body = {"app": APP, "since": "7d", "limit": JUDGED, "budget_usd": 1.0}
        run = asked(api, "POST", f"/judges/{JUDGE}/runs", json=body)
    until = time.monotonic() + _PATIENCE_S
    while run["status"] not in _OVER and time.monotonic() < until:
        time.sleep(1)
        run = asked(api, "GET", f"/judges/{JUDGE}/runs/{run['job_id']}")
    if run["status"] not in ("done", "out_of_budget"):
        print(f"the run {run['job_id']} of the judge {run['status']}: {run['reason']}")
        return False
    return True


# --- labels ---------------------------------------------------------------------------------------------------------


def _label(api: httpx.Client) -> int:
    """Draws tasks and has them answered, but the last ones; how many have their label then."""
    _draw(api)
    tasks = asked(api, "GET", f"/label-queues/{QUEUE}/tasks", params={"limit": 1_000})["items"]
    known = {}
    for one in tasks[:-LEFT]:
        if one["status"] in _OPEN and (truth := _truth(api, one["session_id"])) is not None:
            known[one["task_id"]] = truth
    for name, slips in SLIPS.items():
        made = asked(api, "POST", "/keys", json={"role": "user", "name": name})
        try:
            headers = {"authorization": f"Bearer {made['key']}"}
            for task_id, truth in known.items():
                said = truth if _drawn(task_id, name) >= slips else not truth
                body = {"labels": ["pass" if said else "fail"], "note": _SAYS}
                path = f"/label-queues/{QUEUE}/tasks/{task_id}/annotations"
                asked(api, "POST", path, json=body, headers=headers)
        finally:
            with suppress(httpx.HTTPError, SystemExit):
                asked(api, "DELETE", f"/keys/{made['key_id']}")
    return _decide(api, known)


def _draw(api: httpx.Client) -> None:
    names = [one["name"] for one in asked(api, "GET", "/label-queues")["items"]]
    if QUEUE not in names:
        print(f"assay labels create {QUEUE} --app {APP} --judge {JUDGE} --annotators 2")
        body = {"name": QUEUE, "app": APP, "judge": JUDGE, "n_annotators": 2, "note": _NOTE}
        asked(api, "POST", "/label-queues", json=body)
    if not asked(api, "GET", f"/label-queues/{QUEUE}/progress")["n_tasks"]:
        print(f"assay labels sample {QUEUE} --since 7d --n {DRAWN}")
        asked(api, "POST", f"/label-queues/{QUEUE}/sample", json={"since": "7d", "n": DRAWN, "judge": JUDGE})


def _truth(api: httpx.Client, session_id: str) -> bool | None:
    """Whether the session served its user, as the simulation knows; None where it does not say."""
    wanted = {"evaluator": "task_success", "session_id": session_id, "since": "14d", "limit": 1}
    found = asked(api, "GET", "/scores", params=wanted)["items"]
    return None if not found or found[0]["value"] is None else found[0]["value"] >= 0.5


def _decide(api: httpx.Client, known: dict[str, bool]) -> int:
    """What the two disagree on is decided by what is known, but for the last ones."""
    path = f"/label-queues/{QUEUE}/tasks"
    found = asked(api, "GET", path, params={"status": "needs_adjudication", "limit": 1_000})["items"]
    split = [one for one in found if one["task_id"] in known]
    for one in split[: max(0, len(split) - UNDECIDED)]:
        body = {"labels": ["pass" if known[one["task_id"]] else "fail"], "note": _SAYS}
        asked(api, "POST", f"{path}/{one['task_id']}/adjudications", json=body)
    return int(asked(api, "GET", f"/label-queues/{QUEUE}/progress")["n_completed"])


def _drawn(task_id: str, name: str) -> float:
    """A number from 0 to 1, the same for the same task and annotator."""
    hashed = hashlib.blake2b(f"{task_id}\0{name}".encode(), digest_size=6)
    return int.from_bytes(hashed.digest(), "big") / 2**48


def _kappa(found: dict[str, Any]) -> str:
    if found["kappa"] is None:
        return "unknown"
    low, high = found["kappa_low"], found["kappa_high"]
    return f"{found['kappa']:.2f}" + (f" ({low:.2f} to {high:.2f})" if low is not None and high is not None else "")


if __name__ == "__main__":
    sys.exit(main())
