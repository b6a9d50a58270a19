"""Benchmarks of experiments on live traffic and of canaries."""
