"""Which clusters' failures are new or growing, with the error rate of that claim."""
