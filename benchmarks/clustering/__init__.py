"""Benchmarks of clustering: found clusters against known ones, names, identity, emerging failures, speed."""
