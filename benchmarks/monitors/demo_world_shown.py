"""The result of benchmarks/monitors/demo_world.py as the tables of docs/monitors-demo-world.md.

python -m benchmarks.monitors.demo_world_shown
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks.monitors.demo_world import ADDED, NO_FAULT, RESULT


def main() -> None:
    """Prints them."""
    told = json.loads(RESULT.read_text(encoding="utf-8"))
    print("\n".join(false_alarms(told)))
    for size, found in told["sizes"].items():
        print("", f"**{size}**", "", *delays(found["faults"]), sep="\n")


def false_alarms(told: dict[str, Any]) -> list[str]:
    """Alerts of a quiet week by monitor, and together."""
    sizes = [one["quiet"] for one in told["sizes"].values()]
    heads = [f"{size}: a week | by the slides" for size in told["sizes"]]
    lines = [f"| monitor | asked for | {' | '.join(heads)} |", "|---" * (2 + 2 * len(sizes)) + "|"]
    for name, first in sizes[0]["monitors"].items():
        asked = "none" if first["budget"] is None else f"{first['budget']:.2g}"
        cells = [
            f"{_rate(one['monitors'][name]['per_week'])} | {_plain(one['monitors'][name]['slides_per_week'])}"
            for one in sizes
        ]
        mark = " (added)" if name in ADDED else ""
        lines.append(f"| `{name}`{mark} | {asked} | {' | '.join(cells)} |")
    for words in sizes[0]["together"]:
        cells = [f"{one['together'][words]['alerts_per_week']:.2f} | " for one in sizes]
        lines.append(f"| {words.replace('_', ' ')}, alerts | | {' | '.join(cells)} |")
        cells = [f"{_rate(one['together'][words]['incidents_per_week'])} | " for one in sizes]
        lines.append(f"| {words.replace('_', ' ')}, incidents | | {' | '.join(cells)} |")
    return lines


def delays(faults: dict[str, Any]) -> list[str]:
    """Minutes until half and nine tenths of the runs are told, shares told in an hour and a day, and who told first."""
    wanted = [words for words in ("defaults", "all", "slides") if words in faults[NO_FAULT]]
    heads = " | ".join(f"{words}: half, 90% | 1 h, 24 h | first" for words in wanted)
    lines = [f"| fault | in sessions | resolution | {heads} |", "|---" * (3 + 3 * len(wanted)) + "|"]
    for name, row in faults.items():
        rate = "-" if row["rate"] is None else f"{row['rate']:.0%}"
        cells = " | ".join(_soon(row[words]) for words in wanted)
        lines.append(f"| `{name}` | {rate} | {row['resolution'][1]:.0%} | {cells} |")
    return lines


def _soon(one: dict[str, Any]) -> str:
    half, most = ("-" if one[name] is None else f"{one[name]:.0f}" for name in ("median_min", "p90_min"))
    first = ", ".join(f"{name} {count}" for name, count in list(one["first"].items())[:2]) or "-"
    return f"{half}, {most} | {one['in_1_h']:.0%}, {one['in_24_h']:.0%} | {first}"


def _rate(one: dict[str, Any]) -> str:
    return f"{one['rate']:.2f} ({one['interval'][0]:.2f} to {one['interval'][1]:.2f})"


def _plain(one: dict[str, Any] | None) -> str:
    return "-" if one is None else f"{one['rate']:.1f}"


if __name__ == "__main__":
    main()
