"""What agents may do: the tools, their scopes and caps, and the ledger that does each of them once."""
