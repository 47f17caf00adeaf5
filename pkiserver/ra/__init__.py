"""Who asks, and what may happen to a certificate."""
