"""The rule-based dialogue policy of the simulated model: it reads the messages, the tools offered and their results."""
