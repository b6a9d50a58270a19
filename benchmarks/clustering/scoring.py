"""How well clusters agree with groups that are known: NMI, ARI, ACC, noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, v_measure_score

from clustering.records import NOISE

Labels = NDArray[np.int32]
Told = dict[str, Any]


def scores(truth: Labels, labels: Labels) -> Told:
    """Noise as one more cluster: nothing is left out, so no method gains by calling rows noise.

    NMI with the arithmetic mean (scikit-learn), ARI, and ACC: the share of rows that are right when every cluster
    stands for one group at most (Hungarian); noise stands for none.
    """
    return {
        "k": int(labels.max(initial=NOISE)) + 1,
        "noise": share(labels == NOISE),
        "nmi": four(normalized_mutual_info_score(truth, labels)),
        "ari": four(adjusted_rand_score(truth, labels)),
        "acc": four(accuracy(truth, labels)),
    }


def clustered_only(truth: Labels, labels: Labels) -> Told:
    """The same over the rows that are in a cluster."""
    kept = labels != NOISE
    if not kept.any():
        return {"n": 0}
    return {"n": int(kept.sum())} | {
        name: value for name, value in scores(truth[kept], labels[kept]).items() if name in {"nmi", "ari", "acc"}
    }


def accuracy(truth: Labels, labels: Labels) -> float:
    """Rows right under the best one-to-one matching of clusters and groups, over all rows."""
    kept = labels != NOISE
    if not kept.any():
        return 0.0
    table = np.zeros((int(labels.max()) + 1, int(truth.max()) + 1), np.int64)
    np.add.at(table, (labels[kept], truth[kept]), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / len(truth))


def purity(truth: Labels, labels: Labels) -> float:
    """Of rows in clusters, those of their cluster's largest group."""
    kept = labels != NOISE
    if not kept.any():
        return 0.0
    table = np.zeros((int(labels.max()) + 1, int(truth.max()) + 1), np.int64)
    np.add.at(table, (labels[kept], truth[kept]), 1)
    return float(table.max(axis=1).sum() / kept.sum())


def noise_against(outside: NDArray[np.bool_], labels: Labels) -> Told:
    """The noise label as a finder of rows that belong to no group: precision, recall, and what chance would give."""
    noise = labels == NOISE
    both = int((noise & outside).sum())
    return {
        "n_outside": int(outside.sum()),
        "n_noise": int(noise.sum()),
        "precision": four(both / max(1, int(noise.sum()))),
        "recall": four(both / max(1, int(outside.sum()))),
        "precision_by_chance": four(float(outside.mean())),
        "recall_by_chance": share(noise),
    }


def v_measure(truth: Labels, labels: Labels) -> float:
    """V-measure (Rosenberg and Hirschberg 2007, beta 1), noise as one more cluster."""
    return four(v_measure_score(truth, labels))


def share(rows: NDArray[np.bool_]) -> float:
    """Of all."""
    return four(float(rows.mean()))


def four(value: float) -> float:
    """Four decimals."""
    return round(float(value), 4)
