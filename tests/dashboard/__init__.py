"""The dashboard: its pure parts, and every page in a browser against the real stack."""
