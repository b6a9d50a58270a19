"""Biases of judges on LLMBar's stored verdicts, and what the bias figures and canaries find when it is planted.

python -m benchmarks.judges.biases

cells      accuracy over both orders and swap consistency of every cell without a missing verdict, against the
           figures that came with the data
llmbar     per part and judge, plain prompt (Vanilla_NoRules): accuracy, kappa, consistency, P(first), P(longer)
planted    how often intervals cover what was planted, and tests fire where nothing was
canaries   how often a judge that passes null answers, or obeys injections, at a given rate is failed
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from benchmarks.evaluators.recorded import SHARED
from benchmarks.evaluators.throughput import ROOT, commit, machine
from evaluators.statistics.estimates import Estimate, Unestimated
from evaluators.statistics.multiplicity import holm
from judges.biases.family import Answers, self_preference
from judges.biases.length import length_controlled, longer_chosen
from judges.biases.logistic import Fit
from judges.biases.order import accuracy_of_orders, mean_of_orders, order_bias, place_effect
from judges.canaries import ALPHA, PAIRS, SOURCES

DATA: Final = SHARED / "llmbar"
RESULT: Final = ROOT / "benchmarks" / "results" / "judge_biases.json"
CELL: Final = ("subset", "judge", "prompting")
PLAIN: Final = "Vanilla_NoRules"
PARTS: Final = {"natural": "LLMBar/Natural", "adversarial (GPTInst, Manual)": "LLMBar/Adversarial"}
ROUNDS: Final = 1_000

Told = dict[str, Any]


def main() -> None:
    """Measures and writes the result."""
    frame = verdicts()
    result = {
        "what": "biases of judges on LLMBar's stored verdicts; what planted biases and bad judges give",
        "command": "python -m benchmarks.judges.biases",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "cells": cells(frame),
        "llmbar": {name: of_part(frame, part) for name, part in PARTS.items()},
        "not_here": "the adversarial rows of the literature are over 319 items, of which 138 are in these data; "
        "MT-Bench and FairEval are not",
        "planted": planted(),
        "canaries": canaries(),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: result[name] for name in ("cells", "planted", "canaries")}, indent=1))
    for part, rows in result["llmbar"].items():  # type: ignore[attr-defined]
        for judge, row in rows.items():
            print(part, judge, json.dumps(row))


def verdicts() -> pl.DataFrame:
    """A row per verdict, with both answers' lengths in characters."""
    found = pl.read_csv(gzip.decompress((DATA / "judge_verdicts.csv.gz").read_bytes()))
    lengths = pl.read_ndjson(gzip.decompress((DATA / "items.jsonl.gz").read_bytes())).select(
        "subset",
        "idx",
        length=pl.col("output_1").str.len_chars().cast(pl.Float64) - pl.col("output_2").str.len_chars(),
    )
    return found.join(lengths, on=["subset", "idx"], how="left", maintain_order="left")


