"""The recorded figures of canary rules, and of rollouts in the demo world, as the tables of docs/rollouts.md."""

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
    """Wrong calls of every rule; when ours finds what is worse; the default guardrails by traffic."""
    every = {**result["scenarios"], **result["with_more_traffic"]}
    parts = _wrong_calls(every), _minutes(every, result["least_minutes"]), _defaults(result["default_guardrails"])
    return "\n\n".join(parts)


def campaign(result: Json) -> str:
    """Rollouts in the demo world: the confusion table, and how each fault ended."""
    lines = ["| planted | rolled back | promoted | held |", "|---|---|---|---|"]
    for side, words in (("fault", "a fault"), ("no_fault", "none")):
        row = result["confusion"][side]
        lines.append(f"| {words} | {row['rolled_back']} | {row['promoted']} | {row['held']} |")
    lines += ["", "| fault | rolled back | minutes: median, most | by |", "|---|---|---|---|"]
    for name, one in result["by_fault"].items():
        if name == "no fault" or not one["runs"]:
            continue
        median, most = one["median_minutes_to_rollback"], one["most_minutes_to_rollback"]
        minutes = "" if median is None else f"{median:g}, {most:g}"
        by = ", ".join(f"{guardrail} {n}" for guardrail, n in sorted(one["guardrails"].items(), key=lambda kv: -kv[1]))
        lines.append(f"| `{name}` | {one['rolled_back']} of {one['runs']} | {minutes} | {by} |")
    return "\n".join(lines)


def _wrong_calls(every: Json) -> str:
    head = " | ".join(BESIDE.values())
    lines = [f"| per cent wrong | {head} |", "|---" * (1 + len(BESIDE)) + "|"]
    for name, found in every.items():
        cells = [f"{_cent(found['1x'][r])} / {_cent(found['2x'][r], missed=True)}" for r in BESIDE]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _minutes(every: Json, least: Json) -> str:
    lines = [
        "| scenario | 1.5 times | 2 times | least mean | 3 times | least mean | as wanted |",
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


def _defaults(found: Json) -> str:
    lines = ["| units a minute and arm | as good: rolled back | 2 times the errors | 3 times |", "|---|---|---|---|"]
    for name, one in found.items():
        if isinstance(one, Mapping) and "1x" in one:
            cells = f"{_cent(one['1x'])} % | {_found(one['2x'])} | {_found(one['3x'])}"
            lines.append(f"| {name.split(' ')[0]} | {cells} |")
    return "\n".join(lines)


def _cent(one: Json, *, missed: bool = False) -> str:
    share = 1 - one["rolled_back"] if missed else one["rolled_back"]
    return f"{100 * share:.1f}"


def _found(one: Json) -> str:
    return f"{100 * one['rolled_back']:.1f} % ({one['median_minute']:g})"


def _least(minutes: float | None) -> str:
    return "" if minutes is None else f"{minutes:.1f}"
