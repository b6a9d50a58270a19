"""Runs: the examples of a dataset tried, scored, and kept so that a kill pays for nothing twice."""
