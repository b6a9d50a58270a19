"""Gateway: what passes through it, what it adds, what it keeps back, what it costs, and how its upstreams are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import address, charts, frame, horizontal, lists, over_time, palette, states
from dashboard.parts.window import ALL_TIME, Window, between
from dashboard.text import inert, one_line

_STATES: Final = {"closed": "well", "half_open": "tried again", "open": "given a rest"}
_EXAMPLES: Final = 50
_OF_EACH: Final = 5  # refused calls of one reason
_HELP: Final = {
    "Errors": "Calls that no upstream answered; what a policy refused is not among them.",
    "Refused": "Calls that a limit, a budget or a content rule kept back.",
    "Overhead p50": "Half of the calls took less than this in the gateway: all but waiting for upstream and caller.",
    "Overhead p95": "95% of the calls took less than this in the gateway: all but waiting for upstream and caller.",
}
_OUTCOMES: Final = (("ok", "ok", "blue"), ("error", "error", "red"), ("refused", "refused", "orange"))
_ABORTED: Final = ("aborted", "caller left", "grey")


@states.guarded
def show() -> None:
    """The page."""
    window, every_s = frame.head("Gateway", "Model calls that pass through the gateway", live_key="gateway-live")
    app = _app(window)
    st.fragment(_numbers, run_every=every_s)(window, app)


def _app(window: Window) -> str | None:
    known = address.first("gateway", "app")
    counts = lists.read_facets(states.api(), ("app",), window.parameters)["app"]
    options = [*counts, *([known] if known and known not in counts else [])]
    if len(options) < 2 and not known:
        return None
    chosen: str | None = st.selectbox(
        "App",
        options,
        index=options.index(known) if known else None,
        key="gateway-app",
        placeholder="All apps",
        label_visibility="collapsed",
        format_func=lambda value: one_line(value, 40),
        width=260,
        icon=":material/smart_toy:",
    )
    address.keep("gateway", "app", chosen)
    return chosen


@states.guarded
def _numbers(window: Window, app: str | None) -> None:
    api = states.api()
    told, now = _read(window, app), api.get("/gateway/status")
    if window.endless and told["series"]:
        window = _since_the_first(window, told["series"])
        told = _read(window, app)
    _state(now)
    _about(app)
    if not told["n_calls"]:
        _nothing(window, app)
        _upstreams(told["upstreams"], now["upstreams"])
        _budgets(now["budgets"])
        return
    _tiles(told)
    _charts(told, window)
    _upstreams(told["upstreams"], now["upstreams"])
    _budgets(now["budgets"])
    _refused(told["refused"])


def _read(window: Window, app: str | None) -> Row:
    about = {**window.parameters, "bucket": window.bucket}
    return _summary(states.api(), about | ({"app": app} if app else {}))


@st.cache_data(ttl=8, max_entries=16, show_spinner=False)
def _summary(_api: Api, parameters: Mapping[str, str]) -> Row:
    """Kept for less than the time between two refreshes, so that viewers of one page share an answer."""
    return _api.get("/gateway/summary", parameters)


def _since_the_first(window: Window, series: Sequence[Row]) -> Window:
    """Of all time, what begins with the first call: charts of ten years show nothing."""
    first = datetime.fromtimestamp(min(int(one["bucket_ns"]) for one in series) // 10**9, UTC)
    return replace(between(first, datetime.now(UTC) + timedelta(minutes=1)), words=window.words, endless=True)


def _state(now: Row) -> None:
    """Whether it runs, and what is wrong with its file."""
    config = now.get("config") or {}
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="assay-gateway-state"):
        if now["running"]:
            st.badge("running", icon=":material/check_circle:", color="green")
            counts = [(len(now.get(name) or []), name) for name in ("models", "upstreams", "plans")]
            said = ", ".join(human.plural(n, name.removesuffix("s")) for n, name in counts if n)
            st.caption(said or "no models yet: its file names none")
        else:
            st.badge("does not answer", icon=":material/cloud_off:", color="orange")
            st.text(inert(now.get("why"), 300))
    if not now["running"]:
        st.caption("What follows is what its calls of this time range left behind. It is started by")
        st.code("assay serve gateway", language=None)
    if config.get("problem"):
        st.warning(inert(config["problem"], 300), icon=":material/warning:")
    for problem in (config.get("problems") or [])[:5]:
        with st.container(border=True, key=f"assay-error-text-gateway-{abs(hash(str(problem)))}"):
            st.text(inert(problem, 400))
            st.caption("The gateway's file is not used as it is now; what was read before stays.")


def _about(app: str | None) -> None:
    """Whose calls these are."""
    said = "Only calls that went through the gateway: imported history and agents that ask their provider are not here."
    st.caption(said + (" Budgets, and how upstreams are now, are of all apps." if app else ""))


def _nothing(window: Window, app: str | None) -> None:
    """No call in the window: how to send one."""
    url = states.api().gateway_url()
    with st.container(border=True, key="assay-empty-gateway"):
        st.subheader("No calls through the gateway here", anchor=False, icon=":material/filter_alt_off:")
        if app:
            st.text(f"None of the app {inert(app, 80)} {window.words}.")
        else:
            st.text(f"None {window.words}.")
        st.caption("Any OpenAI client becomes a caller with two variables; the key is one of Assay:")
        st.code(
            f'export OPENAI_BASE_URL={url}/v1\nexport OPENAI_API_KEY="$ASSAY_API_KEY"', language="bash", wrap_lines=True
        )
        st.caption("or try one call and see which upstream answered, what every policy did and what it cost:")
        st.code('assay gateway try "hello"', language="bash")
        if window.parameters.get("since") != ALL_TIME and st.button(
            "Show all time", icon=":material/history:", on_click=frame.choose, args=(ALL_TIME,)
        ):
            st.rerun()


def _tiles(told: Row) -> None:
    n_looked = told["cache"]["n_looked_up"]
    cache = (
        f"Answers that the cache had, of the {human.plural(n_looked, 'call')} that looked; others may not be cached."
    )
    with st.container(horizontal=True, key="assay-numbers-gateway", gap="small"):
        for name, value in _figures(told):
            about = cache if name.startswith("Cache") else _HELP.get(name)
            st.metric(name, value.replace("$", "\\$"), border=True, width="stretch", help=about)


def _figures(told: Row) -> Sequence[tuple[str, str]]:
    n_calls, outcomes, overhead = told["n_calls"], told["outcomes"], told["overhead_ms"] or {}
    cache = told["cache"]
    n_looked = cache["n_looked_up"]
    return (
        ("Calls", human.count(n_calls)),
        ("Errors", human.share(outcomes["error"], n_calls)),
        ("Refused", human.share(outcomes["refused"], n_calls)),
        ("Overhead p50", human.duration(overhead.get("p50_ms"))),
        ("Overhead p95", human.duration(overhead.get("p95_ms"))),
        (f"Cache hits of {human.count(n_looked)}", human.share(cache["n_exact"] + cache["n_semantic"], n_looked)),
        ("Cost", human.usd(told["cost_usd"])),
    )


def _charts(told: Row, window: Window) -> None:
    shade = palette.colours()
    span, buckets = over_time.span(window, datetime.now(UTC))
    cells = {int(one["bucket_ns"]): one for one in told["series"]}

    def series(name: str) -> list[float | None]:
        return [(cells.get(at) or {}).get(name, 0) for at in buckets]

    shown = [*_OUTCOMES, *([_ABORTED] if told["outcomes"]["aborted"] else [])]
    first, second = st.columns(2, gap="medium")
    with first:
        calls = {words: series(name) for name, words, _ in shown}
        charts.bars("Calls", span, calls, key="gateway-calls", colours=[shade[colour] for *_, colour in shown])
        _cache(told["cache"], span, series("n_cache_hits"))
    with second:
        horizontal.overhead(
            sorted(told["policies"], key=lambda one: -one["mean_ms"]), told["overhead_ms"], "gateway-overhead"
        )
        st.caption(
            "Enterprises budget 500 ms for a platform like this: 100 for personal information, 50 for compliance, "
            "20 for tracing. The scale is logarithmic: each mark is a hundred times the one before."
        )
        _masked(told["masked"])


def _cache(cache: Row, span: charts.Span, hits: Sequence[float | None]) -> None:
    if not cache["n_looked_up"]:
        return
    shade = palette.colours()
    charts.bars("Answers from the cache", span, {"from the cache": hits}, key="gateway-cache", colours=[shade["green"]])
    saved = cache["saved_usd"]
    said = (
        f"{cache['n_exact']:,} exact and {cache['n_semantic']:,} by meaning, of {cache['n_looked_up']:,} that looked."
    )
    least = "less than" if saved is not None and 0 < saved < 0.0001 else "about"
    about = f" They saved {least} {human.usd(saved).removeprefix('<')}." if saved is not None else ""
    st.caption((said + about).replace("$", "\\$"))


def _masked(masked: Sequence[Row]) -> None:
    if masked:
        rows = [(one["entity"], int(one["n"] or 0)) for one in masked[:12]]
        horizontal.counts("Values masked before a model saw them", rows, "gateway-masked", "pink")


def _upstreams(seen: Sequence[Row], now: Sequence[Row]) -> None:
    """What the calls of the window say of each upstream, and how it is now."""
    by_name = {str(one["upstream"]): one for one in seen}
    state = {str(one.get("upstream")): one for one in now}
    names = list(dict.fromkeys([*by_name, *state]))
    if not names:
        return
    column = st.column_config
    st.subheader("Upstreams", anchor=False)
    known = [by_name.get(name) or {} for name in names]
    current = [state.get(name) or {} for name in names]
    cells: dict[str, Sequence[object]] = {"Upstream": [one_line(name, 60) for name in names]}
    if now:
        cells["Now"] = [_state_words(one) for one in current]
        cells["In flight"] = [one.get("in_flight") for one in current]
        cells["p50"] = [one.get("p50_ms") for one in current]
    cells |= {
        "Requests": [one.get("n_requests") for one in known],
        "Errors": [None if not one else 100 * one["error_rate"] for one in known],
        "Cost": [one.get("cost_usd") for one in known],
        "Came here after": [_fallbacks(one.get("fallbacks") or []) for one in known],
    }
    if now:
        cells["Last error"] = [one_line(one.get("last_error"), 200) or None for one in current]
    lists.plain_table(
        cells,
        {
            "Upstream": column.TextColumn(width=150),
            "Now": column.MultiselectColumn(
                options=list(_STATES.values()), color=["green", "orange", "red"], width=110
            ),
            "In flight": column.NumberColumn(format="localized"),
            "Requests": column.NumberColumn(format="localized", help="Each attempt, of the chosen time range"),
            "Errors": column.NumberColumn(format="%.1f%%"),
            "p50": column.NumberColumn(format="%.1f ms", help="Of its latest answers; of streams, to the first chunk"),
            "Cost": column.NumberColumn(format="$%.4f"),
            "Came here after": column.TextColumn(help="Calls that went on to it, by what happened before", width=200),
            "Last error": column.TextColumn(width=240),
        },
        "upstreams",
    )


def _state_words(one: Row) -> list[str]:
    words = _STATES.get(str(one.get("state")))
    return [words] if words else []


def _fallbacks(reasons: Sequence[Row]) -> str | None:
    return one_line(", ".join(f"{one['reason']} {one['n']:,}" for one in reasons), 200) or None


def _budgets(budgets: Sequence[Row]) -> None:
    """Those that are spent come first, in red."""
    if not budgets:
        return
    st.subheader("Spend against budgets", anchor=False)
    ordered = sorted(budgets, key=lambda one: -_used(one))
    spent = [one for one in ordered if _used(one) >= 1]
    _budget_table(spent, "budgets-spent", palette.colours()["red"])
    _budget_table(ordered[len(spent) :], "budgets", None)


def _budget_table(budgets: Sequence[Row], key: str, colour: str | None) -> None:
    if not budgets:
        return
    column = st.column_config
    lists.plain_table(
        {
            "Budget": [one_line(one.get("name"), 60) for one in budgets],
            "Whose": [_whose(one) for one in budgets],
            "Used": [_used(one) for one in budgets],
            "Spent": [_dollars(one.get("spent_usd")) for one in budgets],
            "Limit": [_dollars(one.get("limit_usd")) for one in budgets],
            "Per": [one_line(one.get("period"), 20) for one in budgets],
            "Then": [one_line(one.get("then"), 20) for one in budgets],
            "Begins anew": [frame.moment(one.get("resets_at")) for one in budgets],
        },
        {
            "Budget": column.TextColumn(width=150),
            "Whose": column.TextColumn(width=180),
            "Used": column.ProgressColumn(format="percent", min_value=0, max_value=1, width=200, color=colour),
            "Spent": column.TextColumn(width=110, alignment="right"),
            "Limit": column.TextColumn(width=110, alignment="right"),
            "Begins anew": column.DatetimeColumn(format="D MMM HH:mm"),
        },
        key,
    )


def _dollars(usd: float | None) -> str | None:
    """0.5 -> "$0.50", 0.00003 -> "$0.00003": cents, and below them as many digits as show two figures."""
    if usd is None:
        return None
    digits = 2 if usd == 0 or usd >= 1 else 1 - math.floor(math.log10(usd))
    whole, _, rest = f"{usd:,.{min(max(digits, 2), 9)}f}".partition(".")
    return f"${whole}.{rest.rstrip('0'):0<2}"


def _used(one: Row) -> float:
    limit = one.get("limit_usd") or 0
    return float((one.get("spent_usd") or 0) / limit) if limit else 1.0


def _whose(one: Row) -> str:
    scope, of = str(one.get("scope")), one.get("of")
    if scope == "tenant":
        return one_line(f"tenant {of or ''}".strip(), 80)
    match = one.get("match")
    return one_line(f"{scope} {of or match}" if of or match not in (None, "", "*") else f"no {scope} named", 80)


def _refused(refused: Sequence[Row]) -> None:
    """Why calls were refused, and the latest of each reason; a click opens the trace."""
    if not refused:
        return
    st.subheader("Refused calls", anchor=False)
    rows = [(str(one["code"]), int(one["n"])) for one in refused[:12]]
    horizontal.counts("By reason", rows, "gateway-refused", "orange")
    latest = (one for reason in refused for one in reason["examples"][:_OF_EACH])
    shown = sorted(latest, key=lambda one: one["started_at"], reverse=True)[:_EXAMPLES]
    with st.container(key="assay-table"):
        chosen = lists.grid(
            {
                "started": [frame.moment(one["started_at"]) for one in shown],
                "reason": [one_line(one["code"], 40) for one in shown],
                "rule": [one_line(one["rule"], 60) or None for one in shown],
                "why": [_why(one) for one in shown],
                "app": [one_line(one.get("app"), 60) for one in shown],
                "model": [one_line(one.get("model"), 60) for one in shown],
            },
            "gateway-refused-grid",
            height=420,
            renamed={
                "reason": lists.text_column("Reason", 120),
                "rule": lists.text_column("Rule or budget", 130),
                "why": lists.text_column("Why", 560),
            },
        )
    if chosen is not None and chosen < len(shown):
        links.open_trace(shown[chosen]["trace_id"], shown[chosen]["span_id"])


def _why(one: Row) -> str | None:
    """What the caller was told, without the budget's name, which has a column of its own."""
    return one_line(str(one.get("why") or "").removeprefix(f"the budget {one['rule']} "), 300) or None
