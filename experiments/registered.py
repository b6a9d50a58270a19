"""Definitions of experiments as JSON, which is what the control database keeps for ever.

The gateway's process reads them too: nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

from experiments.records import (
    Arm,
    AssignedBy,
    Better,
    Definition,
    Horizon,
    MetricKind,
    MetricRole,
    MetricSpec,
    UnitKind,
)
from store.control.experiment_records import ExperimentRecord

PLAIN: Final = ("alpha", "layer", "holdout", "covariate_days", "mature_s", "hypothesis", "owner")  # as JSON has them


def definition_of(record: ExperimentRecord) -> Definition:
    """What was registered; `overrides` are by hash of the unit, without those that ended."""
    found = of_json(record.name, record.app, record.version, record.definition)
    return replace(found, overrides={unit: variant for unit, variant in record.overrides.items() if variant})


def as_json(one: Definition) -> dict[str, Any]:
    """What is registered: all but name, app and version, which are its key, and overrides, which are no part of it."""
    told = asdict(one)
    return {key: _plain(value) for key, value in told.items() if key not in ("name", "app", "version", "overrides")}


def of_json(name: str, app: str, version: int, said: Mapping[str, Any]) -> Definition:
    """What `as_json` wrote."""
    horizon = said["horizon"]
    return Definition(
        name=name,
        app=app,
        version=version,
        unit=UnitKind(said["unit"]),
        assigned_by=AssignedBy(said["assigned_by"]),
        arms=tuple(Arm(**one) for one in said["arms"]),
        metrics=tuple(_metric_of(one) for one in said["metrics"]),
        horizon=None if horizon is None else Horizon(**horizon),
        strata=tuple(said["strata"]),
        slot=(said["slot"][0], said["slot"][1]),
        **{key: said[key] for key in PLAIN},
    )


def _metric_of(said: Mapping[str, Any]) -> MetricSpec:
    closed = {"role": MetricRole(said["role"]), "better": Better(said["better"]), "kind": MetricKind(said["kind"])}
    return MetricSpec(**{**said, **closed})


def _plain(value: Any) -> Any:
    """As JSON would give it back: lists for tuples, text for members of an enumeration."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return str(value) if isinstance(value, str) else value
