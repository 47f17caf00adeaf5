"""Backups of a home: one sealed file with all that a lost machine needs, and its way back."""
