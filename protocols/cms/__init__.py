"""CMS (RFC 5652): SignedData read, verified and built; EnvelopedData built. Keys are the caller's."""
