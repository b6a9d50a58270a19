"""Rules over sessions that just ended, each once per state of the session, whatever is killed in between."""
