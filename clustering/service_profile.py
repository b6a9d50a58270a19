"""How the sessions of each cluster differ from the rest of the app: read from the store, computed in profile.py.

A judge's word enters as it is stored, and says so; where the judge is certified, its known errors are taken out of the
shares (Rogan, Gladen 1978, Am J Epidemiol 107:71). Means of judges that are no shares are told as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import polars as pl

from clustering.profile import FEWEST_KNOWN, FIGURES, Figure, Measure, Spec, attributes, figures, users_of, wrong_at
from clustering.records import NOISE, Labels, Progress
from clustering.service_levels import MOST_CHARS, levels_of, places_of
from core.records import EvaluatorKind, TargetKind
from core.windows import LAST_NS, Window
from evaluators.rules.helpfulness import ESCALATES
from store.control.cluster_records import ClusterRunRecord
from store.score_samples import sampled, score_names
from store.tenant import TenantStore

MOST_EVALUATORS: Final = 12  # judges and people whose scores of sessions are told, those of the most scores first
_KINDS: Final = (EvaluatorKind.JUDGE, EvaluatorKind.HUMAN)
_WHO: Final = {EvaluatorKind.JUDGE: "judge", EvaluatorKind.HUMAN: "people"}
_MOSTLY: Final = 0.5
_LEAST_INFORMED: Final = 0.1  # sensitivity + specificity - 1, below which a judge's share says too little


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A certified judge: which share of what passes it passes, and of what fails it fails."""

    name: str
    sensitivity: float
    specificity: float


JudgesOf = Callable[[str, Window], Sequence[Judge]]  # the certified judges of an app in a window


