"""Rollouts: the state machine, the tick over real stores, and what people do with them."""
