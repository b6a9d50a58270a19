"""`assay metrics NAME --corrected`: a judge's rate as people would give it, its days, and what drifted."""

from __future__ import annotations

import argparse
from typing import Any, Final

from server.cli.connection import client_of
from server.cli.outcome import ExitCode

PATIENCE_S: Final = 60.0
SINCE: Final = "30d"
_ASKED: Final = (
    *("app", "release", "version", "variant", "segment", "method", "labels", "level", "baseline", "arl_days"),
    *("start", "end"),
)


def add_judge_arguments(parser: argparse.ArgumentParser) -> None:
    """What only corrected metrics take."""
    of = parser.add_argument_group("of --corrected")
    of.add_argument("--version", help="of the judge (default: the one that holds)")
    of.add_argument("--variant", help="only this one")
    of.add_argument("--segment", help="only this one")
    of.add_argument("--method", choices=["ppi", "rogan_gladen"], help="instead of the one that fits the labels")
    of.add_argument(
        "--labels", choices=["as_stored", "random"], help="random: all labels are a simple random sample, as you know"
    )
    of.add_argument("--level", type=float, help="of the intervals (default: 0.95)")
    of.add_argument("--baseline", type=float, metavar="RATE", help="hold the product against this rate")
    of.add_argument("--arl-days", type=float, metavar="DAYS", help="a false drift at most so seldom (default: 365)")


def run(args: argparse.Namespace, name: str) -> int:
    """Asks the server and prints the answer; ends with 3 (inconclusive) where the rate is refused. Raises
    CommandFailed."""
    given = {"name": name} | {one: getattr(args, one) for one in _ASKED if getattr(args, one) is not None}
    if args.start is None:
        given["since"] = args.since or SINCE
    told = client_of(args, PATIENCE_S).get("/api/v1/metrics/corrected", given)
    if args.json:
        from server.cli.rendering import print_json

        print_json(told)
    else:
        _print(told)
    return ExitCode.OK if told["corrected"] is not None else ExitCode.INCONCLUSIVE


def _print(told: dict[str, Any]) -> None:
    from server.cli.terminal import plain

    judge, certificate = plain(f"{told['judge']}@{told['version']}", 80), told["certificate"]
    print(f"{plain(told['name'], 60)} of {plain(told['app'], 60)}, judged by {judge} ({plain(told['rubric'], 60)})")
    print(f"judge: {certificate['state']}: {plain(certificate['reason'], 300)}")
    if told["corrected"] is None:
        refused = told["refused"]
        print(f"no rate: {refused['reason']}: {plain(refused['detail'], 300)}")
    else:
        _print_rate(told["corrected"])
    if told["days"]:
        _print_days(told["days"])
    drift = told["drift"]
    if drift is not None:
        print(f"drift: {drift['state'] or 'cannot be told'}: {plain(drift['why'], 300)}")
    for why, n in told["missing"].items():
        print(f"{n:,} without a verdict: {plain(why, 60)}")
    if told["n_waiting"]:
        print(f"{told['n_waiting']:,} judged after the last label wait for labels")
    for note in told["notes"]:
        print(f"note: {plain(note, 300)}")


def _print_rate(rate: dict[str, Any]) -> None:
    from server.cli.terminal import plain

    def ends(one: dict[str, Any] | None) -> str:
        return "-" if one is None else f"{one['low']:.1%} to {one['high']:.1%}"

    interval = rate["interval"]
    print(f"corrected: {rate['value']:.1%}, {ends(interval)} at {interval['level']:.0%} ({interval['method']})")
    print(f"raw, the judge alone: {rate['raw']:.1%} of {rate['n_judged']:,}")
    lam = "" if rate["lam"] is None else f", lambda {rate['lam']:.2f}"
    print(f"{rate['method']}{lam}: {plain(rate['why'], 200)}; as exact as {rate['effective_n']:,.0f} labels alone")
    if rate["human"] is not None:
        print(f"the {rate['n_labels']:,} labels alone: {rate['human_value']:.1%}, {ends(rate['human'])}")
    if rate["sensitivity"] is not None:
        print(f"sensitivity {rate['sensitivity']:.1%}, specificity {rate['specificity']:.1%}")
    if rate["note"]:
        print(f"note: {plain(rate['note'], 300)}")


def _print_days(days: list[dict[str, Any]]) -> None:
    from rich.text import Text

    from server.cli.rendering import print_table

    rows: list[list[Text | str]] = [
        [
            one["day"],
            *(f"{one['value']:.1%}", f"{one['low']:.1%} to {one['high']:.1%}", f"{one['raw']:.1%}"),
            *(f"{min(max(one['of_day'], 0.0), 1.0):.1%}", f"{one['n_judged']:,}", f"{one['n_labels']:,}"),
        ]
        for one in days
    ]
    figures = ("corrected so far", "on all days at once", "raw so far", "of the day", "judged", "labels")
    print_table(("day", *figures), rows, right=figures)