def nobody(app: str, window: Window) -> Sequence[Judge]:
    """No judge is certified."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Profiles:
    """Figures, profile and where it goes wrong, by label."""

    by_label: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def said(self, label: int) -> dict[str, Any]:
        """As the registry keeps it; empty lists where nothing is known."""
        return {"figures": [], "profile": [], "wrong_at": [], "score": None, **self.by_label.get(label, {})}


def profiles_of(
    store: TenantStore,
    run: ClusterRunRecord,
    frame: pl.DataFrame,
    labels: Labels,
    judges: JudgesOf,
    progress: Progress,
) -> Profiles:
    """The profile of every cluster of a run; `frame` (n rows) is of clustering.facets."""
    if labels.max(initial=NOISE) == NOISE:
        return Profiles()
    progress("profile", 0, 3)
    end_ns = max(run.end_ns, int(frame["end_ns"].max() or 0) + 1)  # type: ignore[arg-type]
    window = Window(start_ns=run.start_ns, end_ns=end_ns)
    ids = frame["session_id"].to_list()
    levels = levels_of(store, run.app, window)
    progress("profile", 1, 3)
    with_hands = frame.join(_escalated(levels), on="session_id", how="left", maintain_order="left")
    with_scores, specs = _scored(store, run.app, window, with_hands)
    with_scores = with_scores.with_columns(pl.col("escalated").fill_null(False))
    told = figures(with_scores, labels, (*FIGURES, *specs))
    corrected = {_called(one.name, EvaluatorKind.JUDGE): one for one in judges(run.app, window)} if specs else {}
    progress("profile", 2, 3)
    users = users_of(frame)
    shares = attributes(ids, labels, levels, users)
    failed = places_of(store, run.app, window)
    wrong = wrong_at(ids, labels, pl.concat([failed, _signs(frame, failed)]), users)
    progress("profile", 3, 3)
    return Profiles(
        by_label={
            label: {
                "figures": [_corrected(one, corrected).as_json() for one in made],
                "profile": [_plain(one.as_json()) for one in shares.get(label, [])],
                "wrong_at": [_place(one.as_json()) for one in wrong.get(label, [])],
                "score": _score(made, specs),
            }
            for label, made in told.items()
        }
    )


def _escalated(levels: pl.DataFrame) -> pl.DataFrame:
    """session_id and `escalated` of the sessions in which a tool handed over to a person."""
    tools = levels.filter(pl.col("attribute") == "tool").select("session_id", "level")
    handed = [name for name in tools["level"].unique().to_list() if ESCALATES.search(name)]
    found = tools.filter(pl.col("level").is_in(handed)).select("session_id").unique()
    return found.with_columns(escalated=pl.lit(True))


def _scored(store: TenantStore, app: str, window: Window, frame: pl.DataFrame) -> tuple[pl.DataFrame, tuple[Spec, ...]]:
    """The frame with a column for each evaluator of sessions that is a judge or a person, and what they are called."""
    window = Window(start_ns=window.start_ns, end_ns=LAST_NS)  # a session is judged when it is over, or days later
    known = score_names(store, window).filter(
        pl.col("evaluator_kind").is_in([kind.value for kind in _KINDS]), pl.col("target") == TargetKind.SESSION.value
    )
    specs = []
    for row in known.head(MOST_EVALUATORS).iter_rows(named=True):
        name, kind = row["evaluator"], EvaluatorKind(row["evaluator_kind"])
        rows = sampled(store, name, kind, TargetKind.SESSION, window, app=app).rows
        values = rows.filter(pl.col("value").is_not_null()).select("session_id", "value")
        if not values.height:
            continue
        column = f"score of {kind.value} {name}"  # a judge and a person may go by one name
        frame = frame.join(values.rename({"value": column}), on="session_id", how="left", maintain_order="left")
        binary = values["value"].is_in([0.0, 1.0]).all()
        measure = Measure.SHARE if binary else Measure.MEAN
        note = f"said by {'a judge' if kind is EvaluatorKind.JUDGE else 'people'}, as it is stored"
        within = (0.0, 1.0) if values["value"].is_between(0.0, 1.0).all() else None
        unit = "share" if binary else "score"
        called = _called(name, kind)
        specs.append(Spec(name=called, column=column, measure=measure, unit=unit, note=note, within=within))
    return frame, tuple(specs)


def _called(name: str, kind: EvaluatorKind) -> str:
    """An evaluator as its figure is called: 'resolution (judge)', 'resolution (people)'."""
    return f"{name} ({_WHO[kind]})"


def _signs(frame: pl.DataFrame, failed: pl.DataFrame) -> pl.DataFrame:
    """The signs of sessions, as places where these go wrong without an error. Those that mostly come with a span that
    `failed` say the same as that span, and those of few sessions are of one session's own words: both are left out."""
    rows = frame.select("session_id", level=pl.col("outcome").str.split("\n")).explode("level")
    rows = rows.filter(pl.col("level") != "").with_columns(
        attribute=pl.lit("sign"), level=pl.col("level").str.slice(0, MOST_CHARS),
        errs=pl.col("session_id").is_in(failed["session_id"].unique().implode()),
    )  # fmt: skip
    own = (pl.len() >= FEWEST_KNOWN) & (pl.col("errs").mean() < _MOSTLY)
    return rows.filter(own.over("level")).select("session_id", "attribute", "level")


def _corrected(one: Figure, judges: Mapping[str, Judge]) -> Figure:
    """A certified judge's share without its errors; the ends of the interval alike, the errors taken as known."""
    judge = judges.get(one.name)
    if judge is None or one.unit != "share":
        return one
    informed = judge.sensitivity + judge.specificity - 1
    if informed < _LEAST_INFORMED:
        return one

    def without(share: float | None) -> float | None:
        return None if share is None else min(1.0, max(0.0, (share + judge.specificity - 1) / informed))

    raw = "nothing" if one.value is None else f"{one.value:.3f}"
    note = (
        f"of judge {judge.name}, corrected for its errors (sensitivity {judge.sensitivity:.2f}, specificity "
        f"{judge.specificity:.2f}, taken as known); it says {raw}"
    )
    here = replace(one, value=without(one.value), low=without(one.low), high=without(one.high), note=note)
    return replace(here, rest=without(one.rest), rest_low=without(one.rest_low), rest_high=without(one.rest_high))


def _score(made: Sequence[Figure], specs: Sequence[Spec]) -> float | None:
    """The cluster's value of the evaluator of sessions that has the most scores."""
    names = [spec.name for spec in specs]
    return next((one.value for name in names for one in made if one.name == name), None)


def _plain(one: dict[str, Any]) -> dict[str, Any]:
    """A level; without a rest its share there is 0."""
    return {**one, "share_rest": one["share_rest"] or 0.0}


def _place(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": one["attribute"],
        "name": one["level"],
        "n": one["n"],
        "share": one["share"],
        "share_rest": one["share_rest"] or 0.0,
    }
