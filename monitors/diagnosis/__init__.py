"""What an incident's series say of its cause: which moved together, which pattern that is, and where it happened."""
