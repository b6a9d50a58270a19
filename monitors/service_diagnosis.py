"""The diagnosis of an incident: what moved with it, where, what was deployed before, and sessions to open.

Sessions are not kept with the incident: they are looked for when somebody opens it, so that an erased one is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl

from core.clock import NS_PER_S
from core.ids import TenantId
from core.windows import Window
from evaluators.catalogue import BY_NAME
from evaluators.records import Direction as Better
from monitors.alert_records import plain
from monitors.diagnosis.attribution import attribution_of, where
from monitors.diagnosis.changes import change_of
from monitors.diagnosis.contributions import Attribution, Groups, within_change
from monitors.diagnosis.evidence import Candidate, Deployed, Onset, examples, nearest, onset_of
from monitors.diagnosis.mixes import mix_change_of
from monitors.diagnosis.records import Change, Course, MixCourse
from monitors.diagnosis.scoring import diagnose
from monitors.grids import Row
from monitors.incident_records import Incident, IncidentStatus, Member
from monitors.records import Kind
from monitors.series import BUILT_IN, GROUNDING, OUTCOME, SAFETY, Series, Source, series_of
from monitors.service_judges import judges_of
from monitors.service_series import FAILED_SESSIONS, Wanted, rows_of
from store import monitor_groups
from store.control.control import Control
from store.monitor_groups import DIMENSIONS, OVERLAPPING
from store.monitor_series import BucketsAsked, cluster_buckets, model_buckets, tool_buckets
from store.score_samples import score_names
from store.tenant import TenantStore

BEFORE_NS: Final = 7 * 86_400 * NS_PER_S  # held against
STEP_S: Final = 300
GOING_ON_NS: Final = 600 * NS_PER_S  # a session that began later may not be over
TYPICAL: Final = 0.95
AGAIN_S: Final = (0, 900, 3600)  # after it opened: with more points since, more can be told
# What evaluators say beside the built-in series that patterns know.
SCORES: Final = (
    *(f"score:{name}" for name in (OUTCOME, "loop_free", "redundant_calls", "repeated_questions", "injection_attempt")),
    *(f"score:{name}" for name in (*SAFETY, *GROUNDING, "entity_support", "id_support", "link_support")),
    *(f"score:{name}" for name in ("empty_answer", "truncated_output", "model_error_rate")),
)


def due_diagnosis(incident: Incident, known: Mapping[str, Any] | None, now_ns: int) -> bool:
    """Whether an incident is to be diagnosed now: when it opens, and twice later while it still fires."""
    if incident.status is IncidentStatus.CLOSED or not incident.firing:
        return known is None and incident.status is not IncidentStatus.CLOSED
    n_made = 0 if known is None else int(known.get("n", 1))
    return n_made < len(AGAIN_S) and now_ns - incident.opened_ns >= AGAIN_S[n_made] * NS_PER_S


@dataclass(frozen=True, kw_only=True)
class Diagnosing:
    """Diagnoses incidents of one tenant, as of now."""

    control: Control
    store: TenantStore
    now_ns: int

    def diagnosed(self, incident: Incident, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The diagnosis as JSON: `n` counts those that were made."""
        lead = self._lead(incident)
        window = self._window(incident)
        courses = self._courses(incident.app, window)
        onset = self._onset(lead, courses, incident)
        evaluator = self._evaluator(lead)
        found = self._attributions(incident.app, evaluator, window, onset.at_ns)
        changes = [change_of(one, onset_ns=onset.at_ns, now_ns=window.end_ns) for one in courses.values()]
        changes += self._mixes(incident.app, window, onset.at_ns)
        changes += self._within(found) if evaluator in BUILT_IN["resolution"].evaluators else []
        changes += self._shapes(incident.app, window, onset.at_ns)
        told = diagnose(changes)
        made = {
            **told.as_json(),
            "n": 1 + (0 if before is None else int(before.get("n", 1))),
            "at_ns": self.now_ns,
            "onset": asdict(onset),
            "where": [one.as_json() for one in found[:4]],
            "nearest": asdict(nearest(deployed(self.control, self.store.tenant, incident.app), onset)),
            "lead": {"monitor": lead.monitor, "series": lead.series, "evaluator": evaluator},
        }
        kept: dict[str, Any] = plain(made)
        return kept

    def _lead(self, incident: Incident) -> Member:
        """The alert that fired first, and of several resolution before others: it is what the others do to users."""
        firing = incident.firing or incident.members
        return min(firing, key=lambda one: (one.fired_ns, not one.series.startswith("resolution"), one.series))

    def _window(self, incident: Incident) -> Window:
        end = self.now_ns // (STEP_S * NS_PER_S) * STEP_S * NS_PER_S
        return Window(start_ns=min(incident.onset_ns, end - STEP_S * NS_PER_S) - BEFORE_NS, end_ns=end)

    def _courses(self, app: str, window: Window) -> dict[str, Course]:
        """Every series that patterns know, as far as the app has it."""
        names = [*BUILT_IN, *SCORES, *self._tools(app, window), *self._judges()]
        wanted = [
            Wanted(name=name, app=app, spec=_by_session(series_of(name)), step_s=STEP_S, window=window)
            for name in dict.fromkeys(names)
        ]
        read = rows_of(self.store, wanted, judges_of(self.control, self.store.tenant))
        return {one.name: _course(one.spec, read[one.name]) for one in wanted if read[one.name]}

    def _tools(self, app: str, window: Window) -> list[str]:
        hour = BucketsAsked(window=window, step_s=3600)
        found = tool_buckets(self.store, hour).filter((pl.col("app") == app) & pl.col("tool").is_not_null())
        most = found.group_by("tool").agg(pl.col("n").sum()).sort("n", "tool", descending=[True, False]).head(30)
        return [f"tool_errors:{name}"[:300] for name in most["tool"] if name.strip()]  # names are the agent's own

    def _judges(self) -> list[str]:
        return [f"agreement:{one.name}" for one in self.control.judges(self.store.tenant)]

    def _onset(self, lead: Member, courses: Mapping[str, Course], incident: Incident) -> Onset:
        """When the leading series began to be otherwise, near where its alert fired; else where that fired."""
        at = incident.onset_ns
        course = courses.get(lead.series.partition("{")[0])
        found = None if course is None else onset_of(_until(course, lead.resolved_ns))
        if found is None or abs(found.at_ns - at) > 6 * 3600 * NS_PER_S:
            step = STEP_S * NS_PER_S
            return Onset(at_ns=at - step, low_ns=at - 12 * step, high_ns=at, z=0.0)
        return found

    def _mixes(self, app: str, window: Window, onset_ns: int) -> list[Change]:
        made = []
        hour = BucketsAsked(window=window, step_s=900, by="model")
        by_model = model_buckets(self.store, hour)
        clusters = cluster_buckets(self.store, BucketsAsked(window=window, step_s=900))
        documents = monitor_groups.document_buckets(self.store, app, window, 900)
        mine = pl.col("app") == app
        frames = {
            "mix:response_model": by_model.filter(mine),
            "mix:cluster": clusters.filter(mine),
            "mix:document": documents,
        }
        for name, frame in frames.items():
            course = _mix(name, frame)
            if course is not None:
                made.append(mix_change_of(course, onset_ns=onset_ns, now_ns=window.end_ns))
        return made

    def _evaluator(self, lead: Member) -> str:
        """Whose scores say which sessions were bad: the leading series' own, else those of resolution."""
        name = lead.series.partition("{")[0]
        spec = BUILT_IN.get(name) or (series_of(name) if ":" in name else BUILT_IN["resolution"])
        some = spec.evaluators if spec.source is Source.SCORES else BUILT_IN["resolution"].evaluators
        return self._first_that_speaks(some)

    def _first_that_speaks(self, evaluators: Sequence[str]) -> str:
        window = Window(start_ns=self.now_ns - BEFORE_NS, end_ns=self.now_ns + 1)
        there = set(score_names(self.store, window)["evaluator"])
        return next((one for one in evaluators if one in there), evaluators[0])

    def _attributions(self, app: str, evaluator: str, window: Window, onset_ns: int) -> tuple[Attribution, ...]:
        frames = {
            dimension: monitor_groups.group_sums(self.store, app, evaluator, dimension, window, onset_ns)
            for dimension in DIMENSIONS
        }
        whole = np.array([_sums(frames["release"], since) for since in (False, True)])
        groups = (
            _groups(dimension, frame, whole if dimension in OVERLAPPING else None)
            for dimension, frame in frames.items()
        )
        return where([one for one in groups if one is not None])

    def _within(self, found: Sequence[Attribution]) -> list[Change]:
        by_cluster = next((one for one in found if one.dimension == "cluster"), None)
        return [] if by_cluster is None else [within_change(by_cluster)]

    def _shapes(self, app: str, window: Window, onset_ns: int) -> list[Change]:
        """Turns and tool calls of the typical session, within clusters. One that began just now may go on."""
        over = Window(start_ns=window.start_ns, end_ns=max(window.end_ns - GOING_ON_NS, window.start_ns + 1))
        frame = monitor_groups.session_shapes(self.store, app, over, onset_ns)
        return typical_changes(frame)


