"""EST bodies (RFC 7030, RFC 8951): `request` reads what clients send, `response` builds what they get."""
