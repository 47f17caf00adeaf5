"""What the world is told: presigned OCSP responses and CRLs."""
