"""The Numenta Anomaly Benchmark: its scorer, written from the published rules, and our bands on its series."""
