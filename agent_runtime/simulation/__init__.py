"""The simulated world: a shop, its customers and a model, in which every fault is planted and recorded."""
