"""Stratified tables with figures that are known: admissions to Berkeley in 1973 (Bickel, Hammel, O'Connell 1975,
Science 187:398) and kidney stones (Charig et al. 1986, BMJ 292:879), as in ../shared/data/ab_simpson."""

from __future__ import annotations

from experiments.statistics.records import Moments

# level -> (control successes, control n, treatment successes, treatment n)
Counts = dict[str, tuple[int, int, int, int]]

# control: women, treatment: men
UCB: Counts = {
    "A": (89, 108, 512, 825),
    "B": (17, 25, 353, 560),
    "C": (202, 593, 120, 325),
    "D": (131, 375, 138, 417),
    "E": (94, 393, 53, 191),
    "F": (24, 341, 22, 373),
}
# control: percutaneous (B), treatment: open surgery (A)
KIDNEY: Counts = {"small": (234, 270, 81, 87), "large": (55, 80, 192, 263)}


def yes_no(successes: int, n: int) -> Moments:
    """Units with one observation of 0 or 1."""
    return Moments(n=n, y=successes, s=n, yy=successes, ss=n, sy=successes)


def arms(counts: Counts) -> tuple[dict[str, Moments], dict[str, Moments]]:
    """Sums of both arms by level."""
    control = {level: yes_no(one[0], one[1]) for level, one in counts.items()}
    return control, {level: yes_no(one[2], one[3]) for level, one in counts.items()}
