"""The gateway: its two doors, its policies, its upstreams."""
