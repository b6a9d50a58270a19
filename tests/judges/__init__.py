"""Tests of rubrics, judges, agreement and corrected rates."""
