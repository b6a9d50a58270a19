"""Trajectories and session frames from the store."""
