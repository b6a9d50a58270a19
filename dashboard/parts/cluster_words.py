"""What is said of a cluster: its state, its failures beside the rest of the app's, how it grows. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from dashboard import human
from dashboard.api import Row
from dashboard.parts.verdict import Said, of

STATES: Final = {
    "born": Said(title="born", colour="blue", icon="fiber_new"),
    "regressed": Said(title="regressed", colour="red", icon="replay"),
    "grown": Said(title="grown", colour="orange", icon="trending_up"),
    "split": Said(title="split", colour="blue", icon="call_split"),
    "merged": Said(title="merged", colour="blue", icon="call_merge"),
    "continued": Said(title="continued", colour="gray", icon="trending_flat"),
    "fixed": Said(title="fixed", colour="green", icon="check_circle"),
    "died": Said(title="died", colour="gray", icon="do_not_disturb_on"),
}
STATE_COLOUR: Final = {  # names of the palette
    "born": "blue",
    "regressed": "red",
    "grown": "orange",
    "split": "pink",
    "merged": "pink",
    "continued": "sky",
    "fixed": "green",
    "died": "grey",
}
KINDS: Final = {
    "new": Said(title="new", colour="blue", icon="fiber_new"),
    "growing": Said(title="growing", colour="orange", icon="trending_up"),
}
RUN: Final = {
    "waiting": Said(title="queued", colour="gray", icon="hourglass_empty"),
    "running": Said(title="running", colour="blue", icon="play_circle"),
    "done": Said(title="done", colour="green", icon="check_circle"),
    "failed": Said(title="failed", colour="red", icon="error"),
    "cancelled": Said(title="cancelled", colour="gray", icon="cancel"),
}


NOT_KNOWN: Final = "not known"


def known(value: object) -> float | None:
    """A number that can be shown, else None."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def percent(value: object) -> str:
    """0.384 -> "38.4%", 0.0004 -> "0.04%"; an en dash for what is not known."""
    found = known(value)
    if found is None:
        return human.UNKNOWN
    return f"{100 * found:.1f}%" if found >= 0.001 or found == 0 else f"{100 * found:.2g}%"


def share(value: object) -> str | None:
    """A share for a cell; None for what is not known."""
    return None if known(value) is None else percent(value)


def failure_rate(value: object) -> str:
    """A failure rate; of nothing it is no number."""
    return NOT_KNOWN if known(value) is None else percent(value)


def failing(one: Row) -> str:
    """ "38.4% fail (33.0% to 43.1%)", or that nothing is known of how its sessions ended."""
    if known(one.get("failure_rate")) is None:
        return "not known how they ended"
    low, high = one.get("failure_low"), one.get("failure_high")
    between = "" if known(low) is None or known(high) is None else f" ({percent(low)} to {percent(high)})"
    return f"{percent(one['failure_rate'])} fail{between}"


def known_of(one: Row, n_known: str = "n_known", n: str = "n_sessions") -> str:
    """ "known of 4 of 956 sessions": how much a failure rate stands on. Numbers only."""
    return f"known of {_count(one, n_known):,} of {human.plural(_count(one, n), 'session')}"


def rest_known_of(one: Row) -> str:
    """The same of the rest of the app."""
    return known_of(one, "rest_n_known", "rest_n_sessions")


def of_known(one: Row, n_known: str = "n_known", n: str = "n_sessions") -> str:
    """ "4 of 956", for a cell."""
    return f"{_count(one, n_known):,} of {_count(one, n):,}"


def beyond(one: Row) -> float | None:
    """How many more of its sessions failed than of as many of the rest of the app; None where either is not known."""
    rest = known(one.get("rest_rate"))
    if rest is None or known(one.get("failure_rate")) is None:
        return None
    return float(one.get("n_failed") or 0) - rest * float(one.get("n_known") or 0)


def worse(one: Row) -> bool:
    """Whether its interval lies above the rest of the app, as far as enough is known to say so."""
    return one.get("fails_more") is True


def times(value: object) -> str:
    """A ratio: 3.14 -> "×3.1", 0.42 -> "×0.42", 240 -> "×240"; infinite is said so."""
    if isinstance(value, int | float) and math.isinf(value):
        return "×∞"
    found = known(value)
    if found is None:
        return human.UNKNOWN
    return f"×{found:.0f}" if found >= 100 else f"×{found:.1f}" if found >= 1 else f"×{found:.2f}"


def ratio(one: Row, name: str = "rate_ratio") -> str:
    """ "×3.1 (×1.9 to ×4.8)"; a bound that is not known is left open: "×3.1 (at least ×1.9)"."""
    low, high = known(one.get("low")), known(one.get("high"))
    if low is not None and high is not None:
        return f"{times(one.get(name))} ({times(low)} to {times(high)})"
    return f"{times(one.get(name))} (at least {times(low)})" if low is not None else times(one.get(name))


def q_value(value: object) -> str:
    """0.00031 -> "q 0.00031", 0.0123 -> "q 0.012", below a millionth "q < 0.000001"."""
    found = known(value)
    if found is None:
        return "q not known"
    return "q < 0.000001" if found < 1e-6 else f"q {found:.2g}" if found >= 0.0001 else f"q {found:.6f}".rstrip("0")


def note(one: Row) -> str:
    """What matters most of it, in one line: that it emerges, else what it costs in failures; nothing else."""
    if found := one.get("emerging"):
        kind = of(KINDS, found.get("kind")).title.lower()
        return f"{kind}: fails {ratio(found)} as often as before, {q_value(found.get('q_value'))}"
    more = beyond(one)
    if more is None or not worse(one) or more < 1:
        return ""
    return f"about {human.plural(round(more), 'failure')} more than in as many other sessions"


def lag(told: Row) -> str:
    """How long new sessions waited for their place; nothing where none was placed yet."""
    found = known(told.get("lag_ms"))
    return "" if found is None else f"New sessions placed within {human.duration(found)} of their end."


def trend_said(trend: Sequence[Row]) -> str:
    """The bars of a card in words."""
    if not trend:
        return "no sessions by day yet"
    n, failed, n_known = (sum(_count(day, name) for day in trend) for name in ("n", "n_failed", "n_known"))
    many = f"{human.plural(n, 'session')}, {failed:,} failed of {n_known:,} that are known"
    return f"{many}, in the {human.plural(len(trend), 'day')} shown"


def _count(one: Row, name: str) -> int:
    return int(one.get(name) or 0)


def shown_id(value: object) -> str:
    """An id as people write it; anything else is spelled without what could be read as a mark."""
    return "".join(one for one in str(value) if one.isalnum() or one in "-_")[:40]
