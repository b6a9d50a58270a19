"""Emerging: clusters whose failures are new or grow, the share of false ones held; what on-call reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from dashboard import human, links
from dashboard.api import Api, Row
from dashboard.parts import address, app_choice, cluster_run, finding, frame, lists, states, verdict
from dashboard.parts import cluster_words as words
from dashboard.text import inert, one_line

_SINCE: Final = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days"}
_EVERY_S: Final = 20.0
_SHOWN: Final = 40


@st.cache_data(ttl=8, max_entries=16, show_spinner=False)
def _read(_api: Api, app: str | None, since: str) -> tuple[Row, list[Row]]:
    """The feed, and who is watched."""
    told, watches = _api.objects([("/clusters/emerging", {"app": app, "since": since}), ("/clusters/watches", {})])
    return told, list(watches["items"])


@states.guarded
def show() -> None:
    """The page."""
    with st.container(
        horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute", key="assay-head"
    ):
        with st.container(width="content", gap=None):
            st.title("Emerging", anchor=False)
            st.caption(f"Clusters whose failures are new or grow · times in {frame.zone_words()}")
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right", width="content"):
            app = app_choice.choose("emerging", all_too=True)
            since = _since()
    with st.container(key="assay-live-emerging"):
        st.fragment(_feed, run_every=_EVERY_S)(app, since)


def _since() -> str:
    told = address.first("emerging", "since")
    chosen: str | None = st.segmented_control(
        "Found in the last",
        list(_SINCE),
        default=told if told in _SINCE else "7d",
        format_func=_SINCE.__getitem__,
        key="emerging-since",
        label_visibility="collapsed",
        required=True,
    )
    since = chosen or "7d"
    address.keep("emerging", "since", since)
    return since


@states.refreshed
def _feed(app: str | None, since: str) -> None:
    """All of it, read anew while one looks."""
    told, watches = _read(states.api(), app, since)
    found: Sequence[Row] = told["items"]
    looked = frame.moment(told.get("looked_at"))
    _numbers(told, looked is not None)
    if looked is None:
        _never(app, told)
    elif not found:
        nothing(told, since)
    _alerts(told.get("alerts") or [])
    finding.ratios(found)
    for at, one in enumerate(found[:_SHOWN]):
        finding.show(one, at)
    if len(found) > _SHOWN:
        st.caption(f"The newest {_SHOWN} of {len(found):,}.")
    _looks(told.get("looks") or [])
    _watches([one for one in watches if app is None or one["cluster"]["app"] == app])
    if looked is not None:
        ratio = words.known(told.get("overall_ratio"))
        whole = "" if ratio is None else f"All clusters together fail {ratio:.1f} times as often as before. "
        known = "" if told.get("n_known") is None else f", whether a session failed {words.known_of(told)}"
        st.caption(
            f"{whole}Last looked {looked.day} {looked:%b, %H:%M}{known}. The page is read anew every 20 seconds."
        )


def _numbers(told: Row, looked: bool) -> None:
    items: Sequence[Row] = told["items"]
    fdr, spread = words.known(told.get("fdr")), words.known(told.get("dispersion"))
    frame.numbers(
        [
            ("New", human.count(sum(one["kind"] == "new" for one in items))),
            ("Growing", human.count(sum(one["kind"] == "growing" for one in items))),
            ("Tested", human.count(told.get("n_tested")) if looked else human.UNKNOWN),
            ("False, at most", human.UNKNOWN if fdr is None else words.percent(fdr)),
            ("Extra spread", human.UNKNOWN if spread is None else human.score(spread)),
        ],
        "emerging",
    )


def _never(app: str | None, told: Row) -> None:
    with st.container(border=True, key="assay-empty-emerging"):
        st.subheader("Nothing was looked at yet", anchor=False, icon=":material/notifications_active:")
        for said in list(told.get("says") or [])[:4]:
            st.text(inert(said, 400))
        st.caption("Clusters come first, then their counts are held against the weeks before:")
        st.code(cluster_run.command(app or "APP"), language="bash", wrap_lines=True)


def _quiet(told: Row, since: str) -> None:
    with st.container(border=True, key="assay-empty-emerging"):
        st.subheader(f"Nothing emerged in the last {_SINCE[since]}", anchor=False, icon=":material/check_circle:")
        n = told.get("n_tested")
        if n is not None:
            st.text(
                f"{human.plural(int(n), 'cluster')} of the newest look, none of them fails surely more than before."
            )
        for said in list(told.get("says") or [])[:4]:
            st.text(inert(said, 400))


def nothing(told: Row, since: str) -> None:
    """What it means that nothing was found: that all is quiet, or that nobody could tell."""
    (_quiet if told.get("n_tested") else _untested)(told, since)


def _untested(told: Row, since: str) -> None:
    """No finding, and no test either: that nothing emerged is not known."""
    with st.container(border=True, key="assay-empty-emerging"):
        st.subheader("Nothing could be tested", anchor=False, icon=":material/help:")
        st.text(f"That no finding is here from the last {_SINCE[since]} does not say that nothing emerged.")
        for said in list(told.get("says") or [])[:8]:
            st.text(inert(said, 400))


def _looks(looks: Sequence[Row]) -> None:
    """The last look over each app, where several are asked for."""
    if len(looks) < 2:
        return
    with st.expander(f"Looks at {len(looks)} apps", icon=":material/apps:", key="emerging-looks"):
        column = st.column_config
        lists.plain_table(
            {
                "App": [one_line(one["app"], 60) for one in looks],
                "Last looked": [frame.moment(one.get("looked_at")) for one in looks],
                "Clusters tested": [one.get("n_tested") for one in looks],
                "False, at most": [words.share(one.get("fdr")) for one in looks],
                "All together": [words.times(one.get("overall_ratio")) for one in looks],
            },
            {
                "App": column.TextColumn(width=260),
                "Last looked": column.DatetimeColumn(format="D MMM HH:mm", width=120),
                "Clusters tested": column.NumberColumn(format="localized", width=120),
                "All together": column.TextColumn(width=110, help="How often all clusters fail, against before"),
            },
            "emerging-looks",
        )


def _alerts(alerts: Sequence[Row]) -> None:
    """Watched clusters that grew, the newest first."""
    if not alerts:
        return
    with st.container(border=True, key="assay-cluster-alerts", gap="small"):
        st.markdown("**Watched clusters that grew**")
        for at, one in enumerate(alerts[:10]):
            with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"assay-alert-{at}"):
                verdict.badge(verdict.of(finding.ALERTS, one.get("state")))
                st.text(inert(one.get("text"), 300))
                cluster_id = words.shown_id(one.get("cluster_id") or (one.get("cluster") or {}).get("id") or "")
                if cluster_id and st.button(
                    cluster_id, type="tertiary", icon=":material/bubble_chart:", key=f"alert-open-{at}"
                ):
                    links.open_cluster(cluster_id)


def _watches(watches: Sequence[Row]) -> None:
    """Whom somebody wants to be told of."""
    with st.expander(f"Watched clusters ({len(watches)})", icon=":material/visibility:", key="emerging-watches"):
        if not watches:
            st.caption("None. Watch one on its page, or:")
            st.code("assay clusters watch C-0042", language="bash")
            return
        column = st.column_config
        lists.plain_table(
            {
                "Cluster": [one_line(one["cluster"]["title"], 120) for one in watches],
                "Id": [words.shown_id(one["cluster"]["id"]) for one in watches],
                "App": [one_line(one["cluster"]["app"], 60) for one in watches],
                "Told from": [words.times(one.get("min_ratio")) for one in watches],
                "Also told": [one_line(one.get("host"), 80) or None for one in watches],
                "By": [one_line(one.get("made_by"), 60) for one in watches],
                "Since": [frame.moment(one.get("made_at")) for one in watches],
                "Alerts": [len(one.get("alerts") or []) for one in watches],
            },
            {
                "Cluster": column.TextColumn(width=280),
                "Since": column.DatetimeColumn(format="D MMM HH:mm", width=110),
                "Alerts": column.NumberColumn(format="localized", width=70),
            },
            "emerging-watches",
        )
