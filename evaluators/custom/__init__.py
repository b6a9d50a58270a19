"""Evaluators of the operator's own: Python files and HTTP endpoints, run in a child process with limits."""
