"""Measurements of what the design promises: CPU time a request or signature, as ratios taken in one run."""
