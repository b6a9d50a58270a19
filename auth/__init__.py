"""Who is calling: an API key becomes a Principal with one tenant and one role."""
