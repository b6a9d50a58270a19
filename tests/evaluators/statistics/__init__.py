"""Statistics against references, worked examples and properties that hold for all data."""
