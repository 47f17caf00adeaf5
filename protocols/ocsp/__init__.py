"""OCSP as a responder speaks it (RFC 6960, RFC 9919): requests in, responses out, and the HTTP mapping."""
