"""Batches of the printing plant, and what became of each card in them.

A card is one attempt: an application whose card failed comes back in another batch, as another card.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, cast

from store.database import Transaction, Value
from store.records import from_unix, serial_to_blob, to_unix

Outcome = Literal["issued", "failed"]
BatchState = Literal["open", "overdue", "closed"]

_BATCH: Final = "b.id, b.plant, b.asked, b.cards, b.pulled_at, b.due_at, b.closed_at"
_COUNTED: Final = (
    f"SELECT {_BATCH}, (SELECT count(*) FROM plant_cards c WHERE c.batch = b.id AND c.result IS NULL)"
    " FROM plant_batches b"
)
_CARD: Final = (
    "reference, batch, application, attempt, result, failure, reason, carrier, authority, serial,"
    " reported_at, reported_by"
)
_OPEN: Final = "b.closed_at IS NULL"
_QUEUED: Final = "FROM applications WHERE delivery = 'plant' AND state IN ('verified', 'failed')"
_STATES: Final = {
    "open": _OPEN,
    "overdue": f"{_OPEN} AND b.due_at <= ?",
    "closed": "b.closed_at IS NOT NULL",
}
STATES: Final = tuple(_STATES)


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """A batch; `open_cards` have no result yet, `closed_at` is set once none has not."""

    id: int
    plant: str
    asked: int
    cards: int
    pulled_at: datetime
    due_at: datetime
    closed_at: datetime | None
    open_cards: int

    def state(self, now: datetime) -> BatchState:
        """Return how it stands: an open one is overdue once its time is over."""
        if self.closed_at is not None:
            return "closed"
        return "overdue" if self.due_at <= now else "open"


@dataclass(frozen=True, slots=True)
class Result:
    """What the plant says of a card; `carrier` is the serial number of its chip."""

    outcome: Outcome
    failure: str | None = None
    reason: str | None = None
    carrier: str | None = None


@dataclass(frozen=True, slots=True)
class CardRecord:
    """One attempt at the card of an application; `result` None: it has none yet."""

    reference: str
    batch: int
    application: int
    attempt: int
    result: Result | None
    authority: int | None
    serial: int | None
    reported_at: datetime | None
    reported_by: str | None


@dataclass(frozen=True, slots=True)
class Load:
    """How much there is to do: applications that wait, batches that are open, and how many are overdue."""

    queued: int
    open_batches: int
    overdue_batches: int


def _batch(row: tuple[Any, ...]) -> BatchRecord:
    return BatchRecord(
        id=row[0],
        plant=row[1],
        asked=row[2],
        cards=row[3],
        pulled_at=from_unix(row[4]),
        due_at=from_unix(row[5]),
        closed_at=None if row[6] is None else from_unix(row[6]),
        open_cards=row[7],
    )


def _card(row: tuple[Any, ...]) -> CardRecord:
    return CardRecord(
        reference=row[0],
        batch=row[1],
        application=row[2],
        attempt=row[3],
        result=None if row[4] is None else Result(row[4], row[5], row[6], row[7]),
        authority=row[8],
        serial=None if row[9] is None else int.from_bytes(row[9], "big"),
        reported_at=None if row[10] is None else from_unix(row[10]),
        reported_by=row[11],
    )


def queued(tx: Transaction, after: int, limit: int) -> list[int]:
    """Return applications that wait for a card, the oldest first, behind the one numbered `after`."""
    rows = tx.all(
        f"SELECT id {_QUEUED} AND id > ? ORDER BY id LIMIT ?",
        (after, limit),
    )
    return [row[0] for row in rows]


def add_batch(
    tx: Transaction, *, plant: str, pull_key: str, asked: int, cards: int, now: datetime, due_at: datetime
) -> int:
    """Add a batch and return its number; a second one of this plant and key breaks a constraint."""
    row = tx.one(
        "INSERT INTO plant_batches (plant, pull_key, asked, cards, pulled_at, due_at)"
        " VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
        (plant, pull_key, asked, cards, to_unix(now), to_unix(due_at)),
    )
    assert row is not None  # noqa: S101 - RETURNING gives the inserted row
    return int(row[0])


def add_card(tx: Transaction, *, reference: str, batch: int, application: int) -> None:
    """Add a card to a batch; an application that has one without a result breaks a constraint."""
    tx.execute(
        "INSERT INTO plant_cards (reference, batch, application, attempt) VALUES"
        " (?1, ?2, ?3, 1 + (SELECT count(*) FROM plant_cards WHERE application = ?3))",
        (reference, batch, application),
    )


def batch(tx: Transaction, number: int) -> BatchRecord | None:
    """Return a batch, or None."""
    row = tx.one(f"{_COUNTED} WHERE b.id = ?", (number,))
    return _batch(row) if row else None


def pulled_with(tx: Transaction, plant: str, pull_key: str) -> BatchRecord | None:
    """Return the batch that a plant pulled with this key, or None."""
    row = tx.one(f"{_COUNTED} WHERE b.plant = ? AND b.pull_key = ?", (plant, pull_key))
    return _batch(row) if row else None


def count_open(tx: Transaction, plant: str) -> int:
    """Return how many batches of a plant are open."""
    row = tx.one(f"SELECT count(*) FROM plant_batches b WHERE b.plant = ? AND {_OPEN}", (plant,))
    return int(row[0]) if row else 0


def batches(
    tx: Transaction, *, plant: str | None, state: str | None, now: datetime, before: int, limit: int
) -> list[BatchRecord]:
    """Return batches below number `before`, the newest first: of a plant, and of `STATES`; None: all."""
    conditions, given = ["b.id < ?"], cast("list[Value]", [before])
    if plant is not None:
        conditions.append("b.plant = ?")
        given.append(plant)
    if state is not None:
        conditions.append(_STATES[state])
        given += [to_unix(now)] * _STATES[state].count("?")
    rows = tx.all(
        f"{_COUNTED} WHERE {' AND '.join(conditions)} ORDER BY b.id DESC LIMIT ?",
        (*given, limit),
    )
    return [_batch(row) for row in rows]


def load(tx: Transaction, now: datetime) -> Load:
    """Return how much there is to do."""
    row = tx.one(
        f"SELECT (SELECT count(*) {_QUEUED}),"
        f" (SELECT count(*) FROM plant_batches b WHERE {_STATES['open']}),"
        f" (SELECT count(*) FROM plant_batches b WHERE {_STATES['overdue']})",
        (to_unix(now),),
    )
    return Load(*row) if row else Load(0, 0, 0)


def card(tx: Transaction, reference: str) -> CardRecord | None:
    """Return a card by its reference, or None."""
    row = tx.one(f"SELECT {_CARD} FROM plant_cards WHERE reference = ?", (reference,))
    return _card(row) if row else None


def cards(tx: Transaction, number: int, after: int, limit: int) -> list[CardRecord]:
    """Return the cards of a batch in the order of their applications, behind the one numbered `after`."""
    rows = tx.all(
        f"SELECT {_CARD} FROM plant_cards WHERE batch = ? AND application > ? ORDER BY application LIMIT ?",
        (number, after, limit),
    )
    return [_card(row) for row in rows]


def is_on_the_way(tx: Transaction, application: int) -> bool:
    """Return whether an application has a card without a result."""
    row = tx.one("SELECT 1 FROM plant_cards WHERE application = ? AND result IS NULL", (application,))
    return row is not None


def set_result(
    tx: Transaction,
    reference: str,
    result: Result,
    *,
    certificate: tuple[int, int] | None,
    by: str,
    now: datetime,
) -> bool:
    """Give a card its result, which stays; True where it was the last one of its batch, which closes."""
    authority, serial = certificate or (None, None)
    tx.execute(
        "UPDATE plant_cards SET result = ?, failure = ?, reason = ?, carrier = ?, authority = ?, serial = ?,"
        " reported_at = ?, reported_by = ? WHERE reference = ? AND result IS NULL",
        (
            result.outcome,
            result.failure,
            result.reason,
            result.carrier,
            authority,
            None if serial is None else serial_to_blob(serial),
            to_unix(now),
            by,
            reference,
        ),
    )
    closed = tx.execute(
        "UPDATE plant_batches SET closed_at = ?1 WHERE closed_at IS NULL"
        " AND id = (SELECT batch FROM plant_cards WHERE reference = ?2) AND NOT EXISTS"
        " (SELECT 1 FROM plant_cards c WHERE c.batch = plant_batches.id AND c.result IS NULL)",
        (to_unix(now), reference),
    )
    return closed == 1


def of_application(tx: Transaction, application: int) -> Sequence[CardRecord]:
    """Return every attempt at the card of an application, in order."""
    rows = tx.all(f"SELECT {_CARD} FROM plant_cards WHERE application = ? ORDER BY attempt", (application,))
    return [_card(row) for row in rows]
