"""Coverage-guided fuzzing of the doors and of everything that turns a body into rows."""
