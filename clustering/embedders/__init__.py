"""Texts become vectors: the embedders, behind one protocol."""
