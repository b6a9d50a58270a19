"""Whether a mix shifted: of intents, tenants, answering models, retrieved documents.

The counts since the onset are held against the shares of the time before by chi-square, and that figure against the one
of every window of this length before: so a mix that differs from hour to hour, or comes in bursts, is not taken for one
that shifted.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from monitors.diagnosis.changes import LEAST_BLOCKS, MAD_TO_SD, normal_of_t
from monitors.diagnosis.records import Change, Floats, MixCourse
from monitors.records import Kind

LEAST_EXPECTED: Final = 5.0  # values that are expected less often since the onset are taken together
LEAST_N: Final = 20.0  # observations in a window


def mix_change_of(course: MixCourse, *, onset_ns: int, now_ns: int) -> Change:
    """How far the mix of [onset, now) is from that before; its effect is the share of traffic that moved."""
    before = course.at_ns < onset_ns
    if now_ns <= onset_ns or not before.any():
        return _unknown(course, "there is nothing from before the onset")
    span = int(onset_ns - course.at_ns.min())
    length = min(now_ns - onset_ns, max(1, span // LEAST_BLOCKS))
    since = course.counts[(course.at_ns >= now_ns - length) & (course.at_ns < now_ns)].sum(axis=0)
    number = (onset_ns - 1 - course.at_ns[before]) // length
    windows = np.zeros((int(number.max()) + 1, len(course.values)))
    np.add.at(windows, number, course.counts[before])
    windows = windows[windows.sum(axis=1) >= max(LEAST_N, 0.1 * float(np.median(windows.sum(axis=1))))]
    if len(windows) < LEAST_BLOCKS:
        return _unknown(course, f"the time before the onset has fewer than {LEAST_BLOCKS} windows as long as since")
    if since.sum() < LEAST_N:
        return _unknown(course, f"fewer than {LEAST_N:.0f} observations since the onset")
    return _judged(course, windows, since)


def _judged(course: MixCourse, windows: Floats, since: Floats) -> Change:
    together = np.append(windows, since[None], axis=0)
    shares = windows.sum(axis=0) / windows.sum()
    folded, names = _folded(together, shares * since.sum(), course.values)
    before = folded[:-1].sum(axis=0)
    # Half an observation for each value: one that never came before has no expectation of zero.
    share = (before + 0.5) / (before + 0.5).sum()
    n = folded.sum(axis=1, keepdims=True)
    k = max(1, folded.shape[1] - 1)
    z = _normal(((folded - n * share) ** 2 / (n * share)).sum(axis=1), k)
    moved = 0.5 * np.abs(folded / n - share).sum(axis=1)
    beyond = float(moved[-1] - np.median(moved[:-1]))
    half = 1.96 * MAD_TO_SD * float(np.median(np.abs(moved[:-1] - np.median(moved[:-1]))))
    return Change(
        series=course.series,
        kind=Kind.LEVEL,
        before=float(np.median(moved[:-1])),
        now=float(moved[-1]),
        effect=max(0.0, beyond),
        low=max(0.0, beyond - half),
        high=max(0.0, beyond + half),
        z=max(0.0, normal_of_t(z, len(windows) - 1.0)),  # a mix that is nearer to the usual one than most is no news
        said=_said(names, share, folded[-1] / n[-1]),
    )


def _normal(figure: Floats, k: int) -> float:
    """The last chi-square as a normal deviate, held against the others.

    Their median tells how much more than a multinomial the mix varies, and their spread in normal deviates (Wilson,
    Hilferty 1931, PNAS 17:684) how much that differs: neither counts where it is below one.
    """
    middle = 1 - 2 / (9 * k)
    over = max(1.0, float(np.median(figure[:-1])) / (k * middle**3))
    deviate = ((figure / (over * k)) ** (1 / 3) - middle) / np.sqrt(2 / (9 * k))
    spread = MAD_TO_SD * float(np.median(np.abs(deviate[:-1] - np.median(deviate[:-1]))))
    return float(deviate[-1]) / max(1.0, spread)


def _folded(counts: Floats, expected: Floats, values: tuple[str, ...]) -> tuple[Floats, list[str]]:
    """Rare values as one, unless they are no longer rare."""
    kept = (expected >= LEAST_EXPECTED) | (counts[-1] >= LEAST_EXPECTED)
    names = [value for value, keep in zip(values, kept, strict=True) if keep]
    if kept.all():
        return counts, names
    rest = counts[:, ~kept].sum(axis=1, keepdims=True)
    return np.append(counts[:, kept], rest, axis=1), [*names, "others"]


def _said(names: list[str], before: Floats, now: Floats) -> str:
    """The two values whose shares moved most."""
    most = np.argsort(-np.abs(now - before), kind="stable")[:2]
    return ", ".join(f"{names[at][:60]} {before[at]:.1%} → {now[at]:.1%}" for at in most)


def _unknown(course: MixCourse, why: str) -> Change:
    return Change(series=course.series, kind=Kind.LEVEL, unknown=why)
