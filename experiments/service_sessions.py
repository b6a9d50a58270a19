"""Reads the sessions of an app as a rollout's guardrails ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from core.windows import Window
from experiments.canary.records import Guardrail, GuardrailKind
from experiments.metrics import metric_or_own, scored_of
from experiments.rollouts.evidence import LATENCIES, told_by_scores
from experiments.rollouts.policy import MODEL_AS_REGISTERED
from store.control.control import Control
from store.experiment_scores import Fold, Scored, evaluators_seen
from store.experiment_units import FactsAsked, session_facts
from store.session_models import session_models
from store.tenant import TenantStore


def sessions_of(
    control: Control, store: TenantStore, app: str, window: Window, guardrails: Sequence[Guardrail]
) -> pl.DataFrame:
    """session_facts of these guardrails over a window, with the column `models` where one of them asks for it."""
    figures = scores_of(store, window, [one for one in guardrails if told_by_scores(one)])
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


def scores_of(store: TenantStore, window: Window, guardrails: Sequence[Guardrail]) -> list[Scored]:
    """Who tells each of these guardrails. Under zero tolerance a session is safe or is not."""
    metrics = [metric_or_own(one.name, one.better) for one in guardrails]
    if not metrics:
        return []
    names = [each for one in metrics for each in one.evaluators]
    seen = evaluators_seen(store, names, window).to_dicts()
    return [
        replace(scored_of(metric, seen), fold=Fold.SAFE if one.kind is GuardrailKind.ZERO_TOLERANCE else metric.fold)
        for metric, one in zip(metrics, guardrails, strict=True)
    ]
