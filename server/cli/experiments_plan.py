"""`assay experiments plan`: how many units an effect takes, for how many days, and what else they would find.

Computed here: no server is asked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from server.cli.experiments_create import per_day, split
from server.cli.outcome import CommandFailed, ExitCode

if TYPE_CHECKING:
    from experiments.statistics.planning import Planned, Wanted

HEIGHT: Final = 10  # lines of the curve
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is to be found, in how much traffic, and how sure."""
    parser.add_argument("--metric", metavar="METRIC", help="its name, to be shown")
    parser.add_argument("--baseline", type=float, required=True, metavar="B", help="the control's rate, or its mean")
    parser.add_argument("--mde", type=float, required=True, metavar="D", help="least effect worth finding, as 0.03")
    parser.add_argument("--sd", type=float, metavar="SD", help="of one session's value: then the metric is a mean")
    parser.add_argument("--users", type=per_day, metavar="N/day", help="units that come a day; tells the days")
    parser.add_argument("--sessions-per-user", type=float, default=1.0, metavar="N", help="default: 1")
    parser.add_argument("--sessions-cv", type=float, default=0.0, metavar="CV", help="their sd over their mean")
    parser.add_argument("--icc", type=float, metavar="R", help="how alike one user's sessions are (default: 0.2)")
    parser.add_argument("--rho", type=float, default=0.0, metavar="R", help="CUPED: correlation with the time before")
    parser.add_argument("--split", type=split, default=[1.0, 1.0], metavar="W/W", help="weights (default: 50/50)")
    parser.add_argument("--metrics", type=int, default=1, metavar="N", help="how many decide; each gets alpha / N")
    parser.add_argument("--alpha", type=float, default=0.05, help="default: 0.05")
    parser.add_argument("--power", type=float, default=0.8, help="default: 0.8")
    looking = parser.add_mutually_exclusive_group()
    looking.add_argument("--one-look", action="store_true", help="look once, at the end")
    looking.add_argument("--no-horizon", action="store_true", help="a confidence sequence, which has no end")


def run(args: argparse.Namespace) -> int:
    """Plans and prints. Raises CommandFailed."""
    from core.errors import InvalidInput
    from experiments.statistics.planning import plan
    from server.cli.rendering import print_json

    wanted = _wanted(args)
    try:
        found = plan(wanted)
    except InvalidInput as refused:
        raise CommandFailed(f"{refused} (--{(refused.field or 'plan').replace('_', '-')})", ExitCode.USAGE) from None
    if args.json:
        print_json(found.as_json())
        return ExitCode.OK
    _print(args, wanted, found)
    return ExitCode.OK


def _wanted(args: argparse.Namespace) -> Wanted:
    from experiments.records import Design
    from experiments.statistics.planning import Wanted

    if len(args.split) != 2 or min(args.split) <= 0:
        raise CommandFailed("a split has two weights above 0, as 50/50 (--split)", ExitCode.USAGE)
    design = Design.CONFIDENCE_SEQUENCE if args.no_horizon else Design.GROUP_SEQUENTIAL
    return Wanted(
        baseline=args.baseline,
        mde=args.mde,
        kind="binary" if args.sd is None else "mean",
        sd=args.sd,
        alpha=args.alpha,
        power=args.power,
        sessions_per_user=args.sessions_per_user,
        sessions_cv=args.sessions_cv,
        icc=args.icc,
        rho=args.rho,
        split=args.split[1] / sum(args.split),
        users_per_day=args.users,
        n_metrics=args.metrics,
        design=None if args.one_look else design,
    )


def _print(args: argparse.Namespace, wanted: Wanted, found: Planned) -> None:
    from server.cli.rendering import print_table
    from server.cli.terminal import plain

    name = plain(args.metric or "the metric", 60)
    days = "" if found.days is None else f", {found.days} days of {wanted.users_per_day:g}"
    print(f"{found.units:,} units{days}: {found.n_control:,} + {found.n_treatment:,}, {found.sessions:,} sessions")
    print(
        f"find {name} of {wanted.baseline:g} moved by {wanted.mde:+g} with a chance of {found.power:.0%}; "
        f"{wanted.alpha:.3g} of the experiments without an effect show one"
    )
    if found.looks > 1:
        print(f"looked at {found.looks} times it ends after {found.expected_units:,} units on average")
    rows = [["independent sessions an arm", f"{found.n_sessions_independent:,}", "without what follows"]]
    rows += [[one.name, f"x {one.factor:.3f}", one.reason] for one in found.inflations]
    print()
    print_table(["what it is made of", "", "why"], rows, right=[""])
    print()
    for line in curve_lines(found.curve, wanted.mde, wanted.power, sys.stdout.encoding or "ascii"):
        print(line)
    for note in found.notes:
        print(f"note: {plain(note, 300)}", file=sys.stderr)


def curve_lines(curve: Sequence[tuple[float, float]], mde: float, power: float, encoding: str) -> list[str]:
    """The power curve as lines of text: a column per effect, as high as its power; the planned point is marked."""
    blocks = _EIGHTHS if "utf" in encoding.lower() else " " * 5 + "#" * 4
    planned = min(range(len(curve)), key=lambda number: abs(curve[number][0] - mde))
    wanted_row = round(power * HEIGHT)
    lines = ["power"]
    for row in range(HEIGHT, 0, -1):
        filled = [min(8, max(0, round(8 * (chance * HEIGHT - row + 1)))) for _, chance in curve]
        label = f"{row / HEIGHT:4.0%}" if row in (HEIGHT, wanted_row, HEIGHT // 2) else " " * 4
        lines.append(f"{label} |{''.join(blocks[one] for one in filled)}".rstrip())
    lines.append("     +" + "-" * len(curve))
    lines.append(" " * (6 + planned) + f"^ {mde:+g}")
    lines.append(f"      effects from 0 to {curve[-1][0]:+g}")
    return lines
