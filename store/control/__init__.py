"""The control database: tenants, keys, the ledger and the audit chain, in SQLite or PostgreSQL."""
