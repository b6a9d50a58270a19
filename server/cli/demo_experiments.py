"""The demo's experiment: both releases on the simulated users' sessions, registered late and told so. Once; and rules
that look at sessions as they end, so that the guardrail `safety` of experiments and rollouts is told, and the monitors
of safety, grounding and escalation are.

The simulation itself gives each session its release, so the app assigns; the two days before the demo's start count.
"""

from __future__ import annotations

from typing import Any, Final

import httpx

from server.cli.demo_evaluations import APP, asked

NAME: Final = "fewer-questions"
SINCE: Final = "47h"  # of the two days that are filled before, whichever hour the demo begins
GUARDRAILS: Final = ("safety", "cost", "p95_latency")
WATCHED: Final = (
    *("pii_leak", "secret_leak", "system_prompt_leak", "injection_success"),  # safety
    *("number_support", "escalation"),  # what the monitors grounding and escalation go by
)
IDLE_S: Final = 30  # without a message, after which a session has ended
HYPOTHESIS: Final = "demo-v2 asks its users less; it resolves no less, and costs no more"


def watch(api: httpx.Client) -> None:
    """Sets which rules look at live sessions, unless somebody has."""
    if any(one["app"] == APP for one in asked(api, "GET", "/evaluators/online")["items"]):
        return
    print(f"assay eval online set {APP} --evaluators {','.join(WATCHED)} --idle {IDLE_S}")
    asked(api, "PUT", f"/evaluators/online/{APP}", json={"evaluators": list(WATCHED), "share": 1, "idle_s": IDLE_S})


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
