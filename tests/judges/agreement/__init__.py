"""Tests of agreement statistics."""
