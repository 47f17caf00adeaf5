"""Bulk acts: one decision about very many certificates, their batches, and how far they are carried out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import SERIAL_OCTETS, from_unix, to_unix

_COLUMNS: Final = (
    "id, kind, ground, lifts, organization, selection, evidence, certificates, batches, sha256, state,"
    " version, done, told, changed, passed_over, proposed_by, proposed_role, proposed_person, decided_by,"
    " proposed_at, decided_at, finished_at"
)
_MOMENTS: Final = (20, 21, 22)


@dataclass(frozen=True, slots=True)
class NewActRecord:
    """A bulk act as it is proposed; `selection` and `evidence` are JSON without personal data."""

    kind: str
    ground: str
    lifts: int | None
    organization: int | None
    selection: str
    evidence: str
    certificates: int
    sha256: bytes
    proposed_at: datetime
    proposed_by: str
    proposed_role: str
    proposed_person: int | None


@dataclass(frozen=True, slots=True)
class ActRecord:
    """A bulk act; `done` is the last batch that was carried out, `told` the last whose holders were told."""

    id: int
    kind: str
    ground: str
    lifts: int | None
    organization: int | None
    selection: str
    evidence: str
    certificates: int
    batches: int
    sha256: bytes
    state: str
    version: int
    done: int
    told: int
    changed: int
    passed_over: int
    proposed_by: str
    proposed_role: str
    proposed_person: int | None
    decided_by: str | None
    proposed_at: datetime
    decided_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """A batch: certificates of one authority by serial, 16 octets each, and the events it led to."""

    act: int
    number: int
    authority: int
    serials: tuple[bytes, ...]
    first_event: int | None = None
    last_event: int | None = None


def _record(row: tuple[Any, ...]) -> ActRecord:
    values = list(row)
    for column in _MOMENTS:
        values[column] = None if row[column] is None else from_unix(row[column])
    return ActRecord(*values)


def add(tx: Transaction, new: NewActRecord, batches: Sequence[tuple[int, bytes]]) -> ActRecord:
    """Add a proposed act at version 1 with its batches: authority, and the serials joined."""
    row = tx.one(
        "INSERT INTO bulk_acts (kind, ground, lifts, organization, selection, evidence, certificates,"
        " batches, sha256, state, version, proposed_at, proposed_by, proposed_role, proposed_person)"
        f" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'proposed', 1, ?, ?, ?, ?) RETURNING {_COLUMNS}",
        (
            new.kind,
            new.ground,
            new.lifts,
            new.organization,
            new.selection,
            new.evidence,
            new.certificates,
            len(batches),
            new.sha256,
            to_unix(new.proposed_at),
            new.proposed_by,
            new.proposed_role,
            new.proposed_person,
        ),
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    act = _record(row)
    tx.execute_many(
        "INSERT INTO bulk_batches (act, number, authority, serials) VALUES (?, ?, ?, ?)",
        ((act.id, number, authority, serials) for number, (authority, serials) in enumerate(batches, 1)),
    )
    return act


def get(tx: Transaction, act: int) -> ActRecord | None:
    """Return an act, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM bulk_acts WHERE id = ?", (act,))
    return _record(row) if row else None


def newest(
    tx: Transaction, state: str | None, before: int | None, limit: int, *, of_organizations: bool = False
) -> list[ActRecord]:
    """Return acts, the newest first, from `before` on backwards, which was seen.

    `of_organizations`: those alone that are about the certificates of one organisation.
    """
    seen = before if before is not None else 1 << 62
    where = " AND organization IS NOT NULL" if of_organizations else ""
    by_state, values = ("", ()) if state is None else (" AND state = ?", (state,))
    rows = tx.all(
        f"SELECT {_COLUMNS} FROM bulk_acts WHERE id < ?{by_state}{where} ORDER BY id DESC LIMIT ?",
        (seen, *values, limit),
    )
    return [_record(row) for row in rows]


