"""Tests of the reference agent runtime and its world."""
