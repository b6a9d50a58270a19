"""Clusters and what emerges as the commands print them. Text of sessions is untrusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from server.cli.clusters_rates import as_of, counted_now, known_of, rate, run_of
from server.cli.clusters_runs import print_says as _says
from server.cli.clusters_runs import shown_count as _count
from server.cli.clusters_runs import shown_share as _share
from server.cli.rendering import cell, console, counted, duration, moment, money, print_table

MOST_LEVELS: Final = 12
_BY: Final = {  # --sort -> the column that it goes by, none where a column has it anyway, and what that is
    "failures": ("beyond", "failures beyond those of as many sessions at the rest's rate"),
    "size": (None, "sessions"),
    "growth": (
        "growth",
        "how many times as often it fails as before, else sessions of the last 14 days above the 14 before",
    ),
    "cost": ("all cost", "the cost of all its sessions"),
    "newest": ("first seen (UTC)", "when it was found first"),
}
MOST_NOISE: Final = 10  # runs
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
Row = dict[str, Any]


def print_clusters(told: Row, sort: str = "failures") -> None:
    """A line for each cluster, with what they are sorted by."""
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
        by, about = _BY[sort]
        names, cells = list(columns), [list(row) for row in rows]
        if by is not None:
            names.insert(2, by)
            for row, one in zip(cells, items, strict=True):
                row.insert(2, _by(one, sort))
        right = ("sessions", "failing", "known of", "rest", "rest known of", "users", "cost", by or "")
        print_table(names, cells, right=right)
        out.print(cell(f"first those with most of: {about} (--sort {sort})", 300))
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


def _by(one: Row, sort: str) -> str:
    """What a cluster is sorted by."""
    match sort:
        case "failures":
            return "-" if one["excess"] is None else f"{one['excess']:+,.1f}"
        case "growth":
            found = one["emerging"]
            return f"x{found['rate_ratio']:.1f}" if found else f"{one['growth']:+,}"
        case "cost":
            return money(None if one["cost_usd"] is None else one["cost_usd"] * one["n_sessions"])
        case _:
            return moment(one["first_seen"])[:16]


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
    _print_watch(one)
    _print_figures(one)
    _print_wrong(one)
    print_levels(one)
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
    out, several = console(), len(told["looks"]) > 1
    for one in told["items"]:
        of = f"{one['cluster']['app']}  " if several else ""
        head = f"{one['day']}  {of}{one['cluster']['id']}  {one['kind']}  {one['cluster']['title']}"
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
        tested = told["n_tested"] or not told["looked_at"]
        out.print(
            "nothing is new or growing" if tested else "nothing could be tested: whether anything emerges is not known"
        )
    for look in told["looks"]:
        _print_look(look)
    _says(told)


def _print_look(look: Row) -> None:
    """The last look over an app."""
    if look["looked_at"] is None:
        console().print(cell(f"{look['app']}: not looked at yet", 300))
        return
    fdr = f"; of findings at most {look['fdr']:.0%} are expected to be wrong" if look["fdr"] is not None else ""
    tested = counted(look["n_tested"], "cluster")
    whole = ""
    if look["overall_ratio"] is not None:
        whole = f"; all together fail {look['overall_ratio']:.1f} times as often as before"
    console().print(cell(f"{look['app']}: looked at {moment(look['looked_at'])} UTC, {tested} tested{fdr}{whole}", 400))
    if look["n_known"] is not None:
        known = known_of(look["n_known"], look["n_sessions"])
        console().print(cell(f"{look['app']}: whether they failed, of the seven days: {known}", 300))


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
    console().print(cell(f"below, as of {run_of(one)}:", 300))


def _print_wrong(one: Row) -> None:
    """Where it goes wrong: tools and spans that fail, signs without any error."""
    if not one["wrong_at"]:
        console().print(
            "goes wrong at: no tool or span fails in it, and no sign is in it, surely more often than elsewhere"
        )
        return
    wrong = [
        (each["kind"], cell(each["name"], 80), str(each["n"]), _share(each["share"]), _share(each["share_rest"]))
        for each in one["wrong_at"]
    ]
    print_table(("goes wrong at", "name", "sessions", "here", "rest"), wrong)


def print_levels(one: Row) -> None:
    """The levels that surely differ, the surest first, and what of that is chance."""
    levels = [each for each in one["profile"] if each.get("differs")]
    if levels:
        unlike = [
            (each["attribute"], cell(each["level"], 80), f"{each['n']} of {each['n_known']}", _share(each["share"]),
             _share(each["share_rest"]), _times(each), f"{each['q_value']:.2g}")
            for each in levels[:MOST_LEVELS]
        ]  # fmt: skip
        print_table(("differs in", "level", "sessions", "here", "rest", "ratio (95 %)", "q"), unlike)
        of = "sessions: of those in which it is known; q: of levels as sure as this one so many differ by chance"
        console().print(f"{of}, 5 % at most")


def _times(one: Row) -> str:
    """'9.52 (1.47 to 15.11)'; '401 (at least 53.9)' where the rest has none."""
    if one["high"] is None:
        return f"{one['ratio']:.3g} (at least {one['low']:.3g})"
    return f"{one['ratio']:.3g} ({one['low']:.3g} to {one['high']:.3g})"


def _print_watch(one: Row) -> None:
    """What is watched, from when on an alert is raised, and what the last one was."""
    watch = one["watch"]
    if not watch:
        return
    out = console()
    came = "no session of the app in the week before it began" if watch["rate"] is None else (
        f"it was {watch['rate']:.1%} of the app's sessions in the week before"
    )  # fmt: skip
    out.print(
        cell(
            f"watched since {moment(watch['made_at'])[:16]} UTC by {watch['made_by']}: its share of the app's "
            f"sessions; {came}. An alert once it is surely over {watch['min_ratio']:g} times that, or it emerges",
            400,
        )
    )
    to = "the page Emerging, the addresses of the server's settings" + (f", {watch['host']}" if watch["host"] else "")
    last = next(iter(watch["alerts"]), None)
    when = "never yet" if last is None else f"last {moment(last['at'])[:16]} UTC ({last['state']}): {last['text']}"
    out.print(cell(f"told at {to}: {when}", 500))


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


def _state(one: Row) -> str:
    marks = [one["state"], "unstable" if one["stable"] is False else "", "watched" if one["watched"] else ""]
    return " ".join(mark for mark in marks if mark)


def _title(one: Row) -> str:
    return str(one["title"] or one["id"])


def _since(one: Row) -> str:
    return f"first seen {moment(one['first_seen'])[:16]}, last {moment(one['last_seen'])[:16]} UTC"


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
