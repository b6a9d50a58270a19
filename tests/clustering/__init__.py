"""Clusters of sessions: each part by itself, and a run over a store."""
