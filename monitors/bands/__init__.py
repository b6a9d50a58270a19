"""Bands: from a series before now to what its next point may be. Each is pure and steps many series at once."""
