"""Releases brought to all traffic in canary steps, and back."""
