"""The outbox: a letter is written in the transaction of what it tells of, and is delivered later.

Whom it goes to and what it says are encrypted, and removed once it is delivered or given up.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from pkiserver.ra.registration.personal_data import PersonalData
from store import letters as rows
from store.database import Transaction
from store.letters import LetterRecord

LETTERS: Final = "letters"  # whose rows the personal data are of


class Medium(Enum):
    """How a letter goes."""

    MAIL = "mail"
    SMS = "sms"
    WEBHOOK = "webhook"  # to a program, whose number here it is addressed to


@dataclass(frozen=True, slots=True, repr=False)  # no representation: it would be logged with what it says
class Letter:
    """A letter to be written. `about` names what it tells of: about the same, there is one letter.

    `lives` is how long what it says may wait; it is given up then, and what it says is removed.
    """

    about: str
    template: str
    medium: Medium
    to: str
    values: Mapping[str, str] = field(default_factory=dict)
    language: str = "mn"
    person: int | None = None
    lives: timedelta | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Addressed:
    """A letter that waits: to whom, and with which values its template is filled."""

    record: LetterRecord
    to: str
    values: Mapping[str, str]


class Outbox:
    """Writes letters, and gives them to who delivers them."""

    def __init__(self, data: PersonalData) -> None:
        self._data = data

    def write(self, tx: Transaction, letter: Letter, now: datetime) -> int | None:
        """Write a letter in this transaction and return its id; None where there is one about the same."""
        written = rows.add(
            tx,
            about=f"{letter.about}/{letter.medium.value}",
            template=letter.template,
            language=letter.language,
            medium=letter.medium.value,
            person=letter.person,
            now=now,
            expires_at=now + letter.lives if letter.lives is not None else None,
        )
        if written is None:
            return None
        said = json.dumps(dict(letter.values), ensure_ascii=False)
        self._data.put(tx, LETTERS, written, {"to": letter.to, "values": said})
        return written

    def due(self, tx: Transaction, medium: Medium, now: datetime, limit: int) -> list[Addressed]:
        """Return letters to be sent now by a medium; `UnavailableError` where they cannot be read."""
        return [self._addressed(tx, record) for record in rows.due(tx, medium.value, now, limit)]

    def finish(
        self, tx: Transaction, letter: int, *, sent: bool, at: datetime, failure: str | None = None
    ) -> None:
        """Note that a letter was sent, or is given up; what it said is removed."""
        rows.finish(tx, letter, "sent" if sent else "given_up", at, failure)
        self._data.erase(tx, LETTERS, letter)

    def drop(self, tx: Transaction, person: int, at: datetime) -> int:
        """Give up what waits for a person who is erased; return how many values were removed."""
        removed = 0
        for letter in rows.waiting_for(tx, person):
            rows.finish(tx, letter, "given_up", at, "the person is erased")
            removed += self._data.erase(tx, LETTERS, letter)
        return removed

    def _addressed(self, tx: Transaction, record: LetterRecord) -> Addressed:
        kept = self._data.read(tx, LETTERS, record.id)
        return Addressed(record, kept.get("to", ""), json.loads(kept.get("values", "{}")))
