"""Search over the documents of a tenant, what an answer rests on, and indexes that are swapped whole."""
