"""Whether the status of a certificate is told, how long past its expiry, and how that is said.

Responses about expired certificates say it by archiveCutoff (RFC 6960 §4.4.4).

Pure; the presigner and what is signed on request decide by it alike.
"""

from datetime import datetime

from config.status_policy import StatusPolicy
from store.records import AuthorityState, to_unix


def tells_nothing(state: AuthorityState, policy: StatusPolicy) -> bool:
    """Return whether OCSP knows an authority in this state no more, and says unauthorized of all of it."""
    return state == "dropped" or (state == "compromised" and policy.compromised == "unauthorized")


def told_from_s(policy: StatusPolicy, now: datetime) -> int:
    """Return the notAfter, in Unix seconds, from which on certificates have their status told now."""
    return 0 if policy.retention is None else to_unix(now - policy.retention)


def archive_cutoff(policy: StatusPolicy, ca_not_before: datetime, now: datetime) -> datetime:
    """Return the archiveCutoff of a response about an expired certificate, signed now.

    Where status is told for ever it is since the CA began, as EN 319 411-2 §6.3.10 has it; otherwise the time
    of retention before producedAt, as RFC 6960 §4.4.4 has it, and not before there was a CA.
    """
    return ca_not_before if policy.retention is None else max(now - policy.retention, ca_not_before)
