"""What limits, budgets, pricing and the ledger cost a call, with 20 limits and 20 budgets that all hold for it.

    python -m benchmarks.gateway.limits_and_budgets      # benchmarks/results/gateway_limits_and_budgets.json

Microseconds of processor time of one thread. Every call is begun, priced, settled and written to a ledger on disk.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from core.ids import TenantId
from gateway.config import BudgetConfig, BudgetScope, LimitConfig, LimitScope
from gateway.estimates import Estimates
from gateway.ledger import Ledger
from gateway.policies.budgets import Budgets
from gateway.policies.limits import Limits, Windows
from gateway.prices import Prices
from gateway.records import Attempt, Call, Caller, CallKind, Target, Usage, VirtualModel

RESULT: Final = Path(__file__).parent.parent / "results" / "gateway_limits_and_budgets.json"
N_CALLS: Final = 20_000
N_EACH: Final = 20
MODEL: Final = VirtualModel(
    name="fast",
    kind=CallKind.CHAT,
    targets=(Target(upstream="a", model="sim-1-mini"), Target(upstream="b", model="gpt-4o-mini")),
)


def call_of(n: int) -> Call:
    """A call of one of 500 users."""
    return Call(
        id=f"call_{n:024x}",
        kind=CallKind.CHAT,
        caller=Caller(tenant=TenantId("default"), key_id="k1", app="my-agent", team="support", user=f"u{n % 500}"),
        asked="fast",
        model=MODEL,
        body={"model": "fast", "max_tokens": 100},
        streamed=False,
        started_ns=0,
        n_input_characters=400,
    )


def measured(folder: Path) -> dict[str, float]:
    """Mean microseconds a call of each part, best of three."""
    ledger, estimates = Ledger(folder), Estimates()
    prices = Prices(providers={"a": "openai", "b": "openai"})
    limits = Limits(
        [LimitConfig(scope=scope, requests_per_minute=10**9, tokens_per_minute=10**9) for scope in LimitScope] * 5,
        Windows(),
        estimates,
    )
    rules = [
        BudgetConfig(
            name=f"b{n}", scope=list(BudgetScope)[n % 4], limit_usd=1e9, period="day" if n % 8 < 4 else "month"
        )
        for n in range(N_EACH)
    ]
    budgets = Budgets(rules, {"fast": MODEL}, prices, ledger, estimates)
    spent: dict[str, list[float]] = {"limits": [], "budgets": [], "price": []}
    for _ in range(3):
        times = dict.fromkeys(spent, 0)
        for n in range(N_CALLS):
            call = call_of(n)
            steps = [("limits", limits.before), ("budgets", budgets.before)]
            steps += [("price", prices.price), ("budgets", budgets.done), ("limits", limits.done)]
            for name, step in steps:
                if step == prices.price:
                    call.usage = Usage(input_tokens=100, output_tokens=50, reported=True)
                    call.attempts = [Attempt(target=MODEL.targets[0], started_ns=0, status=200, usage=call.usage)]
                began = time.thread_time_ns()
                step(call)
                times[name] += time.thread_time_ns() - began
        for name, total in times.items():
            spent[name].append(total / N_CALLS / 1000)
    ledger.close()
    return {name: round(min(each), 1) for name, each in spent.items()}


def clock_cost() -> float:
    """Microseconds of reading the clock once, which is in every step."""
    times = []
    for _ in range(5):
        began = time.thread_time_ns()
        for _ in range(10_000):
            time.thread_time_ns()
        times.append((time.thread_time_ns() - began) / 10_000 / 1000)
    return round(statistics.median(times), 2)


def main() -> None:
    """Measures and writes the result."""
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder) / "spend")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).date().isoformat(),
        "n_limits": N_EACH,
        "n_budgets": N_EACH,
        "us_a_call": {**found, "together": round(sum(found.values()), 1)},
        "of_which_reading_the_clock_us": round(5 * clock_cost(), 1),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result["us_a_call"]))


if __name__ == "__main__":
    main()
