"""Online evaluation: rules over sessions that just ended."""
