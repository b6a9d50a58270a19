"""An experiment's analysis in the terminal: decision, figures, health, strata as a forest of characters, mix."""

from __future__ import annotations

from typing import Any, Final

from rich.text import Text

from server.cli.rendering import cell, console, print_table
from server.cli.terminal import plain

Json = dict[str, Any]

WIDTH: Final = 37  # characters of a forest's axis
MARKS: Final = {
    "ok": ("ok", "green"),
    "warning": ("warn", "yellow"),
    "failed": ("FAIL", "bold red"),
    "unknown": ("?", "dim"),
}
WORDS: Final = {
    "ship": "bold green",
    "do_not_ship": "bold red",
    "unhealthy": "bold red",
    "inconclusive": "yellow",
    "keep_running": "cyan",
    "not_started": "dim",
}
_ALL: Final = "all at once"


def print_analysis(told: Json, *, bayes: bool = False) -> None:
    """Prints what `as_json` of an analysis holds; with `bayes` the Bayesian view too."""
    out = console()
    decision = told["decision"]
    out.print(Text(plain(decision["headline"], 400), style=WORDS[decision["word"]]))
    if decision["caution"]:
        out.print(plain(decision["caution"], 400))
    for reason in decision["reasons"]:
        out.print(f"- {plain(reason, 1200)}")
    for note in told.get("notes", []):
        out.print(f"note: {plain(note, 300)}")
    print()
    _print_arms(told)
    print()
    _print_metrics(told)
    if bayes:
        print()
        _print_bayes(told)
    print()
    _print_health(told)
    for one in told["strata"]:
        print()
        _print_strata(told, one)


def forest_line(low: float | None, estimate: float | None, high: float | None, axis: tuple[float, float]) -> str:
    """An interval on an axis of WIDTH characters: a line with a dot, the bar of no difference where it is in sight."""
    left, right = axis
    places = ["·"] * WIDTH

    def place(value: float) -> int:
        share = (value - left) / (right - left) if right > left else 0.5
        return min(WIDTH - 1, max(0, round(share * (WIDTH - 1))))

    if low is not None and high is not None and estimate is not None:
        for column in range(place(low), place(high) + 1):
            places[column] = "─"
    if left <= 0 <= right:
        places[place(0.0)] = "│" if places[place(0.0)] == "·" else "┼"
    if estimate is not None and low is not None:
        places[place(estimate)] = "●"
    return "".join(places)


def _print_arms(told: Json) -> None:
    rows = [
        (
            *(cell(one["variant"], 60), f"{one['n_units']:,}", f"{one['n_sessions']:,}"),
            *(_share(one["share"]), _share(one["expected_share"]), f"{one['n_without']:,}"),
        )
        for one in told["arms"]
    ]
    print_table(("arm", "units", "sessions", "share", "wanted", "no outcome"), rows, right=("units", "sessions"))


def _print_metrics(told: Json) -> None:
    rows = []
    for metric in told["metrics"]:
        for one in metric["variants"]:
            effect, binary = one["effect"], metric["binary"]
            name, role = cell(metric["metric"], 40), metric["role"]
            if effect is None:
                rows.append((name, role, cell(one["variant"], 40), "-", "-", "-", cell(one["why_missing"], 200)))
                continue
            headline = " (stratified)" if metric["headline"] == "stratified" else ""
            interval = f"{_change(effect['low'], binary)} to {_change(effect['high'], binary)}"
            rows.append(
                (
                    *(name, role, cell(one["variant"], 40), _value(effect["control"], binary)),
                    *(_value(effect["treatment"], binary), f"{_change(effect['estimate'], binary)}{headline}"),
                    Text(f"{interval}   {one['finding'].replace('_', ' ')}"),
                )
            )
    level = 100 * (1 - told["alpha"])
    columns = ("metric", "role", "variant", "control", "treatment", "difference", f"{level:g}% interval, finding")
    print_table(columns, rows, right=("control", "treatment"))


def _print_bayes(told: Json) -> None:
    rows = []
    for metric in told["metrics"]:
        for one in metric["variants"]:
            seen, binary = one["bayes"], metric["binary"]
            name = (cell(metric["metric"], 40), cell(one["variant"], 40))
            if seen is None:
                rows.append((*name, "-", "-", "-"))
                continue
            interval = f"{_change(seen['low'], binary)} to {_change(seen['high'], binary)}"
            loss = _change(seen["expected_loss"], binary).lstrip("+")
            rows.append((*name, f"{seen['p_better']:.1%}", loss, interval))
    columns = ("Bayesian view", "variant", "chance that it is better", "expected loss", "credible interval")
    print_table(columns, rows)
    print("nothing is decided by it: it knows nothing of how often it was looked at")


