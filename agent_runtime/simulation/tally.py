"""Counts of played sessions: pass rates by release and by planted fault, with their binomial intervals, and pass^k."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from math import sqrt
from typing import Any, Final

from agent_runtime.simulation.faults.table import fault_named
from agent_runtime.simulation.full import Played
from agent_runtime.simulation.goals import pass_hat_k
from agent_runtime.simulation.plans import Plan
from agent_runtime.simulation.truth import NO_FAULT

_Z95: Final = 1.959964
_K: Final = (1, 2, 4, 8)


def wilson(n_passed: int, n: int, z: float = _Z95) -> tuple[float, float]:
    """The interval of a share after Wilson (1927), of 95 % unless `z` says more; 0 to 1 when nothing was seen."""
    if n == 0:
        return 0.0, 1.0
    share, z2 = n_passed / n, z * z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))  # rounding stays outside of it


@dataclass
class Sums:
    """What sessions came to."""

    n: int = 0
    n_passed: int = 0
    n_turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)

    def add(self, played: Played) -> None:
        """Counts one."""
        self.n += 1
        self.n_passed += played.outcome.passed
        self.n_turns += len(played.results)
        self.input_tokens += sum(each.input_tokens for each in played.results)
        self.output_tokens += sum(each.output_tokens for each in played.results)
        self.cost_usd += sum((each.cost_usd or Decimal(0) for each in played.results), Decimal(0))

    def as_json(self) -> dict[str, Any]:
        """Counts, and the pass rate with its interval; null when nothing was played."""
        low, high = wilson(self.n_passed, self.n)
        return {
            "sessions": self.n,
            "passed": self.n_passed,
            "pass_rate": self.n_passed / self.n if self.n else None,
            "low": low,
            "high": high,
            "turns": self.n_turns,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": str(self.cost_usd),
        }


@dataclass
class Planted:
    """How often a fault was planted (`n_planted`) among the sessions in which it could show (`n`)."""

    rate: float
    n: int = 0
    n_planted: int = 0

    def as_json(self) -> dict[str, Any]:
        """The rate that was asked for, and what came of it with its interval."""
        low, high = wilson(self.n_planted, self.n)
        share = self.n_planted / self.n if self.n else None
        return {"rate": self.rate, "could_show": self.n, "planted": self.n_planted} | {
            "planted_rate": share,
            "planted_low": low,
            "planted_high": high,
        }


@dataclass
class Tally:
    """Grows by a session at a time; holds counts only, so that it may run for weeks."""

    plans: Iterable[Plan] = ()
    releases: dict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    faults: dict[tuple[str, str], Sums] = field(default_factory=lambda: defaultdict(Sums))
    scenarios: dict[str, dict[str, Counter[bool]]] = field(default_factory=lambda: defaultdict(dict))

    def __post_init__(self) -> None:
        self.planted = {
            (plan.release, name): Planted(rate=rate) for plan in self.plans for name, rate in plan.faults.items()
        }

    def add(self, played: Played) -> None:
        """Counts a session, once under its release and once under each of its faults."""
        self.releases[played.release].add(played)
        for name in played.chosen.faults or (NO_FAULT,):
            self.faults[played.release, name].add(played)
        for (release, name), planted in self.planted.items():
            if release == played.release and fault_named(name).applies(played.chosen.scenario):
                planted.n += 1
                planted.n_planted += name in played.chosen.faults
        of_release = self.scenarios[played.release]
        of_release.setdefault(played.chosen.scenario.scenario_id, Counter())[played.outcome.passed] += 1

    @property
    def n(self) -> int:
        """Sessions counted."""
        return sum(each.n for each in self.releases.values())

    def as_json(self) -> dict[str, Any]:
        """By release (pass^k over its scenarios of k or more sessions), by release and fault, and how often planted."""
        return {
            "sessions": self.n,
            "releases": [
                {"release": name, **sums.as_json(), "pass_hat_k": self._pass_hat(name)}
                for name, sums in sorted(self.releases.items())
            ],
            "faults": [
                {"release": release, "fault": name, **sums.as_json()}
                for (release, name), sums in sorted(self.faults.items())
            ],
            "planted": [
                {"release": release, "fault": name, **planted.as_json()}
                for (release, name), planted in sorted(self.planted.items())
            ],
        }

    def _pass_hat(self, release: str) -> dict[str, float]:
        counts = [(count[True], count.total()) for count in self.scenarios[release].values()]
        found = {}
        for k in _K:
            tasks = [(c, n) for c, n in counts if n >= k]
            if tasks:
                found[str(k)] = pass_hat_k(tasks, k)
        return found
