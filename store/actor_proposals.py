"""Proposals to change an actor: made once, decided once, kept."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import from_unix, serial_to_blob, to_unix

_COLUMNS: Final = (
    "id, actor, kind, role, office, organization, everywhere, authority, serial, version, proposed_at,"
    " proposed_by, state, decided_at, decided_by"
)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to change of an actor: a role in a place, or a certificate; the rest is None."""

    kind: str
    role: str | None = None
    office: int | None = None
    organization: int | None = None
    everywhere: bool = False
    authority: int | None = None
    serial: int | None = None


@dataclass(frozen=True, slots=True)
class ProposalRecord:
    """A proposal; `version` is that of the actor when it was made."""

    id: int
    actor: int
    change: Change
    version: int
    proposed_at: datetime
    proposed_by: str
    state: str
    decided_at: datetime | None
    decided_by: str | None


def _record(row: tuple[Any, ...]) -> ProposalRecord:
    serial = None if row[8] is None else int.from_bytes(row[8], "big")
    return ProposalRecord(
        id=row[0],
        actor=row[1],
        change=Change(row[2], row[3], row[4], row[5], bool(row[6]), row[7], serial),
        version=row[9],
        proposed_at=from_unix(row[10]),
        proposed_by=row[11],
        state=row[12],
        decided_at=None if row[13] is None else from_unix(row[13]),
        decided_by=row[14],
    )


def add(
    tx: Transaction, *, actor: int, change: Change, version: int, now: datetime, by: str
) -> ProposalRecord:
    """Add a proposal that waits, and return it."""
    row = tx.one(
        "INSERT INTO actor_proposals (actor, kind, role, office, organization, everywhere, authority, serial,"
        " version, proposed_at, proposed_by, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting')"
        f" RETURNING {_COLUMNS}",
        (
            actor,
            change.kind,
            change.role,
            change.office,
            change.organization,
            int(change.everywhere),
            change.authority,
            None if change.serial is None else serial_to_blob(change.serial),
            version,
            to_unix(now),
            by,
        ),
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return _record(row)


def get(tx: Transaction, proposal: int) -> ProposalRecord | None:
    """Return a proposal, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM actor_proposals WHERE id = ?", (proposal,))
    return _record(row) if row else None


def page(tx: Transaction, state: str | None, before: int, limit: int) -> list[ProposalRecord]:
    """Return proposals with numbers below `before`, the newest first."""
    where, values = ("state = ? AND ", (state,)) if state is not None else ("", ())
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM actor_proposals WHERE {where}id < ? ORDER BY id DESC LIMIT ?",
        (*values, before, limit),
    )
    return [_record(row) for row in rows]


def count_waiting(tx: Transaction) -> int:
    """Return how many proposals wait for a second person."""
    row = tx.one("SELECT count(*) FROM actor_proposals WHERE state = 'waiting'")
    return int(row[0]) if row else 0


def decide(tx: Transaction, proposal: int, state: str, now: datetime, by: str) -> bool:
    """Note how a proposal was decided; False where it was before."""
    return (
        tx.execute(
            "UPDATE actor_proposals SET state = ?, decided_at = ?, decided_by = ?"
            " WHERE id = ? AND state = 'waiting'",
            (state, to_unix(now), by, proposal),
        )
        == 1
    )
