"""CMC (RFC 5272, updated by RFC 6402): Full PKI Requests read, PKI Responses built, both without I/O."""
