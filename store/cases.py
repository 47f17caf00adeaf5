"""Cases: what was asked to happen to a certificate, until when it is decided, and the decision."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from store.database import Transaction, Value
from store.records import from_unix, serial_to_blob, to_unix

_COLUMNS: Final = (
    "id, kind, channel, ground, authority, serial, office, person, organization, lifts, evidence, state,"
    " version, received_at, due_at, entered_by, entered_role, entered_person, decided_at, decided_by,"
    " decision"
)


@dataclass(frozen=True, slots=True)
class NewCaseRecord:
    """A case as it is received; `evidence` is JSON without personal data."""

    kind: str
    channel: str
    ground: str
    authority: int
    serial: int
    office: int | None
    person: int | None
    organization: int | None
    lifts: int | None
    evidence: str
    received_at: datetime
    due_at: datetime
    entered_by: str
    entered_role: str
    entered_person: int | None


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """A case; what is said of its decision is None while it is not decided."""

    id: int
    kind: str
    channel: str
    ground: str
    authority: int
    serial: int
    office: int | None
    person: int | None
    organization: int | None
    lifts: int | None
    evidence: str
    state: str
    version: int
    received_at: datetime
    due_at: datetime
    entered_by: str
    entered_role: str
    entered_person: int | None
    decided_at: datetime | None
    decided_by: str | None
    decision: str | None


def _record(row: tuple[Any, ...]) -> CaseRecord:
    values = list(row)
    values[5] = int.from_bytes(row[5], "big")
    values[13], values[14] = from_unix(row[13]), from_unix(row[14])
    values[18] = from_unix(row[18]) if row[18] is not None else None
    return CaseRecord(*values)


def add(tx: Transaction, case: NewCaseRecord) -> CaseRecord:
    """Add a received case at version 1; one of the kind that is open already breaks a constraint."""
    row = tx.one(
        "INSERT INTO cases (kind, channel, ground, authority, serial, office, person, organization, lifts,"
        " evidence, state, version, received_at, due_at, entered_by, entered_role, entered_person)"
        f" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'received', 1, ?, ?, ?, ?, ?) RETURNING {_COLUMNS}",
        (
            case.kind,
            case.channel,
            case.ground,
            case.authority,
            serial_to_blob(case.serial),
            case.office,
            case.person,
            case.organization,
            case.lifts,
            case.evidence,
            to_unix(case.received_at),
            to_unix(case.due_at),
            case.entered_by,
            case.entered_role,
            case.entered_person,
        ),
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return _record(row)


def decide(
    tx: Transaction, case: int, seen_version: int, *, state: str, at: datetime, by: str, decision: str
) -> bool:
    """Decide an open case; False where its version is another one, or it was decided."""
    return (
        tx.execute(
            "UPDATE cases SET state = ?, version = version + 1, decided_at = ?, decided_by = ?, decision = ?"
            " WHERE id = ? AND version = ? AND state = 'received'",
            (state, to_unix(at), by, decision, case, seen_version),
        )
        == 1
    )


def get(tx: Transaction, case: int) -> CaseRecord | None:
    """Return a case, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM cases WHERE id = ?", (case,))
    return _record(row) if row else None


def open_like(
    tx: Transaction, authority: int, serial: int, kind: str, channel: str, lifts: int | None
) -> CaseRecord | None:
    """Return the open case that asks the same of a certificate by the same channel, or None."""
    row = tx.one(
        f"SELECT {_COLUMNS} FROM cases WHERE authority = ? AND serial = ? AND kind = ? AND channel = ?"
        " AND coalesce(lifts, 0) = ? AND state = 'received'",
        (authority, serial_to_blob(serial), kind, channel, lifts or 0),
    )
    return _record(row) if row else None


def of_certificate(tx: Transaction, authority: int, serial: int, limit: int) -> list[CaseRecord]:
    """Return the cases of a certificate, the oldest first."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM cases WHERE authority = ? AND serial = ? ORDER BY id LIMIT ?",
        (authority, serial_to_blob(serial), limit),
    )
    return [_record(row) for row in rows]


def of_person(tx: Transaction, person: int, limit: int) -> list[CaseRecord]:
    """Return the cases of a holder, the oldest first."""
    rows = tx.all(f"SELECT {_COLUMNS} FROM cases WHERE person = ? ORDER BY id LIMIT ?", (person, limit))
    return [_record(row) for row in rows]


@dataclass(frozen=True, slots=True)
class Scope:
    """Which cases a list has: everything, or what is of one of these; `office` narrows either.

    `every_office` is all but what is of an organisation alone.
    """

    everything: bool = True
    every_office: bool = False
    offices: frozenset[int] = frozenset()
    every_organization: bool = False
    organizations: frozenset[int] = frozenset()
    person: int | None = None
    office: int | None = None


def open_by_due(
    tx: Transaction,
    scope: Scope,
    *,
    until: datetime | None = None,
    after: tuple[datetime, int] | None = None,
    limit: int,
) -> list[CaseRecord]:
    """Return open cases, the most urgent first: due up to `until`, and after the one (due, id) seen last."""
    seen = (to_unix(after[0]), after[1]) if after else (None, None)
    filters: list[tuple[str, tuple[Value, ...]]] = [
        (text, values)
        for text, values in (
            ("office = ?", (scope.office,)),
            ("due_at <= ?", (to_unix(until) if until else None,)),
            ("(due_at, id) > (?, ?)", seen),
        )
        if values[0] is not None
    ]
    if not scope.everything:
        filters.append(_reached(scope))
    where = "".join(f" AND {text}" for text, _ in filters)
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM cases WHERE state = 'received'{where} ORDER BY due_at, id LIMIT ?",
        (*(value for _, values in filters for value in values), limit),
    )
    return [_record(row) for row in rows]


def _reached(scope: Scope) -> tuple[str, tuple[Value, ...]]:
    offices, organizations = sorted(scope.offices), sorted(scope.organizations)
    texts = [
        f"office IN ({', '.join('?' * len(offices))})",
        f"organization IN ({', '.join('?' * len(organizations))})",
        "person = ?",
    ]
    if scope.every_office:
        texts.append("office IS NOT NULL OR organization IS NULL")
    if scope.every_organization:
        texts.append("organization IS NOT NULL")
    return f"({' OR '.join(texts)})", (*offices, *organizations, scope.person)


def open_of_channel(tx: Transaction, authority: int, serial: int, channel: str) -> list[CaseRecord]:
    """Return the open cases of a certificate that came by a channel."""
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM cases WHERE authority = ? AND serial = ? AND channel = ?"
        " AND state = 'received' ORDER BY id",
        (authority, serial_to_blob(serial), channel),
    )
    return [_record(row) for row in rows]


def count_open(tx: Transaction, due_until: datetime | None) -> int:
    """Return how many open cases are due up to this moment; None: all of them."""
    until = to_unix(due_until) if due_until is not None else 1 << 62
    row = tx.one("SELECT count(*) FROM cases WHERE state = 'received' AND due_at <= ?", (until,))
    return int(row[0]) if row else 0
