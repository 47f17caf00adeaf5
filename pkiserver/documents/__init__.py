"""Documents as PDF: pure functions from what is known to the octets that are printed, kept and archived."""
