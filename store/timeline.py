"""All that happened to a person or a certificate, from every table that tells of it, as one ordered list.

Entries are ordered by time, then by what leads to what within a second, then as they were written.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from store.database import Transaction, Value
from store.records import from_unix, serial_to_blob, to_unix


class Place(NamedTuple):
    """Where an entry stands: its time, which kind of table tells of it, the row, and the part of the row."""

    at: datetime
    rank: int
    row: int
    part: int


BEGIN: Final = Place(from_unix(0), 0, 0, 0)


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """What happened, by whom and why; no personal data. The last three say where it belongs."""

    place: Place
    event: str  # the aggregate and what happened to it, such as application.verify
    actor: str | None
    ground: str | None
    note: str | None
    authority: int | None
    serial: int | None
    application: int | None
    case: int | None
    letter: int | None
    carrier: int | None
    office: int | None
    organization: int | None
    holder: int | None


_COLUMNS: Final = (
    *("at", "rank", "line", "part", "event", "actor", "ground", "note", "authority", "serial"),
    *("application", "asked", "letter", "carrier", "office", "organization", "holder"),
)


def _source(place: tuple[str, int, str, str | int], event: str, rows: str, **told: str) -> str:
    """Return the query of one kind of entry, at (time, rank, row, part); what is not told of it is NULL."""
    values = dict(zip(_COLUMNS, (*map(str, place), event), strict=False)) | told
    return f"SELECT {', '.join(values.get(name, 'NULL') for name in _COLUMNS)} FROM {rows}"


_OF_EVENT: Final = {"authority": "e.authority", "serial": "e.serial"}
_OF_CASE: Final = {
    "authority": "authority",
    "serial": "serial",
    "asked": "id",
    "note": "kind || ' ' || channel",
    "office": "office",
    "organization": "organization",
    "holder": "person",
}
_OF_LETTER: Final = {"letter": "id", "note": "template || ' ' || medium", "holder": "person"}
_THEIRS: Final = "{0} JOIN certified own ON e.authority = own.authority AND e.serial = own.serial"
_WHOM: Final = "{0} WHERE {1} IN (SELECT id FROM whom)"
_PEOPLE: Final = (
    _source(("created_at", 0, "id", 0), "'person.added'", _WHOM.format("people", "id"), holder="id"),
    _source(
        ("at", 0, "id", 1),
        "'person.changed'",
        _WHOM.format("person_changes", "person"),
        actor="actor",
        ground="ground",
        note="field",
        holder="person",
    ),
    _source(
        ("received_at", 1, "sequence", 0),
        "'registry.' || kind",
        _WHOM.format("registry_messages", "person"),
        actor="received_by",
        note="outcome",
        holder="person",
    ),
    _source(
        ("asked_at", 9, "person", 0),
        "'person.erasure_asked'",
        _WHOM.format("person_erasures", "person"),
        actor="asked_by",
        ground="ground",
        holder="person",
    ),
    _source(
        ("erased_at", 9, "id", 1),
        "'person.erased'",
        _WHOM.format("people", "erased_at IS NOT NULL AND id"),
        holder="id",
    ),
)
_EACH: Final = (
    _source(
        ("v.at", 2, "a.id", "v.version"),
        "'application.' || v.event",
        "applications a JOIN application_events v ON v.application = a.id"
        " WHERE a.id IN (SELECT id FROM applied)",
        actor="v.actor",
        ground="v.ground",
        note="v.to_state",
        authority="a.authority",
        serial="a.serial",
        application="a.id",
        office="a.office",
        organization="a.organization",
        holder="a.person",
    ),
    _source(
        ("received_at", 3, "id", 0),
        "'case.received'",
        "cases WHERE id IN (SELECT id FROM concerned)",
        actor="entered_by",
        ground="ground",
        **_OF_CASE,
    ),
    _source(
        ("e.opened_at", 4, "e.id", 0),
        "'hold.opened'",
        _THEIRS.format("holds e"),
        note="e.holder",
        asked="e.decision",
        **_OF_EVENT,
    ),
    _source(
        ("e.closed_at", 4, "e.id", 1),
        "'hold.closed'",
        f"{_THEIRS.format('holds e')} WHERE e.closed_at IS NOT NULL",
        note="e.holder",
        asked="e.decision",
        **_OF_EVENT,
    ),
    _source(
        ("e.effective_at", 5, "e.sequence", 0),
        "'certificate.' || CASE WHEN e.from_state IS NULL THEN 'issued'"
        " WHEN e.from_state = e.to_state THEN 'still_' || e.to_state"
        " WHEN e.to_state = 'active' THEN 'restored' ELSE e.to_state END",
        _THEIRS.format("status_events e"),
        actor="e.actor",
        asked="e.decided_case",
        **_OF_EVENT,
    ),
    _source(
        ("e.not_after", 5, "e.id", 1),
        "'certificate.expired'",
        _THEIRS.format("expiries e"),
        note="e.state",
        **_OF_EVENT,
    ),
    _source(
        ("decided_at", 6, "id", 1),
        "'case.' || state",
        "cases WHERE decided_at IS NOT NULL AND id IN (SELECT id FROM concerned)",
        actor="decided_by",
        ground="decision",
        **_OF_CASE,
    ),
    _source(
        ("v.at", 7, "v.carrier", "v.version"),
        "'carrier.' || v.event",
        "carrier_events v WHERE v.carrier IN (SELECT id FROM carried)",
        actor="v.actor",
        ground="v.ground",
        note="v.to_state",
        carrier="v.carrier",
    ),
    _source(
        ("created_at", 8, "id", 0),
        "'letter.written'",
        "letters WHERE id IN (SELECT id FROM written)",
        **_OF_LETTER,
    ),
    _source(
        ("done_at", 8, "id", 1),
        "'letter.' || state",
        "letters WHERE done_at IS NOT NULL AND id IN (SELECT id FROM written)",
        ground="failure",
        **_OF_LETTER,
    ),
)
# A certificate that was renewed, or that a carrier refused, is no application's any more: its subject tells.
_OF_PERSON: Final = (
    "whom(id) AS (SELECT ?),"
    f" applied(id) AS (SELECT id FROM {_WHOM.format('applications', 'person')}),"
    f" concerned(id) AS (SELECT id FROM {_WHOM.format('cases', 'person')}),"
    f" carried(id) AS (SELECT id FROM {_WHOM.format('carriers', 'person')}),"
    f" written(id) AS (SELECT id FROM {_WHOM.format('letters', 'person')}),"
    " named(authority, serial) AS ("
    f"SELECT authority, serial FROM {_WHOM.format('applications', 'serial IS NOT NULL AND person')}"
    f" UNION SELECT authority, serial FROM {_WHOM.format('cases', 'person')}),"
    " certified(authority, serial) AS (SELECT authority, serial FROM named UNION"
    " SELECT same.authority, same.serial FROM named JOIN certificates of"
    " ON of.authority = named.authority AND of.serial = named.serial"
    " JOIN certificates same ON same.subject = of.subject)"
)
_OF_CERTIFICATE: Final = (
    "certified(authority, serial) AS (SELECT ?, ?),"
    " applied(id) AS (SELECT a.id FROM certified own JOIN applications a"
    " ON a.serial IS NOT NULL AND a.authority = own.authority AND a.serial = own.serial),"
    " concerned(id) AS (SELECT k.id FROM certified own JOIN cases k"
    " ON k.authority = own.authority AND k.serial = own.serial),"
    " carried(id) AS (SELECT r.carrier FROM certified own JOIN carrier_certificates r"
    " ON r.authority = own.authority AND r.serial = own.serial),"
    f" written(id) AS (SELECT l.id FROM {_THEIRS.format('status_events e')}"
    " JOIN letters l ON l.about IN"
    " ('status-event/' || e.sequence || '/mail', 'status-event/' || e.sequence || '/sms'))"
)


def of_person(tx: Transaction, person: int, after: Place, limit: int) -> list[TimelineEntry]:
    """Return what happened to a person on record and their certificates behind a place, at most `limit`."""
    return _read(tx, _OF_PERSON, (*_PEOPLE, *_EACH), (person,), after, limit)


def of_certificate(
    tx: Transaction, authority: int, serial: int, after: Place, limit: int
) -> list[TimelineEntry]:
    """Return what happened to a certificate, and what it came of, behind a place, at most `limit`."""
    return _read(tx, _OF_CERTIFICATE, _EACH, (authority, serial_to_blob(serial)), after, limit)


def _read(
    tx: Transaction,
    about: str,
    sources: tuple[str, ...],
    named: tuple[Value, ...],
    after: Place,
    limit: int,
) -> list[TimelineEntry]:
    columns = ", ".join(_COLUMNS)
    rows = tx.all(
        f"WITH {about}, entries({columns}) AS ({' UNION ALL '.join(sources)})"
        f" SELECT {columns} FROM entries WHERE (at, rank, line, part) > (?, ?, ?, ?)"
        " ORDER BY at, rank, line, part LIMIT ?",
        (*named, to_unix(after.at), after.rank, after.row, after.part, limit),
    )
    return [_entry(row) for row in rows]


def _entry(row: tuple[Any, ...]) -> TimelineEntry:
    serial = int.from_bytes(row[9], "big") if row[9] is not None else None
    values: tuple[Any, ...] = (Place(from_unix(row[0]), *row[1:4]), *row[4:9], serial, *row[10:])
    return TimelineEntry(*values)