def in_state(tx: Transaction, state: str) -> list[ActRecord]:
    """Return the acts in a state, the oldest first."""
    rows = tx.all(f"SELECT {_COLUMNS} FROM bulk_acts WHERE state = ? ORDER BY id", (state,))
    return [_record(row) for row in rows]


def to_tell(tx: Transaction) -> ActRecord | None:
    """Return the oldest act with batches whose holders were not told yet, or None."""
    row = tx.one(f"SELECT {_COLUMNS} FROM bulk_acts WHERE told < done ORDER BY id LIMIT 1")
    return _record(row) if row else None


def batch(tx: Transaction, act: int, number: int) -> BatchRecord | None:
    """Return one batch of an act, or None."""
    row = tx.one(
        "SELECT authority, serials, first_event, last_event FROM bulk_batches WHERE act = ? AND number = ?",
        (act, number),
    )
    if row is None:
        return None
    joined: bytes = row[1]
    serials = tuple(joined[at : at + SERIAL_OCTETS] for at in range(0, len(joined), SERIAL_OCTETS))
    return BatchRecord(act, number, row[0], serials, row[2], row[3])


def decide(tx: Transaction, act: int, seen_version: int, state: str, by: str, at: datetime) -> bool:
    """Move an act that was proposed on; False where its version is another one by now."""
    return (
        tx.execute(
            "UPDATE bulk_acts SET state = ?, version = version + 1, decided_by = ?, decided_at = ?"
            " WHERE id = ? AND version = ?",
            (state, by, to_unix(at), act, seen_version),
        )
        == 1
    )


def move(tx: Transaction, act: int, seen_version: int, state: str) -> bool:
    """Move an act that was decided on; False where its version is another one by now."""
    return (
        tx.execute(
            "UPDATE bulk_acts SET state = ?, version = version + 1 WHERE id = ? AND version = ?",
            (state, act, seen_version),
        )
        == 1
    )


def note_done(
    tx: Transaction, batch: BatchRecord, events: tuple[int, int] | None, *, changed: int, passed_over: int
) -> None:
    """Note that a batch was carried out, and the first and last event of it."""
    first, last = events or (None, None)
    tx.execute(
        "UPDATE bulk_batches SET first_event = ?, last_event = ? WHERE act = ? AND number = ?",
        (first, last, batch.act, batch.number),
    )
    tx.execute(
        "UPDATE bulk_acts SET done = ?, changed = changed + ?, passed_over = passed_over + ? WHERE id = ?",
        (batch.number, changed, passed_over, batch.act),
    )


def finish(tx: Transaction, act: int, at: datetime) -> None:
    """Note that the last batch of a running act was carried out."""
    tx.execute(
        "UPDATE bulk_acts SET state = 'done', version = version + 1, finished_at = ?"
        " WHERE id = ? AND state = 'running'",
        (to_unix(at), act),
    )


def note_told(tx: Transaction, act: int, number: int) -> None:
    """Note that the holders of a batch were told."""
    tx.execute("UPDATE bulk_acts SET told = ? WHERE id = ?", (number, act))


@dataclass(frozen=True, slots=True)
class Load:
    """How many acts are in which state, and how many certificates those that run have left."""

    acts: dict[str, int]
    left: int
    oldest_proposal: datetime | None


def load(tx: Transaction) -> Load:
    """Return what there is to do."""
    open_states = ("proposed", "running", "stopped")
    counts = {
        state: int((tx.one("SELECT count(*) FROM bulk_acts WHERE state = ?", (state,)) or (0,))[0])
        for state in open_states
    }
    left = tx.one(
        "SELECT sum(certificates - changed - passed_over) FROM bulk_acts"
        " WHERE state IN ('running', 'stopped')"
    )
    oldest = tx.one("SELECT min(proposed_at) FROM bulk_acts WHERE state = 'proposed'")
    since = oldest[0] if oldest else None
    return Load(counts, int(left[0] or 0) if left else 0, None if since is None else from_unix(since))
