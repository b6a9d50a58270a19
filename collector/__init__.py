"""The OTLP doors, the journal, and the way from wire bytes to rows in the lake."""
