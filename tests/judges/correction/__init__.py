"""Tests of judges/correction."""
