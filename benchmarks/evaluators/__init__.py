"""Evaluators: how often a comparison is wrong, and what it sees."""
