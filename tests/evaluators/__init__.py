"""Evaluators: what they read, what they score, and the statistics of two runs."""
