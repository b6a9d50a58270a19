"""How far our figures are from those of gbstats, tea-tasting and statsmodels where they compute the same thing: means,
ratios, CUPED, sequences, power, and tables over strata.

python -m benchmarks.experiments.equality [--gbstats PYTHON --tea-tasting PYTHON]

With the interpreters of the peers' own environments their answers are asked and kept, inputs included, in
tests/experiments/statistics/peers.json, which the tests hold ours against; without, the kept ones are compared.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from statsmodels.stats.contingency_tables import StratifiedTable
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import power_proportions_2indep
from statsmodels.stats.weightstats import CompareMeans

from benchmarks.evaluators.throughput import ROOT, commit, machine
from experiments.statistics import tables
from experiments.statistics.bayes import view
from experiments.statistics.cuped import adjusted_contrast
from experiments.statistics.effects import Contrast, contrast, z_of
from experiments.statistics.planning import Wanted, power_at
from experiments.statistics.records import Moments, NoEffect
from experiments.statistics.sequential import anytime
from experiments.statistics.tables import ChiSquare, Common, TwoByTwo
from tests.experiments.statistics.stratified import KIDNEY, UCB, Counts

RESULT: Final = ROOT / "benchmarks" / "results" / "experiment_equality.json"
KEPT: Final = ROOT / "tests" / "experiments" / "statistics" / "peers.json"

Case = dict[str, Any]
Row = dict[str, Any]


def main() -> None:
    """Compares and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gbstats", type=Path, help="interpreter of an environment with gbstats")
    parser.add_argument("--tea-tasting", type=Path, help="interpreter of an environment with tea-tasting and pyarrow")
    args = parser.parse_args()
    if args.gbstats and args.tea_tasting:
        found = cases()
        peers = {"gbstats": asked(args.gbstats, "gbstats", found), "tea-tasting": asked(
            args.tea_tasting, "tea_tasting", found)}  # fmt: skip
        KEPT.write_text(json.dumps({"cases": found, "peers": peers}) + "\n", encoding="utf-8")
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    rows = [*of_peers(kept), *of_statsmodels(kept["cases"]), *of_tables()]
    result = {
        "what": "largest absolute difference of our figures from those of peers, by case",
        "command": "python -m benchmarks.experiments.equality",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": {name: one["version"] for name, one in kept["peers"].items()}
        | {"statsmodels": version("statsmodels")},
        "compared": len(rows),
        "largest_difference": max(row["difference"] for row in rows),
        "by_case": largest(rows),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def cases() -> list[Case]:
    """Units written down with few digits: means, ratios of clusters, covariates, and few units. Few users have equally
    many sessions: of few unequal ones the peers count each as one, and ours as fewer."""
    chance = np.random.default_rng(8)

    def drawn(
        n: int, shift: float, *, ratio: bool = False, before: bool = False, binary: bool = False, each: int = 0
    ) -> Row:
        taste = chance.normal(0, 1, n)
        s = np.full(n, each) if each else chance.poisson(2.3, n) + 1
        if ratio:
            y = chance.binomial(s, 1 / (1 + np.exp(-taste - shift))).astype(np.float64)
        elif binary:
            y = (taste + shift > -0.8).astype(np.float64)
        else:
            y = 4 + shift + taste + chance.exponential(1, n)
        found: Row = {"y": np.round(y, 3).tolist()}
        found |= {"s": s.astype(np.float64).tolist()} if ratio else {}
        return found | ({"x": np.round(taste + chance.normal(0, 0.5, n), 3).tolist()} if before else {})

    def case(name: str, n: tuple[int, int], shift: float, alpha: float = 0.05, **how: Any) -> Case:
        arms = {"control": drawn(n[0], 0.0, **how), "treatment": drawn(n[1], shift, **how)}
        return {"name": name, "alpha": alpha, **arms}

    return [
        case("means", (120, 133), 0.3),
        case("means at 99%", (80, 60), 0.1, 0.01),
        case("shares", (300, 280), 0.25, binary=True),
        case("sessions of users", (150, 140), 0.4, ratio=True),
        case("seventy users", (70, 75), 0.4, ratio=True),
        case("twenty users with three sessions each", (20, 18), 0.4, ratio=True, each=3),
        case("nine units", (5, 4), 1.0),
        case("means with a covariate", (120, 110), 0.3, before=True),
        case("sessions of users with a covariate", (150, 140), 0.4, ratio=True, before=True),
    ]


def asked(python: Path, name: str, found: list[Case]) -> Row:
    """A peer's version and answers."""
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "cases.json"
        given.write_text(json.dumps(found), encoding="utf-8")
        script = Path(__file__).with_name(f"peer_{name}.py")
        told: Row = json.loads(subprocess.run(
            [str(python), str(script), str(given)], capture_output=True, text=True, check=True
        ).stdout)  # fmt: skip
    return told


def of_peers(kept: Row) -> Iterator[Row]:
    """One row per peer, case and figure, with ours, theirs and how far apart they are."""
    for case in kept["cases"]:
        figures = ours(case)
        for peer, told in kept["peers"].items():
            for name, theirs in (told["cases"][case["name"]] or {}).items():
                yield _row(peer, case["name"], name, figures[name], theirs)


def of_statsmodels(found: list[Case]) -> Iterator[Row]:
    """Tests of means, and power."""
    for case in found:
        if {"s", "x"} & set(case["control"]):
            continue
        figures = ours(case)
        theirs = CompareMeans.from_data(case["treatment"]["y"], case["control"]["y"])
        low, high = theirs.tconfint_diff(alpha=case["alpha"], usevar="unequal")
        _, p, _ = theirs.ttest_ind(usevar="unequal")
        z, _ = theirs.ztest_ind(usevar="unequal")
        told = {"low": low, "high": high, "p_value": p, "se": figures["estimate"] / z}
        for name, value in told.items():
            yield _row("statsmodels", case["name"], name, figures[name], float(value))
    rates = Wanted(baseline=0.7, mde=0.0343, design=None)
    means = Wanted(baseline=5.0, mde=0.2, kind="mean", sd=2.0, design=None)
    for units in (200, 1000, 5600):
        of_rates = power_proportions_2indep(0.0343, 0.7, units // 2, ratio=1, alpha=0.05).power
        yield _row("statsmodels", f"power of rates, {units}", "power", power_at(rates, units, 0.0343), of_rates)
        of_means = float(NormalIndPower().power(0.1, units // 2, 0.05, ratio=1))
        yield _row("statsmodels", f"power of means, {units}", "power", power_at(means, units, 0.2), of_means)


def of_tables() -> Iterator[Row]:
    """Cochran-Mantel-Haenszel, odds ratios and Breslow-Day: Berkeley, kidney stones, and tables that are drawn."""
    chance = np.random.default_rng(9)
    drawn = {f"drawn {k}": drawn_strata(chance) for k in range(40)}
    for name, counts in {"Berkeley": UCB, "kidney stones": KIDNEY, **drawn}.items():
        made = [
            TwoByTwo(control_successes=one[0], control_n=one[1], treatment_successes=one[2], treatment_n=one[3])
            for one in counts.values()
        ]
        theirs = StratifiedTable([np.array([[c, d - c], [a, b - a]], float) for a, b, c, d in counts.values()])
        ratio = tables.odds_ratio(made)
        assert isinstance(ratio, Common)
        yield _row("statsmodels", name, "odds ratio", ratio.estimate, theirs.oddsratio_pooled)
        low, high = theirs.oddsratio_pooled_confint()
        yield _row("statsmodels", name, "low", ratio.low, low)
        yield _row("statsmodels", name, "high", ratio.high, high)
        tests = {
            "cmh": (tables.cmh(made), theirs.test_null_odds(True)),
            "cmh without continuity": (tables.cmh(made, continuity=False), theirs.test_null_odds(False)),
            "breslow-day": (tables.homogeneity(made), theirs.test_equal_odds()),
            "tarone": (tables.homogeneity(made, tarone=True), theirs.test_equal_odds(adjust=True)),
        }
        for test, (found, other) in tests.items():
            assert isinstance(found, ChiSquare)
            yield _row("statsmodels", name, test, found.statistic, other.statistic)
            yield _row("statsmodels", name, f"{test} p", found.p_value, other.pvalue)


def drawn_strata(chance: np.random.Generator) -> Counts:
    """Two to six strata of 20 to 60 units an arm, the treatment's rate .2 above the control's:
    where the arms are alike statsmodels squares a negative distance (CMH) and divides by nearly 0 (Breslow-Day)."""
    found = {}
    for level in range(int(chance.integers(2, 7))):
        sizes, rate = chance.integers(20, 61, 2), chance.uniform(0.2, 0.6)
        successes = chance.binomial(sizes - 2, (rate, min(0.8, rate + 0.2))) + 1
        found[str(level)] = (int(successes[0]), int(sizes[0]), int(successes[1]), int(sizes[1]))
    return found


def ours(case: Case) -> dict[str, float]:
    """Our figures of a case, by the peers' names of ours."""
    control, treatment = (moments(case[name]) for name in ("control", "treatment"))
    found = adjusted_contrast(control, treatment) if "x" in case["control"] else contrast(control, treatment)
    if isinstance(found, NoEffect):
        raise TypeError(f"no effect in {case['name']}: {found}")
    effect = found.effect(z_of(case["alpha"]), 1 - case["alpha"])
    posterior = view(effect, alpha=case["alpha"])
    # theirs takes the normal's boundary at every n, and so does p; ours Student's t: compared is what both start from
    plain = Contrast(
        control=found.control, treatment=found.treatment, estimate=found.estimate, se=found.se, df=None
    )  # fmt: skip
    look = anytime(plain, case["alpha"])
    return {
        **{name: getattr(effect, name) for name in ("estimate", "se", "low", "high", "p_value")},
        "sequence_half": look.boundary * found.se,
        "sequence_p": look.always_p,
        "p_better": posterior.p_better,
        "expected_loss": posterior.expected_loss,
        "credible_low": posterior.low,
    }


def moments(units: dict[str, list[float]]) -> Moments:
    """Sums of written units."""
    y = np.array(units["y"])
    s = np.array(units.get("s", np.ones_like(y)))
    x = np.array(units.get("x", np.zeros_like(y)))
    w = float(len(y)) if "x" in units else 0.0
    of_w = (float(y.sum()), float(s.sum())) if "x" in units else (0.0, 0.0)
    return Moments(
        n=len(y), y=float(y.sum()), s=float(s.sum()), x=float(x.sum()), yy=float(y @ y), ss=float(s @ s),
        xx=float(x @ x), sy=float(s @ y), xy=float(x @ y), xs=float(x @ s), w=w, wy=of_w[0], ws=of_w[1],
    )  # fmt: skip


def largest(rows: list[Row]) -> dict[str, dict[str, float]]:
    """The largest difference of each peer, by case; of tables that were drawn, over all."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        own = found.setdefault(row["peer"], {})
        case = "drawn strata" if row["case"].startswith("drawn") else row["case"]
        own[case] = max(own.get(case, 0.0), row["difference"])
    return found


def _row(peer: str, case: str, figure: str, own: float, theirs: float) -> Row:
    return {
        "peer": peer,
        "case": case,
        "figure": figure,
        "ours": own,
        "theirs": theirs,
        "difference": abs(own - theirs),
    }


if __name__ == "__main__":
    main()
