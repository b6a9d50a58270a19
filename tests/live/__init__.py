"""Programs that nobody here wrote, exporting to the real collector."""
