"""Experiments: assignment now, statistics and gates when they come."""
