"""Benchmarks of bands, alerts and their diagnosis."""
