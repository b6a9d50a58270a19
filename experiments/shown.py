"""An analysis as JSON: what the route answers, the command prints with --json and the page draws."""

from __future__ import annotations

from typing import Any

from experiments.analysed import (
    Analysis,
    ArmExposure,
    Health,
    MetricAnalysis,
    SequencePoint,
    StrataAnalysis,
    VariantAnalysis,
)
from experiments.statistics.records import Effect, NoEffect
from experiments.statistics.selection import Selected
from experiments.statistics.strata import LevelEffect
from experiments.statistics.tables import ChiSquare, Common

Json = dict[str, Any]


def as_json(analysis: Analysis) -> Json:
    """Every figure of an analysis, in words and numbers that JSON has: null where there is none, with its reason."""
    definition, looked = analysis.definition, analysis.looked
    horizon = definition.horizon
    return {
        "experiment": definition.name,
        "version": definition.version,
        "app": definition.app,
        "unit": definition.unit.value,
        "status": looked.status.value,
        "design": definition.design.value,
        "alpha": definition.alpha,
        "control": definition.control.variant,
        "hypothesis": definition.hypothesis,
        "started_at": looked.started_at_ns,
        "looked_at": looked.at_ns,
        "looks": [one.isoformat() for one in looked.days],
        "horizon": None if horizon is None else {"units": horizon.units, "days": horizon.days},
        "n_units": looked.exposure.n_units,
        "fraction": analysis.fraction,
        "decision": _decision(analysis),
        "arms": _arms(analysis),
        "health": [_health(one) for one in analysis.health],
        "metrics": [_metric(one) for one in analysis.metrics],
        "sequence": [_point(one) for one in analysis.sequence],
        "strata": [_strata(one) for one in analysis.strata],
        "exposure": _exposure(analysis),
    }


def effect_json(effect: Effect | NoEffect | None) -> Json | None:
    """An effect; null where there is none."""
    if effect is None or isinstance(effect, NoEffect):
        return None
    return {
        "control": effect.control,
        "treatment": effect.treatment,
        "estimate": effect.estimate,
        "relative": effect.relative,
        "se": effect.se,
        "low": effect.low,
        "high": effect.high,
        "level": effect.level,
        "method": effect.method,
        "p_value": effect.p_value,
        "df": effect.df,
        "n_control": effect.n_control,
        "n_treatment": effect.n_treatment,
    }


def _decision(analysis: Analysis) -> Json:
    told = analysis.decision
    return {
        "word": told.word.value,
        "headline": told.headline,
        "reasons": list(told.reasons),
        "days_left": told.days_left,
        "caution": told.caution,
        "variant": told.variant,
    }


def _arms(analysis: Analysis) -> list[Json]:
    exposure = analysis.looked.exposure
    seen = {one.variant: one for one in exposure.arms}
    whole = sum(one.weight for one in analysis.definition.arms)
    found = []
    for arm in analysis.definition.arms:
        counted = seen.get(arm.variant, ArmExposure(variant=arm.variant, n_units=0, n_sessions=0))
        found.append(
            {
                "variant": arm.variant,
                "release": arm.release,
                "n_units": counted.n_units,
                "n_sessions": counted.n_sessions,
                "n_mature": counted.n_mature,
                "n_without": counted.n_without,
                "n_sent": counted.n_sent,
                "n_lost": counted.n_lost,
                "expected_share": arm.weight / whole if exposure.weights_known else None,
                "share": counted.n_units / exposure.n_units if exposure.n_units else None,
            }
        )
    return found


def _health(one: Health) -> Json:
    return {
        "check": one.check.value,
        "status": one.status.value,
        "text": one.text,
        "e_value": one.e_value,
        "p_value": one.p_value,
        "stratum": one.stratum,
        "variant": one.variant,
    }


def _metric(one: MetricAnalysis) -> Json:
    spec = one.spec
    return {
        "metric": spec.name,
        "role": spec.role.value,
        "better": spec.better.value,
        "kind": spec.kind.value,
        "quantile": spec.quantile,
        "binary": spec.binary,
        "unit_text": one.unit_text,
        "margin": spec.margin,
        "relative_margin": spec.relative,
        "headline": "stratified" if one.stratified_headline else "pooled",
        "variants": [_variant(variant) for variant in one.variants],
    }


