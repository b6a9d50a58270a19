"""Judges: rubrics, model judges, their agreement with people, and rates corrected for their errors."""
