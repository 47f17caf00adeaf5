"""Which tokens have an unblock code here, and the challenge that has it released; never the code itself."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from store.database import Transaction
from store.records import from_unix, to_unix

KEPT: Final = "kept"
USED: Final = "used"
_COLUMNS: Final = (
    "carrier, number, state, changed_at, changed_by, challenge_hash, expires_at, attempts_left, asked_since,"
    " asked"
)


@dataclass(frozen=True, slots=True)
class UnblockCodeRecord:
    """The code of a token, its `number`th; `asked` challenges were made since `asked_since`.

    `challenge_hash` None: no challenge may be answered.
    """

    carrier: int
    number: int
    state: str
    changed_at: datetime
    changed_by: str
    challenge_hash: bytes | None
    expires_at: datetime | None
    attempts_left: int
    asked_since: datetime | None
    asked: int


@dataclass(frozen=True, slots=True)
class NewChallenge:
    """A challenge to be answered until `expires_at`, and how many were made since when."""

    digest: bytes
    expires_at: datetime
    attempts: int
    asked_since: datetime
    asked: int


def get(tx: Transaction, carrier: int) -> UnblockCodeRecord | None:
    """Return what is known of the code of a token; None: none was taken over."""
    row = tx.one(f"SELECT {_COLUMNS} FROM unblock_codes WHERE carrier = ?", (carrier,))
    if row is None:
        return None
    values: list[Any] = list(row)
    for column in (3, 6, 8):
        values[column] = from_unix(row[column]) if row[column] is not None else None
    return UnblockCodeRecord(*values)


def keep(tx: Transaction, carrier: int, by: str, now: datetime) -> None:
    """Note that a code was taken over; one before, and its challenge, are no more."""
    tx.execute(
        "INSERT INTO unblock_codes (carrier, number, state, changed_at, changed_by)"
        " VALUES (?, 1, 'kept', ?, ?)"
        " ON CONFLICT (carrier) DO UPDATE SET number = number + 1, state = 'kept',"
        " changed_at = excluded.changed_at, changed_by = excluded.changed_by,"
        " challenge_hash = NULL, expires_at = NULL, attempts_left = 0",
        (carrier, to_unix(now), by),
    )


def challenge(tx: Transaction, carrier: int, new: NewChallenge) -> None:
    """Have this challenge be the one that may be answered."""
    tx.execute(
        "UPDATE unblock_codes SET challenge_hash = ?, expires_at = ?, attempts_left = ?, asked_since = ?,"
        " asked = ? WHERE carrier = ?",
        (new.digest, to_unix(new.expires_at), new.attempts, to_unix(new.asked_since), new.asked, carrier),
    )


def spend_attempt(tx: Transaction, carrier: int) -> None:
    """Note a wrong answer; the last one ends the challenge."""
    tx.execute(
        "UPDATE unblock_codes SET attempts_left = attempts_left - 1 WHERE carrier = ? AND attempts_left > 0",
        (carrier,),
    )
    tx.execute(
        "UPDATE unblock_codes SET challenge_hash = NULL, expires_at = NULL"
        " WHERE carrier = ? AND attempts_left = 0",
        (carrier,),
    )


def use(tx: Transaction, carrier: int, by: str, now: datetime) -> None:
    """Note that the code was released: it is to be replaced, and its challenge is no more."""
    tx.execute(
        "UPDATE unblock_codes SET state = 'used', changed_at = ?, changed_by = ?, challenge_hash = NULL,"
        " expires_at = NULL, attempts_left = 0 WHERE carrier = ?",
        (to_unix(now), by, carrier),
    )


def forget(tx: Transaction, carrier: int) -> None:
    """Note that there is none any more."""
    tx.execute("DELETE FROM unblock_codes WHERE carrier = ?", (carrier,))