def _variant(one: VariantAnalysis) -> Json:
    bayes = one.bayes
    return {
        "variant": one.variant,
        "effect": effect_json(one.effect),
        "pooled": effect_json(one.pooled),
        "stratified": effect_json(one.stratified),
        "corrected": one.corrected,
        "finding": one.finding.value,
        "p_adjusted": one.p_adjusted,
        "why_missing": one.effect.text if isinstance(one.effect, NoEffect) else None,
        "bayes": None
        if bayes is None
        else {
            "p_better": bayes.p_better,
            "expected_loss": bayes.expected_loss,
            "low": bayes.low,
            "high": bayes.high,
        },
        "mde": one.mde,
        "novelty": one.novelty,
        "selected": None if one.selected is None else _selected(one.selected),
    }


def _selected(one: Selected) -> Json:
    return {
        "median_unbiased": one.median_unbiased,
        "low": one.low,
        "high": one.high,
        "exaggeration": one.exaggeration,
        "text": one.text,
    }


def _point(one: SequencePoint) -> Json:
    return {
        "metric": one.metric,
        "variant": one.variant,
        "day": one.day.isoformat(),
        "n_units": one.n_units,
        "fraction": one.fraction,
        "estimate": one.estimate,
        "low": one.low,
        "high": one.high,
        "z": one.z,
        "boundary": one.boundary,
    }


def _strata(one: StrataAnalysis) -> Json:
    return {
        "attribute": one.attribute,
        "metric": one.metric,
        "variant": one.variant,
        "levels": [_level(level) for level in one.levels],
        "collapsed": list(one.collapsed),
        "cmh": _cmh(one),
        "risk_difference": _common(one.risk_difference),
        "homogeneity": _tested(one.homogeneity),
        "tarone": _tested(one.tarone),
        "sentence": one.sentence,
        "why_missing": one.simpson.text if isinstance(one.simpson, NoEffect) else None,
        "simpson": _simpson(one),
    }


def _cmh(one: StrataAnalysis) -> Json | None:
    test, ratio = one.cmh, one.odds_ratio
    if not isinstance(test, ChiSquare) or not isinstance(ratio, Common):
        return None
    return {
        "odds_ratio": ratio.estimate,
        "low": ratio.low,
        "high": ratio.high,
        "statistic": test.statistic,
        "p_value": test.p_value,
        "method": test.method,
        "uncorrected": _tested(one.cmh_plain),
    }


def _tested(one: ChiSquare | NoEffect | None) -> Json | None:
    if not isinstance(one, ChiSquare):
        return None
    return {"statistic": one.statistic, "df": one.df, "p_value": one.p_value, "method": one.method}


def _common(one: Common | NoEffect | None) -> Json | None:
    if not isinstance(one, Common):
        return None
    return {"estimate": one.estimate, "low": one.low, "high": one.high, "level": one.level, "method": one.method}


def _level(one: LevelEffect) -> Json:
    effect = one.effect
    told = None if isinstance(effect, NoEffect) else effect
    return {
        "level": one.level,
        "n_control": one.control.n,
        "n_treatment": one.treatment.n,
        "control": one.control.mean,
        "treatment": one.treatment.mean,
        "estimate": told.estimate if told else None,
        "low": told.low if told else None,
        "high": told.high if told else None,
        "weight": one.weight,
        "why_missing": effect.text if isinstance(effect, NoEffect) else None,
    }


def _simpson(one: StrataAnalysis) -> Json | None:
    found = one.simpson
    if isinstance(found, NoEffect):
        return None
    return {
        "flagged": found.flagged,
        "paradox": found.paradox.value,
        "pooled": found.pooled,
        "stratified": found.stratified,
        "low": found.low,
        "high": found.high,
        "mix": found.mix,
        "effect": found.effect,
        "smd": found.smd,
        "mix_p": found.mix_p,
        "against": list(found.against),
        "sentence": one.sentence,
        "table": [
            {
                "level": line.level,
                "share_control": line.share_control,
                "share_treatment": line.share_treatment,
                "control": line.control,
                "treatment": line.treatment,
            }
            for line in found.table
        ],
    }


def _exposure(analysis: Analysis) -> Json:
    exposure = analysis.looked.exposure
    return {
        "by_day": [
            {"day": row["day"].isoformat(), "variant": row["variant"], "n_units": row["n_units"]}
            for row in exposure.by_day.sort("day", "variant").to_dicts()
        ],
        "weights_known": exposure.weights_known,
        "n_multiple": exposure.n_multiple,
        "n_crossed": exposure.n_crossed,
        "n_before_exposure": exposure.n_before_exposure,
        "n_skewed": exposure.n_skewed,
        "n_overrides": exposure.n_overrides,
        "renamed": dict(exposure.renamed),
        "sampled": analysis.looked.sampled,
    }
