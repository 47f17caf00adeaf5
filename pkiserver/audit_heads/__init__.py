"""Heads of the audit log: signed at intervals, kept, and sent to where who cuts its tail does not reach."""
