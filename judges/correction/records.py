"""What a correction starts from and what it ends with: judged targets, labels, and a rate with both its values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from core.errors import InvalidInput
from evaluators.statistics.estimates import Interval
from evaluators.statistics.rates import FloatArray


class Method(StrEnum):
    """How a rate was corrected."""

    PPI = "ppi"  # PPI++, Angelopoulos, Duchi, Zrnic 2023
    ROGAN_GLADEN = "rogan_gladen"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Targets of one population that a judge gave a value from 0 to 1; all arrays of shape (targets,).

    `label` is what people said, NaN where nobody was asked. `p_judge` is the chance with which the target was drawn to
    be judged, `p_human` that with which a judged target was drawn to be labelled (NaN: unknown, or not labelled); both
    are known by design and above 0. Raises InvalidInput for arrays that do not fit, values beyond 0 to 1, or chances
    that are none.
    """

    judge: FloatArray
    label: FloatArray
    p_judge: FloatArray
    p_human: FloatArray

    def __post_init__(self) -> None:
        shapes = {one.shape for one in (self.judge, self.label, self.p_judge, self.p_human)}
        if len(shapes) != 1 or self.judge.ndim != 1:
            raise InvalidInput(f"arrays of shapes {sorted(shapes)} are no judged targets", field="judge")
        if not ((self.judge >= 0) & (self.judge <= 1)).all():
            raise InvalidInput("a judge's value lies from 0 to 1", field="judge")
        if not ((self.label[self.labelled] >= 0) & (self.label[self.labelled] <= 1)).all():
            raise InvalidInput("a label's value lies from 0 to 1", field="label")
        known = self.p_human[~np.isnan(self.p_human)]
        if not all(((p > 0) & (p <= 1)).all() for p in (self.p_judge, known)):
            raise InvalidInput("a chance of being drawn lies above 0 and up to 1", field="p_human")

    @property
    def labelled(self) -> np.ndarray:
        """Which targets have a label."""
        return ~np.isnan(self.label)

    @property
    def binary(self) -> bool:
        """Whether all values and labels are 0 or 1."""
        values = (self.judge, self.label[self.labelled])
        return all(bool(((one == 0) | (one == 1)).all()) for one in values)


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Labels of another population than the one that is asked about, with the judge's value of the same targets."""

    judge: FloatArray
    label: FloatArray


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """A corrected rate or mean, with the judge's raw mean beside it: the raw one is never told without.

    `why` says why this method. `lam` is the share of the judge's word that is used (PPI++). `effective_n`: so many
    labels of this population alone would have an error as small. `human` is the interval of the labels alone (PPI++),
    at the value `human_value`. `note` says what to know before relying on it.
    """

    value: float
    se: float
    interval: Interval
    raw: float
    method: Method
    why: str
    n_labels: int
    n_judged: int
    effective_n: float
    lam: float | None = None
    human_value: float | None = None
    human: Interval | None = None
    sensitivity: float | None = None
    specificity: float | None = None
    note: str = ""


def equal_chances(judged: Judged) -> bool:
    """Whether all judged targets were drawn with one chance, and all labels too."""
    return _one(judged.p_judge) and _one(judged.p_human[judged.labelled])


def _one(chances: FloatArray) -> bool:
    return len(chances) == 0 or float(chances.max() - chances.min()) <= 1e-9 * float(chances.max())
