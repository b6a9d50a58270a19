"""Statistics of experiments with units, strata and many looks: pure, over sums that add."""
