"""Published and recorded figures of real judges: LLMBar, tau2, PandaLM, and two raters of failed calls."""

from __future__ import annotations

import numpy as np
import pytest

from evaluators.statistics.estimates import Unestimated
from judges.agreement.alpha import Level, krippendorff_alpha
from judges.agreement.ceiling import human_ceiling
from judges.agreement.kappa import Weighting, cohen_kappa
from judges.agreement.report import agreement_report
from judges.agreement.tables import IntArray, table
from tests.judges.agreement.recorded import codes, llmbar, llmbar_published, pandalm, tau2, voice


def number(found: float | Unestimated) -> float:
    assert not isinstance(found, Unestimated), found
    return found


def kappa_of(first: IntArray, second: IntArray, k: int) -> float:
    return number(cohen_kappa(table(first, second, k)))


def test_llmbar_kappa_between_the_orders_is_as_published_in_every_complete_cell() -> None:
    verdicts, compared = llmbar(), 0
    for row in llmbar_published():
        cell = verdicts[row["subset"], row["judge"], row["prompting"]]
        if "" in cell["ab"] + cell["ba"]:
            continue
        ours = kappa_of(codes(cell["ab"], ["1", "2"]), codes(cell["ba"], ["1", "2"]), 2)
        assert ours == pytest.approx(row["kappa_agreement"], abs=1e-6), row
        compared += 1
    assert (compared, len(verdicts)) == (259, 345)


def test_llmbars_other_kappas_carry_a_bug_that_is_not_ours() -> None:
    """Its kappa with gold of a judge that is right in 93.5% of the cases is published as about 0.26."""
    cell = llmbar()["LLMBar/Natural", "GPT-4", "Vanilla_NoRules"]
    gold = codes(cell["gold"], ["1", "2"])
    orders = [codes(cell[order], ["1", "2"]) for order in ("ab", "ba")]
    right = float(np.mean([(order == gold).mean() for order in orders]))
    kappa = float(np.mean([kappa_of(order, gold, 2) for order in orders]))
    same = float((orders[0] == orders[1]).mean())
    assert (round(right, 3), round(same, 2)) == (0.935, 0.97)
    assert kappa == pytest.approx(0.867, abs=1e-3)
    (row,) = [
        one
        for one in llmbar_published()
        if (one["subset"], one["judge"], one["prompting"]) == ("LLMBar/Natural", "GPT-4", "Vanilla_NoRules")
    ]
    assert row["kappa_average"] == pytest.approx(0.26, abs=1e-3)


@pytest.mark.parametrize(
    ("prompt", "published"),
    [
        ("customer_outcome_v1", -0.163),
        ("policy_chain_of_thought_v1", -0.079),
        ("policy_conversation_v1", 0.368),
        ("quick_triage_v1", 0.063),
    ],
)
def test_tau2_airline_kappas(prompt: str, published: float) -> None:
    report = agreement_report(tau2("airline", prompt), ["fail", "pass"])
    assert report.kappa.value == pytest.approx(published, abs=5e-4)
    assert report.n == 50
    assert report.certificate.standing.value == "failed"


def test_tau2_a_judge_that_passes_nearly_everything_shows_it() -> None:
    report = agreement_report(tau2("airline", "quick_triage_v1"), ["fail", "pass"])
    passing = report.by_label[1]
    assert not isinstance(passing.verdicts, Unestimated)
    assert not isinstance(passing.specificity, Unestimated)
    assert passing.verdicts.value == pytest.approx(46 / 50)
    assert passing.specificity.value == pytest.approx(3 / 27)


def test_tau2_a_verdict_that_was_not_offered_is_missing() -> None:
    report = agreement_report(tau2("retail", "policy_chain_of_thought_v1"), ["fail", "pass"])
    assert report.missing == {"not_said": 1}  # partially_satisfied
    assert report.n + 1 == tau2("retail", "policy_chain_of_thought_v1").height


def test_pandalm_garbage_is_missing_and_a_tie_is_a_class() -> None:
    """gpt-3.5 says "Tie" where people and PandaLM say 0; 18 of its answers are neither and no class."""
    rows = pandalm()
    people = np.array([[row[f"annotator{one}"] for one in (1, 2, 3)] for row in rows], dtype=np.int64)
    gpt = codes([str(row["judge_gpt35"]).replace("Tie", "0") for row in rows], ["0", "1", "2"])
    assert int((gpt == -1).sum()) == 18
    majority = codes([str(row["majority"]) for row in rows], ["0", "1", "2"])
    of = table(majority, gpt, 3)
    assert (of.n, of.counts.shape) == (591, (3, 3))
    alpha = number(krippendorff_alpha(people, 3, Level.NOMINAL))
    pairs = [kappa_of(people[:, a], people[:, b], 3) for a, b in ((0, 1), (0, 2), (1, 2))]
    ceiling = human_ceiling(people, gpt, 3, Weighting.NOMINAL, seed=0, resamples=500)
    assert not isinstance(ceiling, Unestimated)
    assert ceiling.kappa.value == pytest.approx(np.mean(pairs), abs=1e-9)
    assert ceiling.alpha.value == pytest.approx(alpha, abs=1e-9)
    assert (ceiling.n_items, ceiling.n_pairs, ceiling.n_annotators) == (609, 3, 3)
    assert (round(alpha, 3), round(kappa_of(majority, gpt, 3), 3)) == (0.864, 0.538)


def test_voice_two_raters_agree_moderately_on_the_source_of_43_failures() -> None:
    found = {}
    for field in ("error_source", "error_type"):
        first, second = voice(field)
        labels = sorted(set(first) | set(second))
        found[field] = (len(first), round(kappa_of(codes(first, labels), codes(second, labels), len(labels)), 3))
    assert found == {"error_source": (43, 0.593), "error_type": (43, 0.547)}
