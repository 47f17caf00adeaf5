"""What happened in a span of time, counted by office and channel."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from store.database import Transaction
from store.records import to_unix

# Of a new certificate the application says office and channel, of a changed one the case.
_EVENTS: Final = (
    "SELECT CASE WHEN e.from_state IS NULL THEN a.office ELSE k.office END AS office,"
    " CASE WHEN e.from_state IS NULL THEN a.channel ELSE k.channel END AS channel,"
    " CASE WHEN e.from_state IS NULL THEN 'issued' WHEN e.to_state = 'active' THEN 'restored'"
    " ELSE e.to_state END AS what, count(*)"
    " FROM status_events e JOIN certificates c ON c.authority = e.authority AND c.serial = e.serial"
    " LEFT JOIN applications a ON a.serial IS NOT NULL AND a.authority = e.authority AND a.serial = e.serial"
    " LEFT JOIN cases k ON k.id = e.decided_case"
    " WHERE e.effective_at >= ? AND e.effective_at < ?"
    " AND (e.from_state IS NULL OR e.from_state != e.to_state) AND c.profile IN ({profiles})"
    " GROUP BY 1, 2, 3"
)
_RETURNED: Final = (
    "SELECT a.office, a.channel, 'returned', count(*) FROM application_events v"
    " JOIN applications a ON a.id = v.application"
    " WHERE v.to_state = 'returned' AND v.at >= ? AND v.at < ? GROUP BY 1, 2"
)
# A deadline is of the span in which it lay, whenever the decision came.
_DEADLINES: Final = (
    "SELECT office, channel,"
    " CASE WHEN decided_at IS NULL OR decided_at > due_at THEN 'missed' ELSE 'kept' END AS what, count(*)"
    " FROM cases WHERE due_at >= ? AND due_at < ? AND (decided_at IS NOT NULL OR due_at < ?)"
    " GROUP BY 1, 2, 3"
)


@dataclass(frozen=True, slots=True)
class Count:
    """How often something happened; office and channel are None where none was concerned."""

    office: int | None
    channel: str | None
    what: str  # issued, returned, suspended, restored, revoked, kept, missed
    count: int


def counts(
    tx: Transaction, begin: datetime, end: datetime, now: datetime, profiles: Collection[str]
) -> list[Count]:
    """Count what happened from `begin` on and before `end` to certificates of these profiles.

    Deadlines of cases are kept or missed; one that is past at `now` without a decision is missed.
    """
    span = (to_unix(begin), to_unix(end))
    events = _EVENTS.format(profiles=", ".join("?" * len(profiles)))
    rows = [
        *tx.all(events, (*span, *sorted(profiles))),
        *tx.all(_RETURNED, span),
        *tx.all(_DEADLINES, (*span, to_unix(now))),
    ]
    return [Count(*row) for row in rows]
