"""A pytest plugin that runs an agent over a dataset of Assay and judges the suite as a whole."""
