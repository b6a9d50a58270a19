"""Agreement of two raters beyond chance: Cohen's kappa, its weighted form, Gwet's AC1 and AC2, prevalence and bias.

With p the table's proportions [i, j] and w the agreement weights (1 on the diagonal):

    observed   p_o = sum_ij w_ij p_ij
    by chance  p_e = sum_ij w_ij p_i. p_.j                            kappa (Cohen 1960, 1968)
               p_e = T_w / (K (K - 1)) sum_q pi_q (1 - pi_q)          AC1, AC2 (Gwet 2008, 2014), pi = (p_i. + p_.i) / 2
    coefficient = (p_o - p_e) / (1 - p_e)

Where all items lie in one class for both raters, chance agrees always: kappa is 0 / 0 and there is no number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import numpy as np

from evaluators.statistics.estimates import Lack, Unestimated
from judges.agreement.tables import FloatArray, Table

SMALLEST: Final = 1e-12  # what is left to agree upon beyond chance
Statistic = Callable[[FloatArray], FloatArray]  # tables (..., K, K) -> (...); NaN where it is not defined


class Weighting(StrEnum):
    """How near two different labels are to agreement."""

    NOMINAL = "nominal"  # not at all
    LINEAR = "linear"  # 1 - |i - j| / (K - 1)
    QUADRATIC = "quadratic"  # 1 - (i - j)^2 / (K - 1)^2


def agreement_weights(k: int, weighting: Weighting) -> FloatArray:
    """Weights of shape (k, k), 1 on the diagonal and from 0 to 1 beside it. Cohen 1968 (Psych Bull 70:213)."""
    apart = np.abs(np.subtract.outer(np.arange(k), np.arange(k))) / (k - 1)
    match weighting:
        case Weighting.NOMINAL:
            return np.eye(k)
        case Weighting.LINEAR:
            return 1.0 - apart
        case Weighting.QUADRATIC:
            return np.asarray(1.0 - apart**2)


def kappas(tables: FloatArray, weights: FloatArray) -> FloatArray:
    """(Weighted) kappa of tables of shape (..., K, K), in any unit; NaN where chance agrees always or nothing is in."""
    p = _proportions(tables)
    observed = (p * weights).sum(axis=(-2, -1))
    by_chance = np.einsum("...i,ij,...j->...", p.sum(axis=-1), weights, p.sum(axis=-2))
    return _beyond(observed, by_chance)


def gwets(tables: FloatArray, weights: FloatArray) -> FloatArray:
    """AC1 (of nominal weights) or AC2 of tables of shape (..., K, K).

    Gwet 2008 (Br J Math Stat Psychol 61:29), equation 10; with weights: Handbook of Inter-Rater Reliability (2014),
    chapter 5. Defined wherever there is an item.
    """
    p = _proportions(tables)
    k = tables.shape[-1]
    share = (p.sum(axis=-1) + p.sum(axis=-2)) / 2
    by_chance = weights.sum() / (k * (k - 1)) * (share * (1 - share)).sum(axis=-1)
    return _beyond((p * weights).sum(axis=(-2, -1)), by_chance)


def cohen_kappa(of: Table, weighting: Weighting = Weighting.NOMINAL) -> float | Unestimated:
    """Kappa of one table, -1 to 1; Unestimated where it has no items, or all in one class for both."""
    return _one(of, lambda tables: kappas(tables, agreement_weights(of.k, weighting)))


def gwet_ac(of: Table, weighting: Weighting = Weighting.NOMINAL) -> float | Unestimated:
    """AC1, or AC2 with weights, of one table; Unestimated where it has no items."""
    return _one(of, lambda tables: gwets(tables, agreement_weights(of.k, weighting)))


def kappa_se(of: Table, weighting: Weighting = Weighting.NOMINAL) -> float | Unestimated:
    """Large-sample standard error of kappa, of items of equal weight.

    Fleiss, Cohen, Everitt 1969 (Psych Bull 72:323), equations 8 and 13:
    [sum p_ij (w_ij - (w_i. + w_.j)(1 - kappa))^2 - (kappa - p_e (1 - kappa))^2] / (n (1 - p_e)^2). 0 where all agree:
    that is the formula's weakness, not knowledge.
    """
    kappa = cohen_kappa(of, weighting)
    if isinstance(kappa, Unestimated):
        return kappa
    w, p = agreement_weights(of.k, weighting), _proportions(of.mass)
    row, column = p.sum(axis=1), p.sum(axis=0)
    by_chance = float(row @ w @ column)
    pulled = w - ((w @ column)[:, None] + (row @ w)[None, :]) * (1 - kappa)
    spread = float((p * pulled**2).sum()) - (kappa - by_chance * (1 - kappa)) ** 2
    return math.sqrt(max(0.0, spread) / of.n) / (1 - by_chance)


def prevalence_index(of: Table) -> float | Unestimated:
    """|p_11 - p_00| of two labels: how unevenly they occur. Byrt, Bishop, Carlin 1993 (J Clin Epidemiol 46:423)."""
    return _of_two(of, lambda p: abs(float(p[1, 1] - p[0, 0])))


def bias_index(of: Table) -> float | Unestimated:
    """p_01 - p_10 of two labels: positive where the judge says the last label more often than people. Byrt et al. 1993,
    with its sign kept."""
    return _of_two(of, lambda p: float(p[0, 1] - p[1, 0]))


def _of_two(of: Table, index: Callable[[FloatArray], float]) -> float | Unestimated:
    if of.k != 2:
        return Unestimated(reason=Lack.NOT_BINARY, detail=f"{of.k} labels")
    return index(_proportions(of.mass)) if of.n else Unestimated(reason=Lack.NO_EXAMPLES)


def _one(of: Table, statistic: Statistic) -> float | Unestimated:
    if not of.n:
        return Unestimated(reason=Lack.NO_EXAMPLES)
    value = float(statistic(of.mass))
    return value if math.isfinite(value) else Unestimated(reason=Lack.ONE_CLASS)


def _proportions(tables: FloatArray) -> FloatArray:
    total = tables.sum(axis=(-2, -1), keepdims=True)
    none = np.full_like(tables, np.nan, dtype=np.float64)
    return np.asarray(np.divide(tables, total, out=none, where=total > 0))


def _beyond(observed: FloatArray, by_chance: FloatArray) -> FloatArray:
    left = np.asarray(1 - by_chance)
    undefined = np.full_like(left, np.nan, dtype=np.float64)
    return np.asarray(np.divide(observed - by_chance, left, out=undefined, where=left > SMALLEST))
