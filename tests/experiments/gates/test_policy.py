"""The policy's file: what may be said, and that an error names line and remedy."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from experiments.gates.policy import MetricRule, schema
from gateway.yaml_tree import read_tree
from server.gate_policy import BadPolicy, read_policy
from tests.experiments.gates.evidence import POLICY

SCHEMA = Path(__file__).resolve().parents[3] / "docs" / "gate-policy.schema.json"
KNOWN = {"correctness", "grounding", "latency_ms"}


def test_a_policy_and_what_it_leaves_out() -> None:
    policy = read_policy(POLICY, known=KNOWN)
    assert (policy.app, policy.dataset, policy.alpha) == ("desk", "golden", 0.05)
    assert [rule.metric for rule in policy.metrics] == ["correctness", "grounding", "latency_ms"]
    least = read_policy("version: 1\nmetrics: [{metric: correctness, margin: 0}]")
    assert (least.evidence.min_examples, least.evidence.max_unscored_share, least.strata) == (30, 0.0, True)


def test_a_margin_is_a_number_or_a_share_of_the_baseline() -> None:
    assert MetricRule(metric="x", margin=0.02).margin_of(5.0) == 0.02
    assert MetricRule(metric="x", margin="5%").margin_of(200.0) == 10.0
    assert MetricRule(metric="x", margin=" 2.5 %").margin_of(-200.0) == 5.0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("metric: correctness", "metric: corectness", "8: metrics[0].metric: 'corectness' is no metric; did you mean"),
        ("[correctness, grounding]", "[judge]", "6: required_evaluators[0]: 'judge' is no metric"),
        ("min_trials", "min_trails", "5: evidence.min_trails: is not known; did you mean 'min_trials'?"),
        ("role: primary", "role: primry", "8: metrics[0].role: has to be 'primary' or 'guardrail'; did you mean"),
        ('"10%"', "lots", "10: metrics[2].margin: has to be a number from 0 on"),
        ('"10%"', '"110%"', "10: metrics[2].margin: has to be a number from 0 on"),
        ("margin: 0.05}", "margin: .nan}", "8: metrics[0].margin: has to be a number from 0 on"),
        ("margin: 0.05}", "margin: -1}", "8: metrics[0].margin: has to be a number from 0 on"),
        ("margin: 0.05}", "margin: true}", "8: metrics[0].margin: has to be a number from 0 on"),
        ("metric: grounding", "metric: correctness", "7: metrics: correctness is there twice"),
        ("version: 1", "version: 2", "1: version: has to be 1"),
        ("alpha: 0.05", "alpha: 0", "4: alpha: should be greater than or equal to 0.0001"),
        ("alpha: 0.05", "alpha: 0.5", "4: alpha: should be less than or equal to 0.2"),
        ("min_examples: 60", "min_examples: 1", "5: evidence.min_examples: should be greater than"),
        ("min_examples: 60", "min_examples: many", "5: evidence.min_examples: "),
        ("max_age_h: 48", "max_age_h: .inf", "5: evidence.max_age_h: "),
        ("dataset: golden", "dataset: &a golden", "3: dataset: has an anchor"),
        ("dataset: golden", "dataset: !!python/object:os.system x", "3: dataset: has a tag"),
        ("app: desk", "app: desk\napp: desk", "3: app: is there twice, first in line 2"),
        ("app: desk", "\tapp: desk", "2: is indented with a tab"),
        ("metric: correctness, ", "", "8: metrics[0].metric: is missing"),
        ("app: desk", "app: \x00", "2: has a NUL character"),
    ],
)  # fmt: skip
def test_an_error_names_the_line_and_what_to_write(old: str, new: str, said: str) -> None:
    assert old in POLICY
    with pytest.raises(BadPolicy) as raised:
        read_policy(POLICY.replace(old, new, 1), known=KNOWN, where="gate.yaml")
    assert any(one.startswith(f"gate.yaml:{said}") for one in raised.value.problems), raised.value.problems


@pytest.mark.parametrize(
    "text", ["", "[]", "x", "version: 1", "metrics: []\nversion: 1", "a: " * 500, "---\n---\n", "x" * 70_000]
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(BadPolicy):
        read_policy(text)


def test_a_list_whose_only_member_is_wrong_is_not_called_empty() -> None:
    with pytest.raises(BadPolicy) as raised:
        read_policy("version: 1\nmetrics: [{metric: x, margin: -1}]")
    assert len(raised.value.problems) == 1


def test_one_that_requires_nothing_is_refused() -> None:
    with pytest.raises(BadPolicy, match="none is required"):
        read_policy("version: 1\nmetrics: [{metric: x, margin: 0, required: false}]")


def test_the_committed_schema_is_that_of_the_models() -> None:
    """`assay gate check --schema > docs/gate-policy.schema.json` writes it."""
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json.loads(json.dumps(schema()))


def test_the_schema_takes_what_the_reader_takes() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(read_tree(POLICY).value, schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"version": 1, "metrics": []}, schema())
