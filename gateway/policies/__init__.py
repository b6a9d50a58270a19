"""What every model call passes, one file per policy."""
