"""What the civil registry tells, and what each kind of message leads to. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final

from pkiserver.errors import RefusedError
from pkiserver.ra.cases.rules import Kind
from pkiserver.ra.registration.numbers import parse_civil_id
from store.records import from_unix, to_unix

MAX_SEQUENCE: Final = (1 << 63) - 1
ID_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"
_ID: Final = re.compile(ID_PATTERN.removesuffix("$"), re.ASCII)
_FIELDS: Final = frozenset({"id", "sequence", "kind", "civil_id", "effective_at"})


class MessageKind(Enum):
    """What happened to a citizen or to the identity card."""

    DEATH = "death"
    CITIZENSHIP_LOST = "citizenship_lost"
    NAME_CHANGED = "name_changed"
    CARD_LOST = "card_lost"
    CARD_FOUND = "card_found"
    CARD_EXCHANGED = "card_exchanged"


@dataclass(frozen=True, slots=True)
class MessageRule:
    """One row: what is asked for each certificate of the person, and of which it is asked.

    `cards`: of those on identity cards alone. `earlier`: of those alone that were issued before it took
    effect, as what came after holds the new name, or is on the new card. A dead person's are revoked
    whenever they were issued, and what is applied for is withdrawn (`ends_applications`). `undoes`: of these
    kinds and its own the last one counts.
    """

    kind: Kind
    ground: str
    ends_applications: bool = False
    cards: bool = False
    earlier: bool = False
    undoes: frozenset[MessageKind] = frozenset()


MESSAGE_RULES: Final[Mapping[MessageKind, MessageRule]] = {
    MessageKind.DEATH: MessageRule(Kind.REVOKE, "death", ends_applications=True),
    MessageKind.CITIZENSHIP_LOST: MessageRule(Kind.REVOKE, "citizenship_lost", ends_applications=True),
    # A case for a registrar (`rules.BY_REGISTRAR`): a new certificate comes first.
    MessageKind.NAME_CHANGED: MessageRule(Kind.REVOKE, "name_changed", earlier=True),
    MessageKind.CARD_LOST: MessageRule(
        Kind.SUSPEND, "carrier_missing", cards=True, earlier=True, undoes=frozenset({MessageKind.CARD_FOUND})
    ),
    MessageKind.CARD_FOUND: MessageRule(
        Kind.RESTORE, "carrier_found", cards=True, earlier=True, undoes=frozenset({MessageKind.CARD_LOST})
    ),
    MessageKind.CARD_EXCHANGED: MessageRule(Kind.REVOKE, "carrier_exchanged", cards=True, earlier=True),
}


@dataclass(frozen=True, slots=True)
class Message:
    """A message: the registry's number and sequence, what happened, to whom, and since when."""

    id: str
    sequence: int
    kind: MessageKind
    civil_id: str = field(repr=False)
    effective_at: datetime


def parse_message(values: Mapping[str, Any]) -> Message:
    """Return a message; `RefusedError`, which quotes no value, says what is wrong."""
    if set(values) != _FIELDS:
        raise RefusedError(f"a message has {', '.join(sorted(_FIELDS))}")
    number, sequence, kind, civil_id, at = (
        values[name] for name in ("id", "sequence", "kind", "civil_id", "effective_at")
    )
    if not isinstance(number, str) or _ID.fullmatch(number) is None:
        raise RefusedError("the id of a message is 1 to 64 letters, digits and ._:-")
    if not isinstance(sequence, int) or isinstance(sequence, bool) or not 0 <= sequence <= MAX_SEQUENCE:
        raise RefusedError("the sequence of a message is a number")
    if not isinstance(kind, str) or kind not in {one.value for one in MessageKind}:
        raise RefusedError(f"the kind of a message is {', '.join(one.value for one in MessageKind)}")
    if not isinstance(civil_id, str):
        raise RefusedError("a civil registration number is 12 digits")
    return Message(number, sequence, MessageKind(kind), parse_civil_id(civil_id), _moment(at))


def _moment(value: object) -> datetime:
    """Return a moment in UTC and whole seconds."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value)[:40])
        if moment.tzinfo is None:
            raise RefusedError("effective_at says its time zone")
        return from_unix(to_unix(moment))
    except (ValueError, OverflowError) as error:
        raise RefusedError("effective_at is a time such as 2026-07-08T09:00:00+08:00") from error
