"""What is remembered over three horizons: the context of a session, earlier sessions, and the user."""
