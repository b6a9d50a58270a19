"""The lake, the query engine and the control database; the only room that opens a connection."""
