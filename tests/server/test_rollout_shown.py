"""A rollout in the terminal: when to the second, e-values beside what they are held against, and how they went."""

from __future__ import annotations

import re
from typing import Any

import pytest

from server.cli.rollout_shown import print_rollout

GUARDRAIL: dict[str, Any] = {
    "name": "error_rate", "rate_candidate": 0.12, "n_candidate": 50, "rate_baseline": 0.05, "n_baseline": 900,
    "e_harm": 12.3, "boundary": 57.14, "e_non_inferior": 0.5, "boundary_non_inferior": 20.0, "finding": "ok",
}  # fmt: skip
NOTHING = dict.fromkeys(("e_harm", "boundary", "e_non_inferior", "boundary_non_inferior"))
COUNTED = {**GUARDRAIL, **NOTHING, "name": "safety"}
STEP: dict[str, Any] = {
    "weight": 0.05, "min_units": 20, "bake_s": 90.0, "entered_at": "2026-11-22T09:05:05.123Z", "decision": None,
    "n_candidate": 50, "n_baseline": 900,
}  # fmt: skip
TOLD: dict[str, Any] = {
    "id": "ro_1", "app": "shop", "candidate": "v2", "baseline": "v1", "status": "running", "step": 0, "bypass": None,
    "steps": [STEP, {**STEP, "weight": 1.0, "entered_at": None}],
    "guardrails": [GUARDRAIL, COUNTED], "reasons": ["error_rate: 12 of 20 units"],
    "series": [
        {"at": "2026-11-22T09:06:00Z", "guardrail": "error_rate", "log10_e_harm": log, "log10_e_non_inferior": 0.0}
        for log in (-0.5, 0.9, 9.0)
    ],
    "timeline": [
        {"at": "2026-11-22T09:05:53.542Z", "kind": "roll_back", "text": "harm\x1b[2J", "by": "assay", "certificate": 1}
    ],
}  # fmt: skip


def test_figures_stand_beside_what_they_are_held_against(capsys: pytest.CaptureFixture[str]) -> None:
    print_rollout(TOLD)
    out = capsys.readouterr().out
    assert re.search(r"▶ 5 % +2026-11-22 09:05:05 +50 +900 +20 units, 1.5 min", out)
    assert re.search(r"error_rate +12.00 % of 50 +5.00 % of 900 +▁▄█ +12.3 / 57.1 +0.5 / 20 +ok", out)
    assert re.search(r"safety +12.00 % of 50 +5.00 % of 900 +- +- +ok", out)
    assert "- error_rate: 12 of 20 units" in out
    assert "2026-11-22 09:05:53  roll back  harm" in out
    assert "(by assay, certificate 1)" in out
    assert "\x1b" not in out
