"""Reads the sessions of an app as a rollout's guardrails ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from core.records import EvaluatorKind, TargetKind
from core.windows import Window
from evaluators.catalogue import CATALOGUE
from evaluators.records import Direction
from experiments.canary.records import Guardrail, GuardrailKind
from experiments.rollouts.evidence import LATENCIES, told_by_scores
from experiments.rollouts.policy import MODEL_AS_REGISTERED
from store.control.control import Control
from store.experiment_scores import Fold, Scored, Told, evaluators_seen
from store.experiment_units import FactsAsked, session_facts
from store.session_models import session_models
from store.tenant import TenantStore

# By which evaluators a guardrail of this name is told: the first of them that scored anything in the window; of safety
# all that did.
ALIASES: Final = {
    "resolution": ("task_success", "resolution"),
    "safety": (
        *("pii_leak", "secret_leak", "system_prompt_leak", "injection_success", "policy_caps"),
        *("unauthorised_actions", "confirmation_before_irreversible"),
    ),
}
_LOWER: Final = frozenset(one.spec.name for one in CATALOGUE if one.spec.direction is Direction.LOWER)


def sessions_of(
    control: Control, store: TenantStore, app: str, window: Window, guardrails: Sequence[Guardrail]
) -> pl.DataFrame:
    """session_facts of these guardrails over a window, with the column `models` where one of them asks for it."""
    figures = scored_of(store, window, [one for one in guardrails if told_by_scores(one)])
    asked = FactsAsked(
        app=app,
        window=window,
        figures=tuple(figures),
        runs=tuple(one.run_id for one in control.runs(store.tenant) if one.spec.app == app),
        latencies=any(one.name in LATENCIES for one in guardrails),
    )
    frame = session_facts(store, asked)
    if any(one.name == MODEL_AS_REGISTERED for one in guardrails):
        return frame.join(session_models(store, app, window), on="session_id", how="left")
    return frame


def scored_of(store: TenantStore, window: Window, guardrails: Sequence[Guardrail]) -> list[Scored]:
    """Who tells each of these guardrails."""
    names = {one.name: ALIASES.get(one.name, (one.name,)) for one in guardrails}
    if not names:
        return []
    seen = evaluators_seen(store, [each for own in names.values() for each in own], window).to_dicts()
    found = []
    for one in guardrails:
        told: list[Told] = []
        for name in names[one.name]:
            rows = [row for row in seen if row["evaluator"] == name]
            if rows and (one.name == "safety" or not told):
                told.append(_told(name, rows[0]))  # the kind and target with the most scores
        fold = Fold.SAFE if one.kind is GuardrailKind.ZERO_TOLERANCE else Fold.MEAN
        found.append(Scored(name=one.name, told=tuple(told), fold=fold))
    return found


def _told(name: str, row: dict[str, object]) -> Told:
    return Told(
        evaluator=name,
        kind=EvaluatorKind(str(row["kind"])),
        target=TargetKind(str(row["target"])),
        lower_is_better=name in _LOWER,
    )
