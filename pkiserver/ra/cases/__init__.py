"""Cases: what is asked to happen to a certificate, why, until when it is to be decided, and the decision."""
