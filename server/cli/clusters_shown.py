"""Clusters, their runs and what emerges as the commands print them. Text of sessions is untrusted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from server.cli.clusters_rates import as_of, counted_now, known_of, rate, run_of
from server.cli.rendering import cell, console, counted, duration, moment, money, print_table

POLL_S: Final = 0.5
OVER: Final = frozenset({"done", "failed", "cancelled"})
MOST_LEVELS: Final = 12
MOST_NOISE: Final = 10  # runs
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_TITLES: Final = {
    "read": "sessions read",
    "fit": "embedder fitted",
    "embed": "embedded",
    "reduce": "reduced",
    "cluster": "clustered",
    "stability": "clustered again, for stability",
    "map": "placed on the map",
    "lineage": "matched to the registry",
    "names": "named",
    "profile": "compared with the rest",
    "write": "written",
}

Row = dict[str, Any]


def follow(ask: Callable[[], Row], told: Row) -> Row:
    """The run when it is over; until then its stages, each with a bar, on standard error."""
    err = Console(stderr=True)
    err.print(cell(f"{told['id']}: Ctrl-C leaves it going in the server"))
    columns = (TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        tasks: dict[str, Any] = {}
        while told["status"] not in OVER:
            for stage in told["stages"]:
                name = _TITLES.get(stage["name"], stage["name"])
                if name not in tasks:
                    tasks[name] = bar.add_task(name, total=None, said="")
                total = stage["total"] or None
                said = f"{stage['done']:,} of {stage['total']:,}" if stage["total"] > 1 else ""
                bar.update(tasks[name], total=total, completed=stage["done"], said=said)
            time.sleep(POLL_S)
            told = ask()
    return told


def print_forecast(told: Row) -> None:
    """What a run would take."""
    out = console()
    of = f"{told['app']}: {counted(told['n_sessions'], 'session')} from {moment(told['window']['start'])}"
    out.print(cell(f"{of} to {moment(told['window']['end'])} (UTC)", 300))
    out.print(cell(f"{told['n_to_embed']:,} of them to embed by {told['embedder']}", 300))
    out.print(cell(f"whether they failed: {known_of(told['n_known'], told['n_sessions'])}", 300))
    if told["method"] is not None:
        out.print(cell(f"clustered by {told['method']}, at least {told['min_cluster_size']} sessions a cluster", 300))
    _says(told)
    out.print("a dry run: nothing was begun")


def print_runs(items: Sequence[Row]) -> None:
    """A line for each run."""
    columns = ("run", "app", "status", "began (UTC)", "sessions", "clusters", "noise", "by", "what")
    rows = [
        (
            one["id"], cell(one["app"], 60), one["status"], moment(one["started_at"]), _count(one["n_sessions"]),
            _count(one["n_clusters"]), _share(one["noise_share"]), cell(one["asked_by"], 40), _what(one),
        )
        for one in items
    ]  # fmt: skip
    print_table(columns, rows, right=("sessions", "clusters", "noise"))


def print_run(one: Row) -> None:
    """A run with its stages."""
    out = console()
    out.print(cell(f"{one['id']}  {one['status']}  {one['app']}", 300))
    window = one["window"]
    out.print(cell(f"sessions that began from {moment(window['start'])} to {moment(window['end'])} (UTC)", 300))
    if one["stages"]:
        rows = [
            (_TITLES.get(each["name"], each["name"]), _steps(each), duration(1000 * each["seconds"]))
            for each in one["stages"]
        ]
        print_table(("stage", "steps", "took"), rows, right=("steps",))
    if one["status"] == "done":
        noise = "" if one["noise_share"] is None else f", {one['noise_share']:.1%} noise"
        out.print(
            cell(f"{counted(one['n_clusters'], 'cluster')} of {counted(one['n_sessions'], 'session')}{noise}", 300)
        )
        if one["n_known"] is not None:
            share = rate(one["n_failed"] / one["n_known"] if one["n_known"] else None)
            out.print(cell(f"failing {share}, {known_of(one['n_known'], one['n_sessions'])}, as of this run", 300))
    if one["embedder"]:
        out.print(cell(f"embedded by {one['embedder']}; parameters {one['params_hash']}; {_peak(one)}", 300))
    if one["error"]:
        out.print(cell(one["error"], 500, "bold red" if one["status"] == "failed" else ""))
    _says(one)
    if one["status"] == "done" and one["n_clusters"]:
        out.print(cell(f"look at them with: assay clusters list --app {one['app']}", 300))


def print_clusters(told: Row) -> None:
    """A line for each cluster."""
    out = console()
    items = told["items"]
    if items:
        columns = (
            *("id", "state", "sessions", "failing", "95 %", "known of", "rest", "rest known of", "users", "cost"),
            *("28 days", "last seen (UTC)", "title"),
        )
        rows = [
            (
                one["id"], _state(one), _count(one["n_sessions"]), rate(one["failure_rate"]), _interval(one),
                f"{one['n_known']:,} of {one['n_sessions']:,}", rate(one["rest_rate"]),
                f"{one['rest_n_known']:,} of {one['rest_n_sessions']:,}", _count(one["n_users"]),
                money(one["cost_usd"]), _trend(one["trend"]), moment(one["last_seen"])[:16], cell(_title(one), 200),
            )
            for one in items
        ]  # fmt: skip
        right = ("sessions", "failing", "known of", "rest", "rest known of", "users", "cost")
        print_table(columns, rows, right=right)
        counted_at = moment(items[0]["counted_at"])[:16]
        out.print(cell(f"counted at {counted_at} UTC, with the outcomes that had come; cost is of the last run", 300))
    noise = told["noise"]
    if told["window"] is not None:
        share = "" if noise["share"] is None else f" ({noise['share']:.1%})"
        out.print(
            cell(
                f"{counted(len(items), 'cluster')} shown, {told['n_all']:,} live; of "
                f"{counted(told['n_sessions'], 'session')} {noise['n']:,}{share} are in none, {told['n_waiting']:,} "
                "wait to be clustered with the next",
                400,
            )
        )
    _print_noise(noise)
    if told["lag_ms"] is not None:
        lag, at = duration(told["lag_ms"]), moment(told["lag_at"])[:16]
        out.print(cell(f"new sessions placed within {lag} of their end, last at {at} UTC", 300))
    _says(told)


def print_cluster(one: Row) -> None:
    """All that is known of a cluster."""
    out = console()
    out.print(cell(f"{one['id']}  {_title(one)}", 300, "bold"))
    if one["sentence"]:
        out.print(cell(one["sentence"], 400))
    out.print(cell(f"{_state(one)} · {one['app']} · {_since(one)}", 300))
    out.print(
        cell("terms: " + (", ".join(each["term"] for each in one["terms"]) or "none that three users share"), 400)
    )
    out.print(cell(counted_now(one), 500))
    out.print(cell(f"as of {run_of(one)}: cost of one {money(one['cost_usd'])}{_score(one)}", 400))
    _print_releases(one)
    if one["emerging"]:
        told = one["emerging"]
        out.print(cell(f"{told['kind']}: {told['rate_ratio']:.1f} times as often, q = {told['q_value']:.3g}", 300))
    _print_figures(one)
    _print_exemplars(one)
    _print_lineage(one)
    _says(one)


def print_sessions(items: Sequence[Row]) -> None:
    """A line for each session."""
    rows = [
        (one["session_id"], moment(one["started_at"]), _failed(one["failed"]), f"{one['confidence']:.2f}",
         cell(one["first_input"], 300))
        for one in items
    ]  # fmt: skip
    print_table(("session", "began (UTC)", "failed", "confidence", "first message"), rows, right=("confidence",))


def print_map(told: Row) -> None:
    """How many sessions have a place, by cluster."""
    out, counts = console(), dict[str | None, int]()
    for name in told["points"]["cluster"]:
        counts[name] = counts.get(name, 0) + 1
    out.print(cell(f"{told['n_shown']:,} of {told['n']:,} sessions have their places shown; --json has them", 300))
    ordered = sorted(counts.items(), key=lambda each: (-each[1], str(each[0])))
    if ordered:
        print_table(("cluster", "sessions"), [(name or "none", f"{n:,}") for name, n in ordered], right=("sessions",))
    _says(told)


def print_emerging(told: Row) -> None:
    """The feed."""
    out = console()
    for one in told["items"]:
        head = f"{one['day']}  {one['cluster']['id']}  {one['kind']}  {one['cluster']['title']}"
        out.print(cell(head, 300, "bold"))
        high = "" if one["high"] is None else f" to {one['high']:.1f}"
        out.print(
            cell(
                f"  {one['rate_ratio']:.1f} times as often ({one['low']:.1f}{high}), q = {one['q_value']:.3g}, p = "
                f"{one['p_value']:.3g}; {one['n']} failing where {one['expected']:.1f} were to be expected, "
                f"{counted(one['n_users'], 'user')}, since {moment(one['first_seen'])[:16]} UTC",
                500,
            )
        )
        for change in one["changed"]:
            out.print(cell(f"  changed: {change['text']}", 400))
    for one in told["alerts"]:
        out.print(cell(f"{one['day']}  alert ({one['state']}): {one['text']}", 500))
    if not told["items"]:
        out.print("nothing is new or growing")
    if told["looked_at"]:
        fdr = f"; of findings at most {told['fdr']:.0%} are expected to be wrong" if told["fdr"] is not None else ""
        out.print(cell(f"looked at {moment(told['looked_at'])} UTC: {told['n_tested']} clusters tested{fdr}", 400))
        if told["overall_ratio"] is not None:
            out.print(f"all clusters together fail {told['overall_ratio']:.1f} times as often as before")
        if told["n_known"] is not None:
            known = known_of(told["n_known"], told["n_sessions"])
            out.print(cell(f"whether they failed, of the seven days: {known}", 300))
    _says(told)


def print_watches(items: Sequence[Row]) -> None:
    """A line for each watched cluster."""
    rows = [
        (
            one["cluster"]["id"], one["cluster"]["state"], f"{one['min_ratio']:g}", _share(one["rate"]),
            str(len(one["alerts"])), moment(one["made_at"])[:16], cell(one["made_by"], 40), one["host"] or "-",
            cell(one["cluster"]["title"], 200),
        )
        for one in items
    ]  # fmt: skip
    columns = ("id", "state", "at", "was", "alerts", "since (UTC)", "by", "also told", "title")
    print_table(columns, rows, right=("at", "was", "alerts"))


def _print_noise(noise: Row) -> None:
    """How much of each run was noise, the newest run last; a share that rises says that much is new."""
    shares = [_share(each["share"]) for each in noise["history"][-MOST_NOISE:]]
    if len(shares) > 1:
        console().print(cell(f"noise from run to run: {', '.join(shares)}", 400))


def _print_releases(one: Row) -> None:
    if one["releases"]:
        said = ", ".join(f"{each['release']} ({each['n']:,})" for each in one["releases"][:MOST_LEVELS])
        console().print(cell(f"releases as of {run_of(one)}: {said}", 400))


def _print_figures(one: Row) -> None:
    if one["figures"]:
        rows = [
            (each["name"], _value(each, ""), _value(each, "rest"), as_of(each), cell(each["note"] or "", 200))
            for each in one["figures"]
        ]
        print_table(("figure", "here (95 %)", "rest of the app (95 %)", "as of (UTC)", "note"), rows)
    if one["wrong_at"] or one["profile"]:
        console().print(cell(f"below, as of {run_of(one)}:", 300))
    if one["wrong_at"]:
        wrong = [
            (each["kind"], cell(each["name"], 80), str(each["n"]), _share(each["share"]), _share(each["share_rest"]))
            for each in one["wrong_at"]
        ]
        print_table(("goes wrong at", "name", "sessions", "here", "rest"), wrong)
    levels = [each for each in one["profile"] if each["low"] is not None and (each["low"] > 1 or each["high"] < 1)]
    if levels:
        unlike = [
            (each["attribute"], cell(each["level"], 80), str(each["n"]), _share(each["share"]),
             _share(each["share_rest"]), f"{each['ratio']:.2f} ({each['low']:.2f} to {each['high']:.2f})")
            for each in levels[:MOST_LEVELS]
        ]  # fmt: skip
        print_table(("differs in", "level", "sessions", "here", "rest", "ratio (95 %)"), unlike)


def _print_exemplars(one: Row) -> None:
    out = console()
    for each in one["exemplars"]:
        out.print(cell(f"{each['session_id']}  {_failed(each['failed'])}", 300, "dim"))
        out.print(cell(f"  user: {each['first_input']}", 300))
        out.print(cell(f"  end:  {each['outcome_text']}", 300))


def _print_lineage(one: Row) -> None:
    rows = [
        (moment(each["at"])[:16], each["kind"], f"{each['n_sessions']:,}", cell(each["text"], 300))
        for each in one["lineage"]
    ]
    if rows:
        print_table(("lineage (UTC)", "became", "sessions", "why"), rows, right=("sessions",))


def _says(told: Row) -> None:
    for line in told["says"]:
        console().print(cell(line, 500))


def _steps(stage: Row) -> str:
    """'148', '20 of 148' while it is under way, a dash where they are not known."""
    if not stage["total"]:
        return "-"
    return f"{stage['total']:,}" if stage["done"] == stage["total"] else f"{stage['done']:,} of {stage['total']:,}"


def _what(one: Row) -> str:
    if one["status"] == "running":
        return _TITLES.get(one["stage"], one["stage"] or "begins")
    return "what waited" if one["scope"] == "waiting" else "-"


def _peak(one: Row) -> str:
    return "its memory is not known" if one["peak_mib"] is None else f"{one['peak_mib']:,.0f} MiB at most"


def _state(one: Row) -> str:
    marks = [one["state"], "unstable" if one["stable"] is False else "", "watched" if one["watched"] else ""]
    return " ".join(mark for mark in marks if mark)


def _title(one: Row) -> str:
    return str(one["title"] or one["id"])


def _since(one: Row) -> str:
    return f"first seen {moment(one['first_seen'])[:16]}, last {moment(one['last_seen'])[:16]} UTC"


def _count(n: int | None) -> str:
    return "-" if n is None else f"{n:,}"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _interval(one: Row) -> str:
    if one["failure_low"] is None:
        return "-"
    return f"({one['failure_low']:.0%} to {one['failure_high']:.0%})"


def _failed(failed: bool | None) -> str:
    return {True: "failed", False: "fine", None: "not known"}[failed]


def _score(one: Row) -> str:
    return "" if one["score"] is None else f", score {one['score']:.2f}"


def _trend(days: Sequence[Row]) -> str:
    most = max((day["n"] for day in days), default=0)
    if not most:
        return "-"
    return "".join(_EIGHTHS[-(-8 * day["n"] // most)] for day in days)


def _value(one: Row, prefix: str) -> str:
    names = (prefix or "value", f"{prefix}_low" if prefix else "low", f"{prefix}_high" if prefix else "high")
    value, low, high = (one[name] for name in names)
    if value is None:
        return "not known"
    said = _of_unit(value, one["unit"])
    return said if low is None else f"{said} ({_of_unit(low, one['unit'])} to {_of_unit(high, one['unit'])})"


def _of_unit(value: float, unit: str) -> str:
    match unit:
        case "share":
            return f"{value:.1%}"
        case "usd":
            return money(value)
        case "ms":
            return duration(value)
        case _:
            return f"{value:.3g}"
