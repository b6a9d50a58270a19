"""Series that are watched, bands that say when they moved, and what on-call is told of it."""
