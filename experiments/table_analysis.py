"""A table from elsewhere as an experiment: the definition that its columns imply, and its analysis.

How often was looked decides the design. Without days, or with `once`, the table is one look that was fixed before. With
days and a `horizon` each day is a look of a group-sequential test; with days alone a confidence sequence holds.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from core.errors import InvalidInput
from experiments.analysed import Analysis, Looked
from experiments.analysis import analyse
from experiments.reading import read
from experiments.records import (
    Arm,
    AssignedBy,
    Better,
    Definition,
    ExperimentStatus,
    Horizon,
    MetricRole,
    MetricSpec,
    UnitKind,
)
from experiments.tabulating import Columns, Table

LEAST_ALPHA: Final = 1e-6
MOST_ALPHA: Final = 0.5
NS_PER_DAY: Final = 86_400 * 10**9


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How a table is to be read. `columns.outcomes`: the primary first, then guardrails and the rest. `guardrails`: by
    column its margin (None: must not be shown worse). `lower`: columns of which less is better. `split`: weights by
    variant, the control first; empty where nobody knows, and then chance is not assumed."""

    columns: Columns
    control: str | None = None
    split: Mapping[str, float] = field(default_factory=dict)
    guardrails: Mapping[str, float | None] = field(default_factory=dict)
    lower: tuple[str, ...] = ()
    margin: float | None = None
    alpha: float = 0.05
    horizon: int | None = None
    once: bool = False


def analyse_table(path: Path, asked: Asked, *, today: dt.date) -> tuple[Analysis, Table]:
    """The analysis of the table at `path`. Raises InvalidInput for what cannot be analysed, saying what and where."""
    if not LEAST_ALPHA <= asked.alpha <= MOST_ALPHA:
        raise InvalidInput(f"an alpha is from {LEAST_ALPHA:g} to {MOST_ALPHA:g}, not {asked.alpha:g}", field="alpha")
    table = read(path, asked.columns, today=today, arms=tuple(asked.split))
    definition = _definition(path.name, asked, table)
    looked = Looked(
        at_ns=_ns(today),
        started_at_ns=_ns(table.days[0]) if table.days else None,
        days=table.days[-1:] if definition.horizon and _one_look(asked) else table.days,
        exposure=replace(table.exposure, weights_known=bool(asked.split)),
        status=ExperimentStatus.STOPPED,
    )
    return analyse(definition, table.sums, looked), table


def _one_look(asked: Asked) -> bool:
    return asked.once or asked.columns.day is None


def _definition(name: str, asked: Asked, table: Table) -> Definition:
    control = asked.control or next(iter(asked.split), table.variants[0])
    if control not in table.variants:
        raise InvalidInput(
            f"no row has {asked.columns.variant} {control!r}; there is {', '.join(table.variants)}", field="control"
        )
    order = [control, *(one for one in table.variants if one != control)]
    units = table.exposure.n_units if _one_look(asked) else asked.horizon
    return Definition(
        name=name,
        app="",
        version=1,
        unit=UnitKind.USER if asked.columns.unit else UnitKind.SESSION,
        arms=tuple(Arm(variant=one, release=None, weight=asked.split.get(one, 1.0)) for one in order),
        metrics=tuple(_metric(name, asked, table) for name in asked.columns.outcomes),
        assigned_by=AssignedBy.APP,
        horizon=Horizon(units=units) if units else None,
        alpha=asked.alpha,
        strata=asked.columns.strata,
        covariate_days=1 if asked.columns.covariate else 0,
    )


def _metric(name: str, asked: Asked, table: Table) -> MetricSpec:
    role = MetricRole.SECONDARY
    margin: float | None = None
    if name == asked.columns.outcomes[0]:
        role, margin = MetricRole.PRIMARY, asked.margin
    elif name in asked.guardrails:
        role, margin = MetricRole.GUARDRAIL, asked.guardrails[name]
    if margin is not None and margin >= 1 and table.binary[name]:
        said = f"{name} is 0 or 1 in every row: a margin of {margin:g} holds nothing up; 2 points are 0.02"
        raise InvalidInput(said, field="margin")
    better = Better.LOWER if name in asked.lower else Better.HIGHER
    return MetricSpec(name=name, role=role, better=better, margin=margin, binary=table.binary[name])


def _ns(day: dt.date) -> int:
    return (day - dt.date(1970, 1, 1)).days * NS_PER_DAY
