"""How a cluster's rates are printed: of how many sessions they are known, and as of when a figure is."""

from __future__ import annotations

from typing import Any

from server.cli.rendering import counted, moment

Row = dict[str, Any]


def rate(value: float | None) -> str:
    """A failure rate; of nothing it is no number."""
    return "not known" if value is None else f"{value:.1%}"


def known_of(n_known: int, n_sessions: int) -> str:
    """'known of 4 of 956 sessions'."""
    return f"known of {n_known:,} of {counted(n_sessions, 'session')}"


def run_of(one: Row) -> str:
    """Which run the figures of a cluster are of that are not counted now."""
    ended = "" if one["run_at"] is None else f" ({moment(one['run_at'])[:16]} UTC)"
    return f"run {one['run_id']}{ended}"


def as_of(each: Row) -> str:
    """The time of a figure."""
    return "now" if each["live"] else moment(each["as_of"])[:16]


def counted_now(one: Row) -> str:
    """What is counted of a cluster now."""
    low, high = one["failure_low"], one["failure_high"]
    interval = "" if low is None else f" ({low:.0%} to {high:.0%})"
    return (
        f"now ({moment(one['counted_at'])[:16]} UTC): {counted(one['n_sessions'], 'session')} of "
        f"{counted(one['n_users'], 'user')} ({one['share']:.1%} of the app's); failing {rate(one['failure_rate'])}"
        f"{interval}, {known_of(one['n_known'], one['n_sessions'])}; the rest {rate(one['rest_rate'])}, "
        f"{known_of(one['rest_n_known'], one['rest_n_sessions'])}"
    )
