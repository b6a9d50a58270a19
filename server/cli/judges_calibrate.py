"""Calibrate a judge and show what is known of it: agreement, human ceiling, biases, canaries, and the verdict on it.

Exit codes: 0 certified, 1 failed, 3 undetermined; with --dry-run 0.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from server.cli.connection import add_connection_arguments, add_json_argument, client_of
from server.cli.filters import since
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.terminal import plain

PATIENCE_S: Final = 3_600.0  # canaries wait for models
LOOK_EVERY_S: Final = 1.0
EXITS: Final = {"certified": ExitCode.OK, "failed": ExitCode.FAILED, "undetermined": ExitCode.INCONCLUSIVE}
_STYLES: Final = {"certified": "bold green", "failed": "bold red", "undetermined": "bold yellow"}
MOST_SLICES: Final = 12
_OF_A_SLICE: Final = {"certified": "over the bar", "failed": "below the bar", "undetermined": "open"}

Told = Mapping[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NAME with its options."""
    parser.add_argument("name", metavar="NAME", help="the judge")
    parser.add_argument("--app", help="only verdicts over this app: the certificate is for it alone")
    parser.add_argument("--since", type=since, help="only verdicts of this time (default: all)")
    parser.add_argument("--bar", type=float, default=0.7, help="what kappa's lower bound has to reach (default: 0.7)")
    parser.add_argument(
        "--annotators",
        choices=("experts", "skilled", "crowd"),
        default="skilled",
        help="who labelled: how much worse than a person a judge may be in the alternative-annotator test "
        "(default: skilled)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    parser.add_argument("--no-canaries", action="store_true", help="ask nothing; then no judge is certified")
    parser.add_argument("--dry-run", action="store_true", help="say what it would take; ask and keep nothing")
    add_connection_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Calibrates. Raises CommandFailed."""
    from server.cli.rendering import print_json

    api = client_of(args, timeout_s=PATIENCE_S)
    path = f"/api/v1/judges/{quote(args.name, safe='')}/calibrations"
    body: dict[str, Any] = {"bar": args.bar, "seed": args.seed, "canaries": not args.no_canaries}
    body["annotators"] = args.annotators
    body |= {name: getattr(args, name) for name in ("app", "since") if getattr(args, name)}
    if args.dry_run:
        told = api.post(f"{path}/forecast", body)
        if args.json:
            print_json(told)
        else:
            _print_forecast(told)
        return ExitCode.OK
    with _Progress(args, path):
        made = api.post(path, body)
    state = str(made.get("state"))
    if state not in EXITS:
        raise CommandFailed(f"the server answered no state but {state[:40]!r}", ExitCode.INCONCLUSIVE)
    if args.json:
        print_json(made)
    else:
        print_calibration(made)
    return EXITS[state]


class _Progress:
    """One line on a terminal that says how far it is."""

    def __init__(self, args: argparse.Namespace, path: str) -> None:
        self._api = client_of(args)
        self._path, self._over = path, threading.Event()
        self._shown = sys.stderr.isatty() and not args.json
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> None:
        if self._shown:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._shown:
            self._thread.join(2.0)
            sys.stderr.write("\r\x1b[K")

    def _look(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            try:
                step = self._api.get(self._path, {"limit": 1}).get("under_way")
            except CommandFailed:
                continue
            if step and not self._over.is_set():
                far = f" {step['n_done']} of {step['n_all']}" if step["n_all"] else ""
                sys.stderr.write(f"\r\x1b[K{plain(step['stage'], 40)}{far}")
                sys.stderr.flush()


def print_calibration(made: Told) -> None:
    """A calibration as a person reads it."""
    from server.cli.rendering import console

    out, report = console(), made["report"]
    out.print(made["state"], style=_STYLES[made["state"]], end="")
    out.print(f"  {plain(made['judge'], 100)}@{made['version']}: {plain(made['reason'], 400)}", soft_wrap=True)
    for line in lines_of(report):
        out.print(plain(line, 600), soft_wrap=True)


def lines_of(report: Told) -> Iterator[str]:
    """The report in lines, each figure with its interval."""
    yield from (f"! {note}" for note in report["notes"])
    yield ""
    yield from _agreement(report["agreement"], report)
    yield from _people(report["agreement"])
    yield from _slices(report["agreement"])
    yield from _biases(report["biases"])
    yield from _canaries(report["canaries"])


def figure(found: Any, scale: float = 1.0, unit: str = "") -> str:
    """An estimate with its interval, or why there is none."""
    if found is None:
        return "-"
    if "reason" in found:
        said = found["reason"].replace("_", " ")
        return f"none ({said}{': ' + found['detail'] if found.get('detail') else ''})"
    ends = found.get("interval")
    between = "" if ends is None else f" [{_number(ends['low'] * scale)}, {_number(ends['high'] * scale)}]"
    return f"{_number(found['value'] * scale)}{unit}{between}"


def _number(value: float) -> str:
    """Three digits; what is left of a 0 by the arithmetic is 0."""
    return f"{round(value, 12) + 0.0:.3g}"


def percent(found: Any) -> str:
    """A rate with its interval."""
    return figure(found, 100.0, "%")


def _agreement(agreed: Told, report: Told) -> Iterator[str]:
    kinds = ", ".join(f"{n} of {kind}" for kind, n in report["label_kinds"].items()) or "none"
    weighted = f", worth {agreed['n_effective']:.0f} of equal weight" if agreed["weighted"] else ""
    yield f"{agreed['n']} pairs of verdict and label{weighted}; labels: {kinds}; {report['n_verdicts']} verdicts in all"
    if agreed["missing"]:
        said = ", ".join(f"{n} {why}" for why, n in agreed["missing"].items())
        yield f"missing verdicts (no class, never a fail): {percent(agreed['missing_rate'])}: {said}"
    if not agreed["n"]:
        yield "nothing to compare: label some of what it judged (assay labels create, sample; assay annotate)"
        return
    yield from _coefficients(agreed)
    yield from _confusion(agreed, "outcome" if set(report["label_kinds"]) == {"outcome"} else "people")


def _coefficients(agreed: Told) -> Iterator[str]:
    yield f"agreement        {percent(agreed['agreement'])}"
    for name, words in (
        ("kappa", "kappa"),
        ("kappa_quadratic", "kappa, quadratic"),
        ("alpha", "alpha"),
        ("gwet_ac", "Gwet AC"),
    ):
        if agreed.get(name) is not None:
            yield f"{words:<17}{figure(agreed[name]['estimate'])}"
    of = agreed["certificate"]
    if of["lower"] is not None and of["upper"] is not None:
        yield f"one-sided bounds {of['lower']:.3f} and {of['upper']:.3f}, bar {of['bar']:g} ({agreed['decided_by']})"


def _confusion(agreed: Told, labeller: str) -> Iterator[str]:
    """The labels in the rows, the judge's verdicts in the columns."""
    labels = [str(one)[:16] for one in agreed["labels"]]
    width = max([len(one) for one in labels] + [6])
    yield ""
    yield f"{labeller + ' v  judge >':<20}" + "".join(f"{one:>{width + 2}}" for one in labels)
    for label, row in zip(labels, agreed["counts"], strict=True):
        yield f"{label:<20}" + "".join(f"{n:>{width + 2}}" for n in row)
    for one in agreed["by_label"]:
        said = f"sensitivity {percent(one['sensitivity'])}, specificity {percent(one['specificity'])}"
        yield f"{str(one['label'])[:16]:<17}{said}, precision {percent(one['precision'])}"


def _people(agreed: Told) -> Iterator[str]:
    yield ""
    ceiling = agreed["ceiling"]
    if "reason" in ceiling:
        yield f"human ceiling    {figure(ceiling)}"
    else:
        yield (
            f"human ceiling    kappa {figure(ceiling['kappa']['estimate'])} over {ceiling['n_items']} items by "
            f"{ceiling['n_annotators']} people"
        )
        yield f"judge with them  kappa {figure(ceiling['judge_kappa']['estimate'])}, each person alone"
        yield f"judge - people   {figure(ceiling['judge_minus_people']['estimate'])}"
    other = agreed["alternative"]
    if "reason" in other:
        yield f"alternative test {figure(other)}"
    else:
        said = "may stand in for a person" if other["passed"] else "may not stand in for a person"
        wins = f"wins {100 * other['winning_rate']:.0f}% of people at epsilon {other['epsilon']:g}"
        yield f"alternative test {said}: {wins}"


def _slices(agreed: Told) -> Iterator[str]:
    for name, words in (("segments", "by segment"), ("windows", "over time")):
        parts = agreed[name]
        if len(parts) < 2:
            continue
        yield ""
        yield f"{words} (no correction for how many there are)"
        for one in parts[-MOST_SLICES:] if name == "windows" else parts[:MOST_SLICES]:
            where = one["segment"] if name == "segments" else _day(one["start_ns"])
            state = _OF_A_SLICE.get(one["certificate"]["standing"], "")
            yield f"  {str(where)[:30]:<31}{one['n']:>6} pairs  {figure(one['coefficient']['estimate'])}  {state}"


def _day(start_ns: int) -> str:
    from core.windows import day_of

    return day_of(start_ns)


def _biases(found: Told) -> Iterator[str]:
    yield ""
    yield "biases"
    order = found["order"]
    if order is not None:
        yield f"  order            same winner in both orders {percent(order['consistency'])} of {order['n']} pairs"
        yield f"                   P(first) - 1/2 {figure(order['first_rate'])}, p of none {order['p_no_bias']:.2g}"
    if found["length"] is not None:
        of = found["length"]
        yield f"  length           log odds of a pass at the same label {figure(of['effect'])} over {of['n']} answers"
        yield f"                   short answers pass {percent(of['short'])}, long ones {percent(of['long'])}"
    if found["length_controlled"] is not None:
        of = found["length_controlled"]
        yield f"  length           wins {percent(of['raw'])}, at equal length {percent(of['controlled'])}"
    if found["longer_chosen"] is not None:
        of = found["longer_chosen"]
        yield f"  longer chosen    {percent(of['judge'])}, by the labels {percent(of['gold'])}"
    if found["self_preference"] is not None:
        of = found["self_preference"]
        if of["labelled"]:
            yield f"  own family       {figure(of['preference'])} more often than people, against other families"
            yield f"                   of answers that people pass {figure(of['equal_opportunity'])}"
        else:
            yield f"  own family       family disagreement {figure(of['disagreement'])}: quality or bias, unlabelled"
    of = found["self_consistency"]
    if of["n"]:
        yield f"  asked again      another verdict for {percent(of['flip_rate'])} of {of['n']}"
    for name, why in found["why"].items():
        yield f"  {name.replace('_', ' '):<17}not known: {why}"


def _canaries(found: Told) -> Iterator[str]:
    yield ""
    if not found["ran"]:
        yield f"canaries were not run: {found['why']}"
        return
    outcome = "stood" if found["passed"] else "NOT STOOD"
    yield f"canaries, of {found['n_sources']} conversations: {outcome} (p corrected for all kinds, by Holm)"
    for one in found["nulls"]:
        worse = "  beats chance" if one["beats_chance"] else ""
        passed = f"{one['n_passed']} of {one['n']} pass, chance {one['chance']:g}, p {one['p_adjusted']:.2g}"
        yield f"  {one['kind']:<17}{passed}{worse}"
    of = found["injection"]
    moved = "  moves it" if of["shifts"] else ""
    rose = f"{of['n_up']} scores rise, {of['n_down']} fall, of {of['n']}; p {of['p_adjusted']:.2g}"
    yield f"  injected         {rose}{moved}"
    yield f"                   attack success {percent(of['success'])} of answers that did not pass"
    cost = found["usage"]["cost_usd"]
    money = "no price is known" if cost is None else f"${cost:.4g}"
    yield f"  {found['usage']['n_calls']} calls, {money}"


def _print_forecast(told: Told) -> None:
    from server.cli.rendering import console

    out = console()
    out.print(f"{told['n_labels']} labels beside {told['n_verdicts']} verdicts")
    if told["why_not"]:
        out.print(f"no canaries: {plain(told['why_not'], 300)}", soft_wrap=True)
        return
    money = "no price is known" if told["usd"] is None else f"about ${told['usd']:.4g}, at most ${told['usd_most']:.4g}"
    out.print(f"{told['n_canaries']} canaries, {told['n_calls']} calls, {money}", soft_wrap=True)
