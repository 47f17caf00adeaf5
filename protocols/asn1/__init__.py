"""One DER reader and writer, and the types that the protocols share."""
