"""The pages and their addresses. A page is reached from another through the functions here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Final, Literal, NoReturn

import streamlit as st
from streamlit.navigation.page import StreamlitPage


@dataclass(frozen=True, kw_only=True)
class Place:
    """One page: what the sidebar calls it, under which section, and the view that draws it.

    Streamlit's own page object remembers the visit that made it, and one made outside of a visit is not usable ever
    after; so a place makes a new one for each use.
    """

    view: str
    title: str
    icon: str
    section: str = "Observe"
    hidden: bool = False

    def page(self) -> StreamlitPage:
        """Streamlit's page object, for this run of the script."""
        visibility: Literal["visible", "hidden"] = "hidden" if self.hidden else "visible"
        return st.Page(
            self._show,
            title=self.title,
            icon=f":material/{self.icon}:",
            url_path=self.view,
            default=self.view == "overview",
            visibility=visibility,
        )

    def _show(self) -> None:
        import_module(f"dashboard.views.{self.view}").show()


OVERVIEW: Final = Place(view="overview", title="Overview", icon="monitoring")
TRACES: Final = Place(view="traces", title="Traces", icon="account_tree")
TRACE: Final = Place(view="trace", title="Trace", icon="timeline", hidden=True)
TRACE_DIFF: Final = Place(view="trace_diff", title="Trace diff", icon="compare_arrows", hidden=True)
SESSIONS: Final = Place(view="sessions", title="Sessions", icon="forum")
SESSION: Final = Place(view="session", title="Session", icon="chat", hidden=True)
AGENT: Final = Place(view="agent", title="Agent", icon="psychology")
CLUSTERS: Final = Place(view="clusters", title="Clusters", icon="bubble_chart")
CLUSTER: Final = Place(view="cluster", title="Cluster", icon="bubble_chart", hidden=True)
EMERGING: Final = Place(view="emerging", title="Emerging", icon="notifications_active")
RELEASES: Final = Place(view="releases", title="Releases", icon="new_releases")
GATEWAY: Final = Place(view="gateway", title="Gateway", icon="hub")
DATASETS: Final = Place(view="datasets", title="Datasets", icon="dataset", section="Evaluate")
EVALUATIONS: Final = Place(view="evaluations", title="Evaluations", icon="science", section="Evaluate")
COMPARISON: Final = Place(view="comparison", title="Comparison", icon="compare_arrows", section="Evaluate", hidden=True)
GATES: Final = Place(view="gates", title="Gates", icon="traffic", section="Evaluate")
JUDGES: Final = Place(view="judges", title="Judges", icon="gavel", section="Evaluate")
SCORES: Final = Place(view="scores", title="Scores", icon="scoreboard", section="Evaluate")
ANNOTATE: Final = Place(view="annotate", title="Annotate", icon="rate_review", section="Evaluate")
EXPERIMENTS: Final = Place(view="experiments", title="Experiments", icon="experiment", section="Experiment")
ROLLOUTS: Final = Place(view="rollouts", title="Rollouts", icon="rocket_launch", section="Experiment")
PLANNER: Final = Place(view="planner", title="Planner", icon="calculate", section="Experiment")
MONITORS: Final = Place(view="monitors", title="Monitors", icon="monitor_heart", section="Watch")
MONITOR: Final = Place(view="monitor", title="Monitor", icon="monitor_heart", section="Watch", hidden=True)
ALERTS: Final = Place(view="alerts", title="Alerts", icon="notifications", section="Watch")
INCIDENTS: Final = Place(view="incidents", title="Incidents", icon="crisis_alert", section="Watch")
INCIDENT: Final = Place(view="incident", title="Incident", icon="crisis_alert", section="Watch", hidden=True)
JOBS: Final = Place(view="jobs", title="Jobs", icon="manage_history", section="Watch")
PLACES: Final = (
    OVERVIEW,
    TRACES,
    TRACE,
    TRACE_DIFF,
    SESSIONS,
    SESSION,
    AGENT,
    CLUSTERS,
    CLUSTER,
    EMERGING,
    RELEASES,
    GATEWAY,
    DATASETS,
    EVALUATIONS,
    COMPARISON,
    GATES,
    JUDGES,
    ANNOTATE,
    SCORES,
    EXPERIMENTS,
    ROLLOUTS,
    PLANNER,
    MONITORS,
    MONITOR,
    ALERTS,
    INCIDENTS,
    INCIDENT,
    JOBS,
)


def sections() -> dict[str, list[StreamlitPage]]:
    """Every page by the section of the sidebar that it stands in."""
    found: dict[str, list[StreamlitPage]] = {}
    for place in PLACES:
        found.setdefault(place.section, []).append(place.page())
    return found


def open_trace(trace_id: str, span_id: str | None = None) -> NoReturn:
    """Goes to the page of a trace, with one span selected if given."""
    where = {"trace_id": trace_id} | ({"span_id": span_id} if span_id else {})
    st.switch_page(TRACE.page(), query_params=where)


def open_session(session_id: str) -> NoReturn:
    """Goes to the page of a session."""
    st.switch_page(SESSION.page(), query_params={"session_id": session_id})


def open_sessions(app: str, *, variant: str | None = None, since: str | None = None) -> NoReturn:
    """Goes to the sessions of an app, of one variant and one range of time if given."""
    where = {"app": app, "variant": variant, "since": since}
    st.switch_page(SESSIONS.page(), query_params={name: value for name, value in where.items() if value})


def open_datasets() -> NoReturn:
    """Goes to the list of datasets."""
    st.switch_page(DATASETS.page())


