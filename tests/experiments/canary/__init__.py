"""Tests of canaries: e-processes, the gate of a step, maturity, certificates."""