def _print_health(told: Json) -> None:
    rows = []
    for one in told["health"]:
        word, style = MARKS[one["status"]]
        rows.append((Text(word, style=style), one["check"].replace("_", " "), cell(one["text"], 400)))
    print_table(("health", "check", "what was seen"), rows)


def _print_strata(told: Json, one: Json) -> None:
    metric = next(metric for metric in told["metrics"] if metric["metric"] == one["metric"])
    binary = metric["binary"]
    name = _ALL if one["attribute"] == "*" else plain(one["attribute"], 60)
    console().print(Text(f"{plain(one['metric'], 60)} by {name}, {plain(one['variant'], 60)}", style="bold"))
    lines = [(cell(level["level"], 40), level) for level in one["levels"]]
    found = one["simpson"]
    known = [level for _, level in lines if level["low"] is not None] + ([found] if found else [])
    if not known:  # a table of nothing says no more than its reasons
        why = dict.fromkeys(level["why_missing"] or "" for level in one["levels"])
        console().print(f"no level has an estimate: {plain(' '.join(why), 500)}")
        return
    ends = [figure for level in known for figure in (level["low"], level["high"])]
    axis = (min([0.0, *ends]), max([0.0, *ends]))
    rows: list[tuple[Text | str, ...]] = [
        (
            *(level_name, f"{level['n_control']:,}/{level['n_treatment']:,}", _value(level["control"], binary)),
            *(_value(level["treatment"], binary), _forest(level, axis)),
            cell(_change(level["estimate"], binary) if level["low"] is not None else level["why_missing"], 90),
        )
        for level_name, level in lines
    ]
    if found:
        drawn = {"low": found["low"], "high": found["high"], "estimate": found["stratified"]}
        rows.append(("same mix", "", "", "", _forest(drawn, axis), _change(found["stratified"], binary)))
        rows.append(("pooled", "", "", "", "", _change(found["pooled"], binary)))
    right = ("control", "treatment", "n")
    print_table(("level", "n", "control", "treatment", _axis(axis, binary), "difference"), rows, right=right)
    _print_tests(one)
    if one["sentence"]:
        console().print(plain(one["sentence"], 2000))
    if found and found["flagged"]:
        _print_mix(found, binary)


def _forest(level: Json, axis: tuple[float, float]) -> str:
    return forest_line(level["low"], level["estimate"], level["high"], axis)


def _axis(axis: tuple[float, float], binary: bool) -> str:
    left, right = _change(axis[0], binary), _change(axis[1], binary)
    return left + " " * max(1, WIDTH - len(left) - len(right)) + right


def _print_tests(one: Json) -> None:
    parts = []
    if one["cmh"]:
        test = one["cmh"]
        parts.append(
            f"odds ratio {test['odds_ratio']:.4f} ({test['low']:.3f} to {test['high']:.3f}), "
            f"{test['method']} p {test['p_value']:.3g}"
        )
    if one["homogeneity"]:
        alike = one["homogeneity"]
        parts.append(f"{alike['method']} {alike['statistic']:.4g} on {alike['df']}, p {alike['p_value']:.3g}")
    if parts:
        print("; ".join(parts))


def _print_mix(found: Json, binary: bool) -> None:
    rows = [
        (
            *(cell(line["level"], 40), _share(line["share_control"]), _share(line["share_treatment"])),
            *(_value(line["control"], binary), _value(line["treatment"], binary)),
        )
        for line in found["table"]
    ]
    print_table(("mix", "share of control", "share of treatment", "control", "treatment"), rows)
    print(
        f"difference {_change(found['pooled'], binary)} = mix {_change(found['mix'], binary)} "
        f"+ effect {_change(found['effect'], binary)}"
    )


def _value(value: float | None, binary: bool) -> str:
    if value is None:
        return "-"
    return f"{value:.1%}" if binary else f"{value:.4g}"


def _change(value: float, binary: bool) -> str:
    return f"{value * 100:+.1f} pt" if binary else f"{value:+.4g}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
