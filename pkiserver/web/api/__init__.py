"""The REST API for registrars' software, connected systems and auditors: one table of operations."""
