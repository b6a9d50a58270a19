"""Datasets: what the agent is asked and what is expected of it, in versions that never change."""