def typical_changes(frame: pl.DataFrame) -> list[Change]:
    """The changes of `turns` and `tool_calls` within clusters, of sessions as `session_shapes` counts them: what lies
    beyond the 95th percentile counts as lying there, so that a few sessions that go astray are not the typical one."""
    made = []
    for series, name in (("turns:within", "n_turns"), ("tool_calls:within", "n_calls")):
        value = pl.col(name).clip(upper_bound=_percentile(frame, name))
        sums = {"n": pl.col("n"), "total": pl.col("n") * value, "squares": pl.col("n") * value**2}
        groups = _groups("cluster", frame.group_by("since", "split").agg(**{k: v.sum() for k, v in sums.items()}), None)
        if groups is not None:
            made.append(within_change(attribution_of(groups), series))
    return made


def _percentile(frame: pl.DataFrame, name: str) -> float:
    """The value that TYPICAL of the counted sessions do not exceed."""
    frame = frame.sort(name)
    reached = (frame["n"].cum_sum() >= TYPICAL * float(frame["n"].sum())).arg_true()
    return float(frame[name][reached[0]]) if len(reached) else 0.0


def deployed(control: Control, tenant: TenantId, app: str) -> list[Deployed]:
    """What was changed of an app: releases, plans, rollouts with what happened to them."""
    made = [
        Deployed(what="release", name=one.spec.name, at_ns=one.created_at_ns) for one in control.releases(tenant, app)
    ]
    for plan in control.plans(tenant, app):
        weights = ", ".join(f"{name} {weight:g}" for name, weight in sorted(plan.spec.weights.items()) if weight > 0)
        made.append(Deployed(what="plan", name=weights[:200], at_ns=plan.made_at_ns))
    for rollout in control.rollouts(tenant, app)[:20]:
        for event in control.rollout_events(tenant, rollout.rollout_id):
            if event.kind in ("deploy", "step", "promote", "roll_back"):
                name = f"{rollout.candidate}: {event.text}"
                made.append(Deployed(what="rollout", name=name[:200], at_ns=event.at_ns, id=rollout.rollout_id))
    return made