def open_dataset(name: str) -> NoReturn:
    """Goes to one dataset."""
    st.switch_page(DATASETS.page(), query_params={"name": name})


def open_evaluations() -> NoReturn:
    """Goes to the list of evaluation runs."""
    st.switch_page(EVALUATIONS.page())


def open_run(run_id: str) -> NoReturn:
    """Goes to one evaluation run."""
    st.switch_page(EVALUATIONS.page(), query_params={"run": run_id})


def open_experiments() -> NoReturn:
    """Goes to the list of experiments."""
    st.switch_page(EXPERIMENTS.page())


def open_experiment(name: str) -> NoReturn:
    """Goes to one experiment."""
    st.switch_page(EXPERIMENTS.page(), query_params={"experiment": name})


def open_table_analysis() -> NoReturn:
    """Goes to the page that draws the analysis of a table."""
    st.switch_page(EXPERIMENTS.page(), query_params={"view": "table"})


def open_planner() -> NoReturn:
    """Goes to the planner of experiments."""
    st.switch_page(PLANNER.page())


def open_rollouts() -> NoReturn:
    """Goes to the list of rollouts."""
    st.switch_page(ROLLOUTS.page())


def open_rollout(app: str, rollout_id: str) -> NoReturn:
    """Goes to one rollout of an app."""
    st.switch_page(ROLLOUTS.page(), query_params={"app": app, "id": rollout_id})


def open_judges() -> NoReturn:
    """Goes to the list of judges."""
    st.switch_page(JUDGES.page())


def open_judge(name: str, view: str = "agreement") -> NoReturn:
    """Goes to one judge: `view` is agreement, rate, biases, disagreements or runs."""
    st.switch_page(JUDGES.page(), query_params={"judge": name, "view": view})


def open_queues() -> NoReturn:
    """Goes to the list of label queues."""
    st.switch_page(ANNOTATE.page())


def open_queue(name: str, view: str = "annotate") -> NoReturn:
    """Goes to a label queue: `view` is annotate, overview or adjudicate."""
    st.switch_page(ANNOTATE.page(), query_params={"queue": name, "view": view})


def open_trace_diff(a: str, b: str) -> NoReturn:
    """Goes to the comparison of two traces or sessions, by their ids."""
    st.switch_page(TRACE_DIFF.page(), query_params={"a": a, "b": b})


def open_comparison(baseline: str, candidate: str) -> NoReturn:
    """Goes to the comparison of two runs, by their ids."""
    st.switch_page(COMPARISON.page(), query_params={"a": baseline, "b": candidate})


def open_traces(app: str, release: str, *, since: str | None = None) -> NoReturn:
    """Goes to the traces of one release, of one range of time if given."""
    where = {"app": app, "release": release} | ({"since": since} if since else {})
    st.switch_page(TRACES.page(), query_params=where)


def open_clusters(app: str | None = None) -> NoReturn:
    """Goes to the clusters of an app."""
    st.switch_page(CLUSTERS.page(), query_params={"app": app} if app else {})


def open_cluster(cluster_id: str) -> NoReturn:
    """Goes to one cluster."""
    st.switch_page(CLUSTER.page(), query_params={"id": cluster_id})


def open_emerging(app: str | None = None) -> NoReturn:
    """Goes to what emerges, of an app if given."""
    st.switch_page(EMERGING.page(), query_params={"app": app} if app else {})


def open_monitors(app: str | None = None) -> NoReturn:
    """Goes to the monitors, of an app if given."""
    st.switch_page(MONITORS.page(), query_params={"app": app} if app else {})


def open_monitor(name: str, view: str = "course", *, series: str | None = None) -> NoReturn:
    """Goes to one monitor: `view` is course, backtest, edit or versions; of one that is split, one of its series."""
    where = {"name": name, "view": view} | ({"series": series} if series else {})
    st.switch_page(MONITOR.page(), query_params=where)


def open_new_monitor(app: str | None = None) -> NoReturn:
    """Goes to where a monitor is made."""
    st.switch_page(MONITOR.page(), query_params={"new": "1"} | ({"app": app} if app else {}))


def open_alerts(app: str | None = None, *, monitor: str | None = None) -> NoReturn:
    """Goes to the alerts, of an app or a monitor if given."""
    where = {"app": app, "monitor": monitor}
    st.switch_page(ALERTS.page(), query_params={name: value for name, value in where.items() if value})


def open_incidents(app: str | None = None, *, monitor: str | None = None) -> NoReturn:
    """Goes to the list of incidents, of an app, or with alerts of a monitor, if given."""
    where = {"app": app, "monitor": monitor}
    st.switch_page(INCIDENTS.page(), query_params={name: value for name, value in where.items() if value})


def open_incident(incident: str) -> NoReturn:
    """Goes to one incident, such as I-17."""
    st.switch_page(INCIDENT.page(), query_params={"id": incident})


def open_jobs() -> NoReturn:
    """Goes to the list of jobs."""
    st.switch_page(JOBS.page())


def open_job(name: str) -> NoReturn:
    """Goes to one job."""
    st.switch_page(JOBS.page(), query_params={"job": name})


def open_releases(app: str) -> NoReturn:
    """Goes to the releases of an app."""
    st.switch_page(RELEASES.page(), query_params={"app": app})


def open_agent(trace_id: str) -> NoReturn:
    """Goes to the reasoning of one turn."""
    st.switch_page(AGENT.page(), query_params={"trace_id": trace_id})
