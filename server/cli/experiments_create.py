"""Register an experiment: its arms, its metrics with their roles, how long it looks and by which strata."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from server.cli.connection import ApiClient, client_of
from server.cli.experiments_changes import share
from server.cli.outcome import CommandFailed, ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NAME with what is registered."""
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--app", required=True)
    parser.add_argument("--control", required=True, metavar="RELEASE", help="or VARIANT=RELEASE; what holds today")
    parser.add_argument(
        *("--treatment",), required=True, action="append", metavar="RELEASE", help="or VARIANT=RELEASE; repeatable"
    )
    parser.add_argument("--split", type=split, metavar="W/W", help="weights, control first (default: equal)")
    parser.add_argument("--unit", choices=("user", "session"), default="user", help="what is assigned (default: user)")
    parser.add_argument("--assigned-by", choices=("gateway", "app"), default="gateway", help="who puts units into arms")
    _metric_arguments(parser)
    _length_arguments(parser)
    parser.add_argument("--alpha", type=float, help="error rate (default: 0.05)")
    parser.add_argument("--strata", type=_names, default=[], metavar="A,B", help="attributes it is also told by")
    parser.add_argument("--holdout", type=share, help="share of the app's units in no experiment that names one")
    parser.add_argument("--layer", help="experiments of one layer never share a unit when their slots are disjoint")
    parser.add_argument("--slot", type=_slot, metavar="SHARE|LOW-HIGH", help="its part of the layer (default: all)")
    parser.add_argument("--cuped-days", type=int, metavar="N", help="days before that explain a unit (default: 0)")
    parser.add_argument("--mature", type=float, metavar="S", help="seconds until an outcome counts as missing")
    parser.add_argument("--hypothesis", help="what is expected, in a sentence")
    parser.add_argument("--owner", help="whose it is")
    parser.add_argument("--start", action="store_true", help="start it at once")
    parser.add_argument("--dry-run", action="store_true", help="say what would be registered, change nothing")


def _metric_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--primary", required=True, metavar="METRIC", help="what is decided by")
    parser.add_argument(
        *("--guardrail",), type=_names, default=[], metavar="A,B", help="must not get worse than their margins"
    )
    parser.add_argument("--secondary", type=_names, default=[], metavar="A,B", help="looked at beside it")
    parser.add_argument(
        *("--margin",), type=_margin, action="append", default=[], metavar="METRIC=M",
        help="how much may be lost, in the metric's unit or as 5%% of the control; repeatable",
    )  # fmt: skip
    parser.add_argument(
        *("--better",), type=_better, action="append", default=[], metavar="METRIC=higher|lower",
        help="of a metric that does not say so itself; repeatable",
    )  # fmt: skip


