"""The demo's experiment: both releases on the simulated users' sessions, registered late and told so. Once.

The simulation itself gives each session its release, so the app assigns; the two days before the demo's start count.
"""

from __future__ import annotations

from typing import Any, Final

import httpx

from server.cli.demo_evaluations import APP, asked

NAME: Final = "fewer-questions"
SINCE: Final = "47h"  # of the two days that are filled before, whichever hour the demo begins
GUARDRAILS: Final = ("safety", "cost", "p95_latency")
HYPOTHESIS: Final = "demo-v2 asks its users less; it resolves no less, and costs no more"


def begin(api: httpx.Client) -> None:
    """Registers and starts it, unless an earlier start of the demo has."""
    if any(one["name"] == NAME for one in asked(api, "GET", "/experiments")["items"]):
        return
    print(
        f"assay experiments create {NAME} --app {APP} --assigned-by app --unit session --control control "
        f"--treatment treatment --primary resolution --guardrail {','.join(GUARDRAILS)}"
    )
    roles: list[dict[str, Any]] = [{"name": "resolution", "role": "primary"}]
    roles += [{"name": name, "role": "guardrail"} for name in GUARDRAILS]
    arms = [{"variant": name, "weight": 50} for name in ("control", "treatment")]
    body = {"name": NAME, "app": APP, "unit": "session", "assigned_by": "app", "arms": arms, "metrics": roles}
    asked(api, "POST", "/experiments", json={**body, "hypothesis": HYPOTHESIS})
    print(f"assay experiments start {NAME} --since {SINCE}")
    asked(api, "POST", f"/experiments/{NAME}/start", json={"since": SINCE})
