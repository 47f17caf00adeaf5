"""What the status of a certificate was at a moment, replayed from its events; nothing here reads a store.

Times are whole seconds. An event counts from its own second on: of several within one second the last one
stands, and a hold that was lifted in the second that is asked for is open no more. A certificate is good up
to and including the second of its notAfter (RFC 5280 §4.1.2.5).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from store.records import HoldSpanRecord, StatusEventRecord


class HistoricState(Enum):
    """What a certificate was."""

    NOT_ISSUED = "not-issued"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class StatusAt:
    """The status at a moment; `revoked_at` and `reason` are what CRL and OCSP had to say, None: good.

    `event` is the last event up to then, None before the first. `holds` are those open then.
    """

    state: HistoricState
    revoked_at: datetime | None
    reason: int | None
    event: StatusEventRecord | None
    holds: tuple[HoldSpanRecord, ...]


def status_at(
    events: Sequence[StatusEventRecord],
    holds: Sequence[HoldSpanRecord],
    not_after: datetime,
    moment: datetime,
) -> StatusAt:
    """Return the status at `moment` of the certificate with these events, in order, and these holds."""
    past = [event for event in events if event.effective_at <= moment]
    if not past:
        return StatusAt(HistoricState.NOT_ISSUED, None, None, None, ())
    last = past[-1]
    state = HistoricState(last.to_state)
    revoked_at = None if state is HistoricState.ACTIVE else _since(past)
    if state is not HistoricState.REVOKED and moment > not_after:
        state = HistoricState.EXPIRED
    open_then = tuple(hold for hold in holds if _open_at(hold, moment))
    return StatusAt(state, revoked_at, last.reason, last, open_then)


def _since(past: Sequence[StatusEventRecord]) -> datetime:
    """Return the revocation date: when the certificate left the state active for the last time.

    Neither a further hold nor a revocation moves the date of a hold (see docs/divergences.md).
    """
    since = past[-1].effective_at
    for event in reversed(past):
        if event.to_state == HistoricState.ACTIVE.value:
            break
        since = event.effective_at
    return since


def _open_at(hold: HoldSpanRecord, moment: datetime) -> bool:
    return hold.opened_at <= moment and (hold.closed_at is None or hold.closed_at > moment)
