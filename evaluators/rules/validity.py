"""What benchmarks/evaluators/validity.py measured of the rules: how well each predicts a benchmark's own reward.

A test holds this table equal to benchmarks/results/evaluator_validity.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

VALIDITY: Final[Mapping[str, str]] = {
    "tool_calls_exact": (
        "AUC for the benchmark's own reward: tau-bench airline .54 (kappa .11), tau2 airline .57 (kappa .17), "
        "tau2 retail .56 (kappa .04), tau2 telecom .50 (kappa .00); n = 120/141/81/182."
    ),
    "tool_calls_in_order": (
        "AUC for the benchmark's own reward: tau-bench airline .82 (kappa .61), tau2 airline .80 (kappa .58), "
        "tau2 retail .67 (kappa .16), tau2 telecom .61 (kappa .21); n = 120/141/81/182."
    ),
    "tool_calls_any_order": (
        "AUC for the benchmark's own reward: tau-bench airline .82 (kappa .61), tau2 airline .79 (kappa .56), "
        "tau2 retail .71 (kappa .23), tau2 telecom .63 (kappa .26); n = 120/141/81/182."
    ),
    "tool_precision": (
        "AUC for the benchmark's own reward: tau-bench airline .55, tau2 airline .59, tau2 retail .68, tau2 "
        "telecom .49; n = 120/141/81/182."
    ),
    "tool_recall": (
        "AUC for the benchmark's own reward: tau-bench airline .84, tau2 airline .80, tau2 retail .81, tau2 "
        "telecom .60; n = 120/141/81/182."
    ),
    "tool_f1": (
        "AUC for the benchmark's own reward: tau-bench airline .56, tau2 airline .62, tau2 retail .69, tau2 "
        "telecom .49; n = 120/141/81/182."
    ),
    "tool_names_f1": (
        "AUC for the benchmark's own reward: tau-bench airline .45, tau2 airline .57, tau2 retail .63, tau2 "
        "telecom .67; n = 120/141/81/182."
    ),
    "tool_order": (
        "AUC for the benchmark's own reward: tau-bench airline .84, tau2 airline .81, tau2 retail .76, tau2 "
        "telecom .59; n = 120/141/81/182."
    ),
    "argument_match": (
        "AUC for the benchmark's own reward: tau-bench airline .72, tau2 airline .76, tau2 retail .79, tau2 "
        "telecom .56; n = 96/122/81/130."
    ),
    "single_tool_use": (
        "AUC for the benchmark's own reward: tau-bench airline .55 (kappa .05), tau2 airline .59 (kappa .17), "
        "tau2 telecom .86 (kappa .78); n = 32/54/89."
    ),
    "write_set": (
        "AUC for the benchmark's own reward: tau-bench airline .97 (kappa .94), tau2 airline .96 (kappa .91), "
        "tau2 retail .96 (kappa .79), tau2 telecom .61 (kappa .20); n = 120/141/81/182."
    ),
    "write_f1": (
        "AUC for the benchmark's own reward: tau-bench airline .99, tau2 airline .96, tau2 retail .96, tau2 "
        "telecom .61; n = 120/141/81/182."
    ),
    "loop_free": (
        "AUC for the benchmark's own reward: tau-bench airline .51 (kappa .01), tau2 airline .54 (kappa .06), "
        "tau2 retail .50 (kappa .00), tau2 telecom .52 (kappa .05); n = 120/141/81/182."
    ),
    "redundant_calls": (
        "AUC for the benchmark's own reward: tau-bench airline .53, tau2 airline .52, tau2 retail .50, tau2 "
        "telecom .51; n = 104/136/81/181."
    ),
    "recovery_rate": ("AUC for the benchmark's own reward: tau-bench airline .31, tau2 airline .62; n = 32/33."),
    "tool_error_rate": (
        "AUC for the benchmark's own reward: tau-bench airline .54, tau2 airline .64, tau2 retail .69, tau2 "
        "telecom .52; n = 104/136/81/181."
    ),
}
