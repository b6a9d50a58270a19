"""Evaluators, datasets, runs and their comparison: how good the sessions of a release are, and are another's better."""