def cells(frame: pl.DataFrame) -> Told:
    """How far accuracy and consistency are from the published ones."""
    published = json.loads((DATA / "published_statistics.json").read_text())
    parts = dict(frame.group_by(CELL, maintain_order=True))
    far, n_missing = [], 0
    for one in published:
        part = parts[tuple(one[name] for name in CELL)]
        ab, ba, gold = (choices(part, name) for name in ("winner_ab", "winner_ba", "label"))
        if (ab < 0).any() or (ba < 0).any():
            n_missing += 1
            continue
        accuracy, consistent = accuracy_of_orders(ab, ba, gold) or 0.0, value(order_bias(ab, ba).consistency) or 0.0
        far.append(abs(100 * accuracy - float(one["correct_average"].rstrip("%"))))
        far.append(abs(100 * consistent - float(one["equal"].split("=")[1].strip(" %"))))
    return {"compared": len(far) // 2, "with_a_missing_verdict": n_missing, "largest_difference_percent": max(far)}


def of_part(frame: pl.DataFrame, part: str) -> Told:
    """Each judge on a part of the data."""
    rows = frame.filter(pl.col("subset").str.starts_with(part) & (pl.col("prompting") == PLAIN))
    return {str(judge): of_judge(own) for (judge,), own in sorted(rows.group_by(["judge"]), key=lambda one: one[0])}


def of_judge(own: pl.DataFrame) -> Told:
    """One judge's row."""
    ab, ba, gold = (choices(own, name) for name in ("winner_ab", "winner_ba", "label"))
    found = order_bias(ab, ba)
    both = (ab >= 0) & (ba >= 0)
    same = both & (ab == ba)
    longer = longer_chosen(mean_of_orders(ab, ba), (gold == 0).astype(np.float64), own["length"].to_numpy())
    kappas = [cohen_kappa_score(gold[both], one[both]) for one in (ab, ba)]
    return {
        "n": own.height,
        "missing": found.n_missing,
        "accuracy": accuracy_of_orders(ab, ba, gold),
        "kappa": float(np.mean(kappas)),
        "consistency": shown(found.consistency),
        "p_first": shown(found.p_first),
        "p_of_no_order_bias": found.p_no_bias,
        "p_longer": shown(longer.judge),
        "p_longer_by_gold": shown(longer.gold),
        "excess_of_longer": shown(longer.excess),
        "consistent_subset": {
            "coverage": float(same.mean()),
            "accuracy": float((ab[same] == gold[same]).mean()) if same.any() else None,
            "kappa": float(cohen_kappa_score(gold[same], ab[same])) if same.any() else None,
        },
    }


def planted() -> Told:
    """Coverage of 95% intervals, and false alarms at 5%."""
    return {
        "rounds": ROUNDS,
        "place_effect_covers_0.8": share(_place),
        "length_controlled_covers_0.5_where_length_alone_wins": share(_length),
        "raw_win_rate_there": float(np.mean([_raw_length(np.random.default_rng(seed)) for seed in range(200)])),
        "self_preference_covers_0.1 (200 rounds)": share(_family, 200),
        "order_bias_found_where_there_is_none": share(lambda rng: _order(rng, 0.5)),
        "order_bias_found_at_p_first_0.6": share(lambda rng: _order(rng, 0.6)),
    }


def share(of: Callable[[np.random.Generator], bool], rounds: int = ROUNDS) -> float:
    """The share of rounds in which something holds."""
    return float(np.mean([of(np.random.default_rng([seed, 7])) for seed in range(rounds)]))


def _place(rng: np.random.Generator) -> bool:
    n = 400
    strength, place = rng.normal(size=n), rng.choice([-1.0, 1.0], size=n)
    won = (rng.random(n) < 1 / (1 + np.exp(-(strength + 0.8 * place)))).astype(np.float64)
    found = place_effect(won, place, strength)
    return isinstance(found, Fit) and covers(found.estimate(1), 0.8)


def _wins_by_length(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    difference = rng.normal(250, 200, 400)
    won = rng.random(400) < 1 / (1 + np.exp(-1.5 * np.tanh(difference / difference.std())))
    return won.astype(np.float64), difference


def _length(rng: np.random.Generator) -> bool:
    return covers(length_controlled(*_wins_by_length(rng)).controlled, 0.5)


def _raw_length(rng: np.random.Generator) -> float:
    return float(_wins_by_length(rng)[0].mean())


def _family(rng: np.random.Generator) -> bool:
    """The judge says what people say, and passes one in five more of its own answers that people fail."""
    n = 100
    prompt, family = np.repeat(np.arange(n), 3), np.tile(np.arange(3), n)
    human = (rng.random(3 * n) < 0.5).astype(np.float64)
    lifted = (family == 0) & (human == 0) & (rng.random(3 * n) < 0.2)
    answers = Answers(prompt=prompt, family=family, judge=np.where(lifted, 1.0, human), human=human)
    return covers(self_preference(answers, 0, seed=0).preference, 0.1)


def _order(rng: np.random.Generator, p_first: float) -> bool:
    """Of 200 pairs, a third of which change with the order."""
    ab = rng.integers(0, 2, 200)
    changed = rng.random(200) < 1 / 3
    first = rng.random(200) < 0.5 + (p_first - 0.5) * 3
    ba = np.where(changed, np.where(first, 1, 0), ab)
    ab = np.where(changed, np.where(first, 0, 1), ab)
    return order_bias(ab, ba).p_no_bias <= 0.05


def canaries() -> Told:
    """The share of judges that are failed, from 20 conversations."""
    rng = np.random.default_rng(1)
    nulls = {
        f"passes null answers at {rate:g}": float(np.mean([_fails(rng, rate, 0.0) for _ in range(4 * ROUNDS)]))
        for rate in (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    }
    obeys = {
        f"obeys an injection at {rate:g}": float(np.mean([_fails(rng, 0.05, rate) for _ in range(4 * ROUNDS)]))
        for rate in (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
    }
    return {"conversations": SOURCES, "rounds": 4 * ROUNDS, "failed": nulls | obeys}


def _fails(rng: np.random.Generator, null: float, obeys: float) -> bool:
    """As judges.canaries.report decides: three null kinds and the injection, of which half of the originals passed
    before; 2% of verdicts change by themselves."""
    passes = rng.binomial(SOURCES, null, 3)
    p = [float(one) for one in stats.binom.sf(passes - 1, SOURCES, 0.5)]
    good = np.repeat([True, False], [SOURCES // 2, PAIRS * SOURCES // 2])  # a pair each
    before = np.where(rng.random(len(good)) < 0.02, ~good, good)
    after = np.where(rng.random(len(good)) < 0.02, ~good, good) | (rng.random(len(good)) < obeys)
    up, down = int((after & ~before).sum()), int((before & ~after).sum())
    p.append(float(stats.binom.sf(up - 1, up + down, 0.5)) if up + down else 1.0)
    return min(holm(p)) <= ALPHA


def choices(frame: pl.DataFrame, column: str) -> NDArray[np.int64]:
    """Winners 1 and 2 as 0 and 1, none as -1."""
    return (frame[column].cast(pl.Int64).fill_null(0) - 1).to_numpy()


def covers(found: Estimate | Unestimated, truth: float) -> bool:
    """Whether the interval holds the truth."""
    ends = found.interval if isinstance(found, Estimate) else None
    return ends is not None and ends.low <= truth <= ends.high


def value(found: Estimate | Unestimated) -> float | None:
    """The number, where there is one."""
    return found.value if isinstance(found, Estimate) else None


def shown(found: Estimate | Unestimated) -> list[float] | None:
    """The number with its interval."""
    if not isinstance(found, Estimate) or found.interval is None:
        return None
    return [round(one, 4) for one in (found.value, found.interval.low, found.interval.high)]


if __name__ == "__main__":
    main()
