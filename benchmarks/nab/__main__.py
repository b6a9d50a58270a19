"""Our bands on the labelled series of the Numenta Anomaly Benchmark that are in a folder, by its own rules.

    python -m benchmarks.nab ../shared/data/nab

First the scorer on itself: the stored scores of two detectors, at the published thresholds, against what the makers
published of each file; and the published raw scores of the whole benchmark against the published final ones. Then our
bands, each with one configuration for all profiles and files: with the alarms it raises, and as the benchmark does it,
with the one threshold on its score that is best for each profile. "tuned" are the files that the configuration was
chosen on, "kept" the others: the first, third, ... and the second, fourth, ... of each folder by name. With `--bands`
only these are run, and the others stay in the result as they are.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from benchmarks.evaluators.throughput import commit, machine
from benchmarks.nab import corpus, scorer
from benchmarks.nab.bands import Said, literal, rested, said
from benchmarks.nab.corpus import Costs, Floats, Series
from monitors.bands.ema import EmaBand
from monitors.bands.novelty import NoveltyBand
from monitors.bands.seasonal import Season
from monitors.calibration import k_for

RESULT: Final = Path(__file__).parents[1] / "results" / "nab.json"
PUBLISHED: Final = Path(__file__).with_name("published_files.csv")
# Windows of the whole benchmark, of which there is a part here.
WINDOWS: Final = 116

# One false alarm in ten weeks of five minutes: the budget that a monitor has unless another is asked for.
SELDOM: Final = 20_160.0
SPIKES: Final = EmaBand(alpha=0.02, k=k_for(0.02, SELDOM), season=Season(step_s=300))

BANDS: Final[dict[str, Callable[[list[Series]], list[Said]]]] = {
    "novelty": lambda series: said(series, NoveltyBand()),
    "ema, calibrated, seasonal": lambda series: rested(said(series, SPIKES), NoveltyBand().quiet),
    "mean and 3 sigma of an EMA, alpha .01, literally": lambda series: [literal(one, 0.01) for one in series],
    "mean and 3 sigma of an EMA, alpha .1, literally": lambda series: [literal(one, 0.1) for one in series],
}


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bands", help=f"some of: {', '.join(BANDS)}; separated by semicolons")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    series = corpus.read_series(args.folder)
    profiles = corpus.read_profiles(args.folder)
    result: dict[str, Any] = {
        "what": "the bands on the labelled series of the Numenta Anomaly Benchmark that are here",
        "command": "python -m benchmarks.nab ../shared/data/nab",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "files": len(series),
        "windows": sum(len(one.windows) for one in series),
        "reproduced": reproduced(args.folder, series, profiles),
        "finals": finals(args.folder, profiles),
        "stored_on_these_files": stored(args.folder, series, profiles),
        "bands": kept_bands(args.out) if args.bands else {},
        "published_on_the_whole_benchmark": corpus.read_published(args.folder),
    }
    for name in args.bands.split(";") if args.bands else BANDS:
        began = time.process_time()
        answers = BANDS[name](series)
        cpu_s = round(time.process_time() - began, 1)
        result["bands"][name] = {**scored(series, answers, profiles), "cpu_s": cpu_s}
        print(name, json.dumps(result["bands"][name]), flush=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def kept_bands(stored_at: Path) -> dict[str, Any]:
    """The bands of a result that is there."""
    found: dict[str, Any] = json.loads(stored_at.read_text())["bands"] if stored_at.exists() else {}
    return found


def reproduced(folder: Path, series: list[Series], profiles: dict[str, Costs]) -> dict[str, Any]:
    """How far our raw score of each file is from the published one, for each detector and profile that is published."""
    table, thresholds = pl.read_csv(PUBLISHED), corpus.read_thresholds(folder)
    sheets = [scorer.sheet(one) for one in series]
    found: dict[str, Any] = {}
    for column in table.columns[1:]:
        detector, profile = column.split(" ")
        published = dict(zip(table["file"], table[column], strict=True))
        at = thresholds[detector][profile]["threshold"]
        scores = corpus.read_scores(folder, detector, series)
        raws = [scorer.at_threshold(*one, profiles[profile], at).raw for one in zip(sheets, scores, strict=True)]
        apart = [abs(raw - published[one.name]) for raw, one in zip(raws, series, strict=True)]
        found[column] = {"files": len(apart), "threshold": at, "farthest_apart": float(f"{max(apart):.1e}")}
    return found


def finals(folder: Path, profiles: dict[str, Costs]) -> dict[str, Any]:
    """Final scores of the whole benchmark from its raw ones. Some detectors' two published files are of other runs."""
    published, thresholds = corpus.read_published(folder), corpus.read_thresholds(folder)
    equal: list[str] = []
    other: list[str] = []
    for name in sorted(set(published) & set(thresholds)):
        ours = {p: scorer.final(thresholds[name][p]["score"], WINDOWS, costs) for p, costs in profiles.items()}
        same = all(abs(ours[one] - published[name][one]) < 1e-6 for one in profiles)
        (equal if same else other).append(name)
    return {"equal_to_six_digits": equal, "raw_and_final_of_other_runs": other}


def stored(folder: Path, series: list[Series], profiles: dict[str, Costs]) -> dict[str, Any]:
    """The stored detectors on the files that are here alone, at the published threshold and at the best one here."""
    sheet, thresholds = scorer.joined([scorer.sheet(one) for one in series]), corpus.read_thresholds(folder)
    found: dict[str, Any] = {}
    for detector in corpus.STORED:
        scores = np.concatenate(corpus.read_scores(folder, detector, series))
        found[detector] = {
            profile: {
                "published_threshold": _final(sheet, scores, costs, thresholds[detector][profile]["threshold"]),
                "best_threshold_here": _final(sheet, scores, costs, None),
            }
            for profile, costs in profiles.items()
        }
    return found


def scored(series: list[Series], answers: Sequence[Said], profiles: dict[str, Costs]) -> dict[str, Any]:
    """A band's scores for the three profiles on the tuned half, the kept half and all files."""
    tuned, kept = corpus.halves(series)
    found: dict[str, Any] = {}
    for part, places in (("tuned", tuned), ("kept", kept), ("all", list(range(len(series))))):
        sheet = scorer.joined([scorer.sheet(series[one]) for one in places])
        paged = np.concatenate([answers[one].paged for one in places])
        score = np.concatenate([answers[one].score for one in places])
        once = scorer.at_threshold(sheet, paged, profiles["standard"], 0.5)
        found[part] = {
            "windows": sheet.n_windows,
            "found": once.n_found,
            "false": once.n_false,
            "as_it_pages": {name: _final(sheet, paged, costs, 0.5) for name, costs in profiles.items()},
            "threshold_per_profile": {name: _final(sheet, score, costs, None) for name, costs in profiles.items()},
        }
    return found


def _final(sheet: scorer.Sheet, scores: Floats, costs: Costs, threshold: float | None) -> float:
    if threshold is None:
        tally = scorer.best_threshold(sheet, scores, costs)
    else:
        tally = scorer.at_threshold(sheet, scores, costs, threshold)
    return round(scorer.final(tally.raw, sheet.n_windows, costs), 2)


if __name__ == "__main__":
    main()