def example_sessions(store: TenantStore, app: str, diagnosis: Mapping[str, Any], until_ns: int) -> tuple[str, ...]:
    """Ten sessions to open: bad ones since the onset, of the group in which it happened."""
    evaluator, onset = diagnosis["lead"]["evaluator"], int(diagnosis["onset"]["low_ns"])
    window = Window(start_ns=onset, end_ns=max(until_ns, onset + 1))
    rows = monitor_groups.scored_sessions(store, app, evaluator, window)
    lower = _is_lower_better(evaluator)
    found = [
        Candidate(
            session_id=row["session_id"], at_ns=row["at_ns"], user_id=row["user_id"],
            badness=row["value"] if lower else 1 - row["value"],
            groups={name: row[name] for name in monitor_groups.OF_SESSIONS if row[name] is not None},
        )
        for row in rows.iter_rows(named=True)
    ]  # fmt: skip
    places = [
        (one["dimension"], one["contributions"][0]["value"])
        for one in diagnosis["where"]
        if one["verdict"] in ("only_here", "more_here") and one["contributions"]
    ]
    return examples(found, places)


def _is_lower_better(evaluator: str) -> bool:
    known = BY_NAME.get(evaluator)
    return known is not None and known.spec.direction is Better.LOWER


def _by_session(spec: Series) -> Series:
    """Tool errors as the share of sessions: one that calls a failing tool thirty times is one event, not thirty."""
    is_rate = spec.source is Source.TOOLS and spec.kind is Kind.RATE
    return replace(spec, figure=FAILED_SESSIONS) if is_rate else spec


def _course(spec: Series, rows: Sequence[Row]) -> Course:
    return Course(
        series=spec.name, kind=spec.kind, at_ns=np.array([one.at_ns for one in rows], dtype=np.int64),
        x=np.array([one.x for one in rows]), n=np.array([one.n for one in rows]),
    )  # fmt: skip


def _until(course: Course, end_ns: int | None) -> Course:
    """The course up to where its alert resolved: what came back is no onset."""
    if end_ns is None:
        return course
    keep = course.at_ns < end_ns
    return Course(
        series=course.series, kind=course.kind, at_ns=course.at_ns[keep], x=course.x[keep], n=course.n[keep]
    )  # fmt: skip


def _mix(name: str, frame: pl.DataFrame) -> MixCourse | None:
    frame = frame.filter(pl.col("split").is_not_null())
    if frame["split"].n_unique() < 1 or not frame.height:
        return None
    wide = frame.pivot("split", index="at_ns", values="n", aggregate_function="sum").sort("at_ns")
    values = tuple(sorted(one for one in wide.columns if one != "at_ns"))
    counts = wide.select(pl.col(values).fill_null(0.0)).to_numpy()  # of the whole frame it would make times floats
    return MixCourse(series=name, at_ns=wide["at_ns"].to_numpy(), values=values, counts=counts)


def _sums(frame: pl.DataFrame, since: bool) -> list[float]:
    part = frame.filter(pl.col("since") == since)
    return [float(part[name].sum()) for name in ("n", "total", "squares")]


def _groups(dimension: str, frame: pl.DataFrame, whole: Any) -> Groups | None:
    """The sums as attribution takes them; None of a dimension that has nothing to tell apart."""
    frame = frame.filter(pl.col("split").is_not_null())
    values = tuple(sorted(frame["split"].unique()))
    if len(values) < (2 if whole is None else 1):
        return None
    place = {value: at for at, value in enumerate(values)}
    n, total, squares = (np.zeros((2, len(values))) for _ in range(3))
    for since, split, *sums in frame.select("since", "split", "n", "total", "squares").iter_rows():
        for array, value in zip((n, total, squares), sums, strict=True):
            array[int(since), place[split]] = value
    return Groups(dimension=dimension, values=values, n=n, total=total, squares=squares, whole=whole)
