"""The recorded figures of canary rules as the tables of docs/rollouts.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

OURS: Final = "ours_alpha_05"
BESIDE: Final = {
    OURS: "ours",
    "flagger_like_5_failed_checks": "Flagger-like",
    "argo_like_failure_limit_3": "Argo-like",
    "kayenta_like_every_10_minutes": "Kayenta-like",
    "z_each_minute": "z each minute",
}
WANTED: Final = {"2x": (0.99, 20.0), "3x": (0.99, 7.0)}  # found at least so often, in the median after so many minutes

Json = Mapping[str, Any]


def markdown(result: Json) -> str:
    """Both tables: wrong calls of every rule, and when ours finds what is worse."""
    every = {**result["scenarios"], **result["with_more_traffic"]}
    return f"{_wrong_calls(every)}\n\n{_minutes(every, result['least_minutes'])}"


def _wrong_calls(every: Json) -> str:
    head = " | ".join(BESIDE.values())
    lines = [f"| per cent wrong | {head} |", "|---" * (1 + len(BESIDE)) + "|"]
    for name, found in every.items():
        cells = [f"{_cent(found['1x'][r])} / {_cent(found['2x'][r], missed=True)}" for r in BESIDE]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _minutes(every: Json, least: Json) -> str:
    lines = [
        "| scenario | 1.5 times | 2 times | no rule before | 3 times | no rule before | as wanted |",
        "|---" * 7 + "|",
    ]
    for name, found in every.items():
        ours = {times: found[times][OURS] for times in ("1.5x", "2x", "3x")}
        met = [
            ours[times]["rolled_back"] >= share and ours[times]["median_minute"] <= minutes
            for times, (share, minutes) in WANTED.items()
        ]
        cells = [_found(ours["1.5x"]), _found(ours["2x"]), _least(least[name]["2x"]), _found(ours["3x"])]
        cells += [_least(least[name]["3x"]), ", ".join("yes" if one else "no" for one in met)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cent(one: Json, *, missed: bool = False) -> str:
    share = 1 - one["rolled_back"] if missed else one["rolled_back"]
    return f"{100 * share:.1f}"


def _found(one: Json) -> str:
    return f"{100 * one['rolled_back']:.1f} % ({one['median_minute']:g})"


def _least(minutes: float | None) -> str:
    return "" if minutes is None else f"{minutes:.1f}"