def _length_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--horizon", type=_horizon, metavar="N|Nd", help="its length: units over all arms, or days")
    parser.add_argument("--users", type=per_day, metavar="N/day", help="units a day; days and units from one another")
    parser.add_argument("--mde", type=float, metavar="D", help="instead: the effect to be found, with --baseline")
    parser.add_argument("--baseline", type=float, metavar="RATE", help="the primary's rate today, for --mde")
    parser.add_argument("--sessions-per-user", type=float, default=1.0, metavar="N", help="for --mde (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Registers it, and starts it with --start. Raises CommandFailed."""
    from server.cli.rendering import print_json
    from server.cli.terminal import plain

    api = client_of(args)
    body = body_of(args)
    if args.mde is not None:
        body["horizon"] = _planned(args, api)
    told = api.post("/api/v1/experiments", body)
    if args.json:
        print_json(told)
        return ExitCode.OK
    for warning in told["warnings"]:
        print(f"warning: {plain(warning, 300)}", file=sys.stderr)
    _print(told)
    return ExitCode.OK


def body_of(args: argparse.Namespace) -> dict[str, Any]:
    """What the API is asked. Raises CommandFailed for what does not fit together."""
    body: dict[str, Any] = {
        **{name: getattr(args, name) for name in ("name", "app", "unit", "strata", "start", "dry_run")},
        "assigned_by": args.assigned_by,
        "arms": _arms(args),
        "metrics": _metrics(args),
        "horizon": _length(args),
        "covariate_days": args.cuped_days,
        "mature_s": args.mature,
    }
    body |= {name: getattr(args, name) for name in ("alpha", "holdout", "layer", "hypothesis", "owner")}
    if args.slot is not None:
        body |= {"slot_share": args.slot[0]} if len(args.slot) == 1 else {"slot": list(args.slot)}
    return {name: value for name, value in body.items() if value is not None}


def _arms(args: argparse.Namespace) -> list[dict[str, Any]]:
    named = [("control", args.control), *((_usual(args, n), one) for n, one in enumerate(args.treatment))]
    weights = args.split or [100 / len(named)] * len(named)
    if len(weights) != len(named):
        raise CommandFailed(f"--split has {len(weights)} weights for {len(named)} arms; control first", ExitCode.USAGE)
    arms = []
    for (usual, text), weight in zip(named, weights, strict=True):
        variant, is_named, release = text.partition("=")
        known = (variant, release) if is_named else (usual, text)
        # The app knows what it does for a variant: there the text is the variant's name.
        arm = {"variant": known[0], "release": known[1]} if args.assigned_by == "gateway" else {"variant": text}
        arms.append({**arm, "weight": weight})
    return arms


def _usual(args: argparse.Namespace, number: int) -> str:
    return "treatment" if len(args.treatment) == 1 else f"treatment-{number + 1}"


def _metrics(args: argparse.Namespace) -> list[dict[str, Any]]:
    margins, better = dict(args.margin), dict(args.better)
    roles = [(args.primary, "primary"), *((one, "guardrail") for one in args.guardrail)]
    roles += [(one, "secondary") for one in args.secondary]
    unknown = sorted((margins.keys() | better.keys()) - {name for name, _ in roles})
    if unknown:
        raise CommandFailed(f"{unknown[0]} is none of the metrics of this experiment", ExitCode.USAGE)
    return [
        {
            "name": name,
            "role": role,
            **({"margin": margins[name][0], "relative": margins[name][1]} if name in margins else {}),
            **({"better": better[name]} if name in better else {}),
        }
        for name, role in roles
    ]


def _length(args: argparse.Namespace) -> dict[str, Any] | None:
    if args.mde is not None:
        if args.horizon is not None:
            raise CommandFailed("--horizon and --mde both say how long; give one", ExitCode.USAGE)
        if args.baseline is None or len(args.treatment) > 1:
            said = "--mde needs --baseline, the primary's rate today, and one --treatment"
            raise CommandFailed(f"{said}; else plan it and give --horizon", ExitCode.USAGE)
        return None
    if args.horizon is None:
        return None
    number, of_days = args.horizon
    if not of_days:
        return {"units": number, "days": None if args.users is None else max(1, round(number / args.users))}
    if args.users is None:
        raise CommandFailed("a horizon in days needs --users N/day, to know its units", ExitCode.USAGE)
    return {"units": max(1, round(number * args.users)), "days": number}


def _planned(args: argparse.Namespace, api: ApiClient) -> dict[str, Any]:
    """The horizon at which an effect of --mde is found with a power of 0.8."""
    asked = {"baseline": args.baseline, "mde": args.mde, "sessions_per_user": args.sessions_per_user}
    asked |= {"users_per_day": args.users, "alpha": args.alpha, "split": args.split}
    planned = api.post("/api/v1/experiments/plan", {name: one for name, one in asked.items() if one is not None})
    return {"units": planned["units"], "days": planned["days"]}


def _print(told: dict[str, Any]) -> None:
    from server.cli.rendering import cell, print_table

    rows = [
        (cell(one["variant"], 60), cell(one["release"] or "the app knows", 60), f"{100 * one['share']:.4g} %")
        for one in told["arms"]
    ]
    print_table(("variant", "release", "share"), rows, right=("share",))
    metrics = [(cell(one["name"], 60), one["role"], one["better"], _margin_text(one)) for one in told["metrics"]]
    print_table(("metric", "role", "better", "margin"), metrics)
    for line in _length_lines(told):
        print(line)
    for line in told["says"]:
        print(line, file=sys.stderr)


def _length_lines(told: dict[str, Any]) -> list[str]:
    """How long it looks, and what it has besides metrics where that is not the usual."""
    from server.cli.terminal import plain

    horizon, said = told["horizon"], told["definition"]
    lines = ["no horizon: a confidence sequence, which may be looked at for ever"]
    if horizon is not None:
        days = "" if horizon["days"] is None else f" in {horizon['days']} days"
        lines = [f"horizon {horizon['units']:,} units{days}: a group-sequential test, each complete day a look"]
    if said["strata"]:
        lines.append(f"strata {plain(', '.join(said['strata']), 300)}")
    if said["slot"] != [0.0, 1.0]:
        lines.append(f"slot {said['slot'][0]:.4g} to {said['slot'][1]:.4g} of the layer {said['layer']}")
    if said["holdout"]:
        lines.append(f"holdout {100 * said['holdout']:.4g} % of the units of {plain(told['app'], 60)}")
    return lines


def _margin_text(one: dict[str, Any]) -> str:
    if one["margin"] is None:
        return "-"
    return f"{100 * one['margin']:.4g} %" if one["relative"] else f"{one['margin']:g}"


def _names(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def split(text: str) -> list[float]:
    """Weights with / between. Raises ArgumentTypeError."""
    try:
        return [float(one) for one in text.split("/")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no split: weights with / between, as 90/10") from None


def _horizon(text: str) -> tuple[int, bool]:
    number, of_days = text.removesuffix("d"), text.endswith("d")
    if not number.isdigit() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no horizon: 20000 (units) or 14d (days)")
    return int(number), of_days


def per_day(text: str) -> float:
    """'800/day' or '800'. Raises ArgumentTypeError."""
    number, slash, per = text.partition("/")
    try:
        found = float(number)
    except ValueError:
        found = 0.0
    if found <= 0 or (slash and per not in ("day", "d")):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number of units a day: as 800/day")
    return found


def _slot(text: str) -> tuple[float, ...]:
    return tuple(share(one) for one in text.split("-"))[:2]


def _margin(text: str) -> tuple[str, tuple[float, bool]]:
    name, separator, number = text.rpartition("=")
    try:
        margin = float(number.removesuffix("%"))
    except ValueError:
        margin = -1.0
    if not separator or not name or margin < 0:
        raise argparse.ArgumentTypeError(f"{text[:60]!r} is no margin: METRIC=0.02, or METRIC=5%")
    return name, (margin / 100 if number.endswith("%") else margin, number.endswith("%"))


def _better(text: str) -> tuple[str, str]:
    name, _, way = text.rpartition("=")
    if not name or way not in ("higher", "lower"):
        raise argparse.ArgumentTypeError(f"{text[:60]!r} is not METRIC=higher or METRIC=lower")
    return name, way
