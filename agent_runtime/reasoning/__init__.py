"""How a turn is reasoned: step by step, by a plan, or by weighing several approaches."""
