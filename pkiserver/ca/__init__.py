"""What makes a certificate: profile, key policy, lint rules, issuance."""
