"""Rates and means of what a judge said, corrected for the judge's errors by labels of people."""
