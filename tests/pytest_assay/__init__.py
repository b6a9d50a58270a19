"""The pytest plugin, run by pytest itself, against a real server."""
