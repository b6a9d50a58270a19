"""Datasets for the reference agent, and what makes them."""
