"""The words every room shares: records, ids, clock, windows and errors, on the standard library alone."""
