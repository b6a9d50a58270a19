"""Who gets which variant: assignment by hash, pure."""
