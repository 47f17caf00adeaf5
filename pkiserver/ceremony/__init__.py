"""Key ceremonies: what a reviewed and signed file says is made, once, and told in a signed transcript."""
