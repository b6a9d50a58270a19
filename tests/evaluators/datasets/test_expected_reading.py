"""What an example expects is refused when it is read, not found unreadable when it is scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInput
from evaluators.datasets.expected import expected_of

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "datasets"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"comparators": {"refund.usd": "nearly"}}, "no comparator 'nearly'"),
        ({"comparators": {"refund.usd": "number:lots"}}, "a tolerance is a number"),
        ({"post_conditions": ["state.a == 1", "state.a =="]}, "expected a value"),
        ({"post_conditions": ["__import__('os')"]}, "expected a value or a path"),
        ({"relevant": {"d1": 10**400}}, "too large a number"),
    ],
)
def test_what_no_evaluator_could_read_is_refused(said: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        expected_of(said)


@pytest.mark.parametrize("name", ["support-golden.jsonl", "support-adversarial.jsonl"])
def test_the_datasets_that_come_with_assay_are_read(name: str) -> None:
    for line in (EXAMPLES / name).read_text(encoding="utf-8").splitlines():
        expected_of(json.loads(line).get("expected"))
