"""Rates, paired differences, multiplicity, power, pass^k and anytime evidence: pure, each formula with its source."""
