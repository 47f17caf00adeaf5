"""Issued certificates and their state."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from store.database import Transaction, Value
from store.owners import Owners
from store.records import CertificateRecord, StatusRecord, from_unix, serial_to_blob, to_unix

COLUMNS: Final = (
    "authority, serial, profile, subject, spki_sha256, not_before, not_after, state, certificate, crl_shard"
)

# As what the states that are told of are stored: expired follows from the time.
_STORED_AS: Final[Mapping[str | None, tuple[str, ...]]] = {
    None: ("active", "suspended", "revoked"),
    "active": ("active",),
    "suspended": ("suspended",),
    "revoked": ("revoked",),
    "expired": ("active", "suspended"),
}

_STATE_AT = "CASE WHEN state != 'revoked' AND not_after < ? THEN 'expired' ELSE state END"


def record_of(row: tuple[Any, ...]) -> CertificateRecord:
    """Return the certificate of a row that begins with `COLUMNS`."""
    return CertificateRecord(
        authority=row[0],
        serial=int.from_bytes(row[1], "big"),
        profile=row[2],
        subject=row[3],
        spki_sha256=row[4],
        not_before=from_unix(row[5]),
        not_after=from_unix(row[6]),
        state=row[7],
        certificate=row[8],
        crl_shard=row[9],
    )


def add(tx: Transaction, record: CertificateRecord) -> None:
    """Record an issued certificate."""
    tx.execute(
        f"INSERT INTO certificates ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.authority,
            serial_to_blob(record.serial),
            record.profile,
            record.subject,
            record.spki_sha256,
            to_unix(record.not_before),
            to_unix(record.not_after),
            record.state,
            record.certificate,
            record.crl_shard,
        ),
    )


def get(tx: Transaction, authority: int, serial: int) -> CertificateRecord | None:
    """Return the certificate with this issuer and serial, or None."""
    row = tx.one(
        f"SELECT {COLUMNS} FROM certificates WHERE authority = ? AND serial = ?",
        (authority, serial_to_blob(serial)),
    )
    return record_of(row) if row else None


def state_of(tx: Transaction, authority: int, serial: int) -> str | None:
    """Return the stored state of a certificate, or None where there is none."""
    row = tx.one(
        "SELECT state FROM certificates WHERE authority = ? AND serial = ?",
        (authority, serial_to_blob(serial)),
    )
    return row[0] if row else None


def authority_of(tx: Transaction, serial: int, certificate: bytes) -> int | None:
    """Return which authority has these octets on record under this serial, or None."""
    row = tx.one(
        "SELECT authority FROM certificates WHERE authority IN (SELECT id FROM authorities) AND serial = ?"
        " AND certificate = ?",
        (serial_to_blob(serial), certificate),
    )
    return row[0] if row else None


def with_serial(tx: Transaction, serial: int) -> list[CertificateRecord]:
    """Return the certificates with this serial, of whatever issuer."""
    rows = tx.all(
        f"SELECT {COLUMNS} FROM certificates WHERE authority IN (SELECT id FROM authorities) AND serial = ?",
        (serial_to_blob(serial),),
    )
    return [record_of(row) for row in rows]


def with_key(tx: Transaction, spki_sha256: bytes) -> list[CertificateRecord]:
    """Return the certificates of one public key, newest first."""
    rows = tx.all(
        f"SELECT {COLUMNS} FROM certificates WHERE spki_sha256 = ? ORDER BY not_before DESC, serial",
        (spki_sha256,),
    )
    return [record_of(row) for row in rows]


def newest_of_subject(
    tx: Transaction, authority: int, profile: str, subject: str
) -> CertificateRecord | None:
    """Return the newest certificate of one subject and profile by any generation of an authority, or None."""
    row = tx.one(
        f"SELECT {COLUMNS} FROM certificates WHERE subject = ? AND authority IN"
        " (SELECT id FROM authorities WHERE name = (SELECT name FROM authorities WHERE id = ?))"
        " AND profile = ? ORDER BY not_before DESC LIMIT 1",
        (subject, authority, profile),
    )
    return record_of(row) if row else None


def of_subject(tx: Transaction, subject: str, limit: int) -> list[CertificateRecord]:
    """Return the newest certificates of one subject, of whatever issuer and profile."""
    rows = tx.all(
        f"SELECT {COLUMNS} FROM certificates WHERE subject = ? ORDER BY not_before DESC LIMIT ?",
        (subject, limit),
    )
    return [record_of(row) for row in rows]


def in_use_of_subject(tx: Transaction, subject: str, now: datetime) -> list[CertificateRecord]:
    """Return every certificate of one subject that is neither revoked nor over, of whatever issuer."""
    rows = tx.all(
        f"SELECT {COLUMNS} FROM certificates WHERE subject = ? AND state != 'revoked' AND not_after >= ?"
        " ORDER BY not_before, authority, serial",
        (subject, to_unix(now)),
    )
    return [record_of(row) for row in rows]


def last_end_of_subject(tx: Transaction, subject: str) -> datetime | None:
    """Return when the last certificate of a subject ends, or ended; None where there is none."""
    row = tx.one("SELECT max(not_after) FROM certificates WHERE subject = ?", (subject,))
    return from_unix(row[0]) if row and row[0] is not None else None


def count_since(tx: Transaction, profile: str, subject: str, since: datetime) -> int:
    """Return how many certificates of one subject and profile were issued since a moment."""
    row = tx.one(
        # The signs keep the engine from the index by profile and time: all of a profile in a day is too many.
        "SELECT count(*) FROM certificates WHERE subject = ? AND +profile = ? AND +not_before > ?",
        (subject, profile, to_unix(since)),
    )
    return int(row[0]) if row else 0


_tuple = tuple.__new__  # a named tuple's own constructor takes longer than the row
_NAMED_AT_ONCE: Final = 500  # parameters of a statement
_STATUS = (
    "SELECT c.authority, c.serial, r.revoked_at, r.reason, c.not_after FROM certificates c"
    " LEFT JOIN crl_entries r ON r.authority = c.authority AND r.serial = c.serial AND r.until IS NULL"
)


def _status(row: tuple[Any, ...]) -> StatusRecord:
    revoked_at = None if row[2] is None else from_unix(row[2])
    return _tuple(StatusRecord, (row[0], int.from_bytes(row[1], "big"), revoked_at, row[3], row[4]))


def status(tx: Transaction, authority: int, serial: int) -> StatusRecord | None:
    """Return what OCSP is to say of a certificate; None where none was issued."""
    row = tx.one(f"{_STATUS} WHERE c.authority = ? AND c.serial = ?", (authority, serial_to_blob(serial)))
    return _status(row) if row else None


def statuses(tx: Transaction, authority: int, serials: Sequence[int]) -> list[StatusRecord]:
    """Return what OCSP is to say of those of these certificates that were issued, in serial order."""
    found: list[StatusRecord] = []
    ordered = sorted(serials)
    for start in range(0, len(ordered), _NAMED_AT_ONCE):
        some = [serial_to_blob(serial) for serial in ordered[start : start + _NAMED_AT_ONCE]]
        places = ", ".join("?" * len(some))
        rows = tx.all(
            f"{_STATUS} WHERE c.authority = ? AND c.serial IN ({places}) ORDER BY c.serial",
            (authority, *some),
        )
        found += [_status(row) for row in rows]
    return found


def statuses_in_range(tx: Transaction, authority: int, low: int, high: int, limit: int) -> list[StatusRecord]:
    """Return the statuses of certificates with low <= serial < high in serial order, at most `limit`."""
    rows = tx.all(
        f"{_STATUS} WHERE c.authority = ? AND c.serial >= ? AND c.serial < ? ORDER BY c.serial LIMIT ?",
        (authority, serial_to_blob(low), serial_to_blob(high), limit),
    )
    return [_status(row) for row in rows]


def count_in_range(tx: Transaction, authority: int, low: int, high: int, not_after_s: int) -> int:
    """Return how many certificates have low <= serial < high and are valid until then, or longer.

    Takes 50 ms a million; `not_after_s` is in Unix seconds.
    """
    row = tx.one(
        "SELECT count(*) FROM certificates"
        " WHERE authority = ? AND serial >= ? AND serial < ? AND not_after >= ?",
        (authority, serial_to_blob(low), serial_to_blob(high), not_after_s),
    )
    return int(row[0]) if row else 0


@dataclass(frozen=True, slots=True)
class Search:
    """What certificates are looked for; None: whichever, or whosoever's.

    Issued at `issued_from` or later, and before `issued_until`; valid until `expires_until` at the longest.
    """

    authorities: Sequence[int]
    state: str | None = None
    profile: str | None = None
    serial: int | None = None
    issued_from: datetime | None = None
    issued_until: datetime | None = None
    expires_until: datetime | None = None
    owners: Owners | None = None


class Place(NamedTuple):
    """Where in the order of a list a certificate stands."""

    not_before: datetime
    serial: int
    authority: int


def search(
    tx: Transaction, wanted: Search, now: datetime, after: Place | None, limit: int
) -> list[CertificateRecord]:
    """Return what is looked for as it stands at `now`, the newest first, from behind `after` on.

    Each profile of each authority is in order in each state: what is listed comes of the heads of those.
    """
    if wanted.serial is not None:
        named = sorted(with_serial(tx, wanted.serial), key=_place)
        return [one for one in named if _fits(one, wanted, now) and _is_behind(one, after)][:limit]
    found: list[tuple[int, bytes, int]] = []
    for authority in dict.fromkeys(wanted.authorities):
        for profile in _profiles(tx, authority, wanted.profile):
            if wanted.owners is not None and not wanted.owners.have(authority, profile):
                continue
            found += _heads(tx, authority, profile, wanted, now, after, limit)
    found.sort()
    records = (get(tx, authority, int.from_bytes(serial, "big")) for _, serial, authority in found[:limit])
    return [record for record in records if record is not None]


def newest(
    tx: Transaction,
    *,
    authorities: Sequence[int] | None,
    state: str | None,
    now: datetime,
    limit: int,
    after: Place | None = None,
) -> list[CertificateRecord]:
    """Return certificates, the newest first; of these authorities, or in one state at `now`, where given."""
    if authorities is None:
        authorities = [row[0] for row in tx.all("SELECT id FROM authorities")]
    return search(tx, Search(authorities, state=state), now, after, limit)


_Condition = tuple[str, tuple[Value, ...]]
LIFE_S: Final = 30 * 86_400  # certificates are told apart by how long they live, to a month
_LIFE: Final = f"(not_after - not_before) / {LIFE_S}"  # as the index has it


def _profiles(tx: Transaction, authority: int, profile: str | None) -> Iterator[str]:
    """Yield the profiles of an authority's certificates: one look-up each, however many certificates."""
    if profile is not None:
        yield profile
        return
    row: tuple[Any, ...] | None = ("",)
    while row is not None:
        row = tx.one(
            "SELECT profile FROM certificates INDEXED BY certificates_listed WHERE authority = ?"
            " AND profile > ? ORDER BY profile LIMIT 1",
            (authority, row[0]),
        )
        if row is not None:
            yield row[0]


def _heads(
    tx: Transaction,
    authority: int,
    profile: str,
    wanted: Search,
    now: datetime,
    after: Place | None,
    limit: int,
) -> Iterator[tuple[int, bytes, int]]:
    """Yield the first of what is looked for of a profile, as places that sort."""
    for life in _lives(tx, authority, profile) if _bounds_the_end(wanted) else (None,):
        conditions = [*_life(life), *_search_conditions(wanted, now, life or 0), *_behind(after)]
        texts = " AND ".join(["authority = ?", "profile = ?", "state = ?", *(sql for sql, _ in conditions)])
        values = [value for _, given in conditions for value in given]
        index = "certificates_listed" if life is None else "certificates_by_life"
        for state in _STORED_AS[wanted.state]:
            rows = tx.all(
                f"SELECT not_before, serial FROM certificates INDEXED BY {index}"
                f" WHERE {texts} ORDER BY not_before DESC, serial LIMIT ?",
                (authority, profile, state, *values, limit),
            )
            yield from ((-row[0], row[1], authority) for row in rows)


def _bounds_the_end(wanted: Search) -> bool:
    return wanted.expires_until is not None or wanted.state in ("active", "suspended", "expired")


def _lives(tx: Transaction, authority: int, profile: str) -> Iterator[int]:
    """Yield how long certificates of a profile live, in units of `LIFE_S`: one look-up each."""
    row: tuple[Any, ...] | None = (-1 << 62,)
    while row is not None:
        row = tx.one(
            f"SELECT {_LIFE} FROM certificates INDEXED BY certificates_by_life"
            f" WHERE authority = ? AND profile = ? AND {_LIFE} > ? ORDER BY {_LIFE} LIMIT 1",
            (authority, profile, row[0]),
        )
        if row is not None:
            yield row[0]


def _life(life: int | None) -> list[_Condition]:
    return [] if life is None else [(f"{_LIFE} = ?", (life,))]


def _search_conditions(wanted: Search, now: datetime, life: int) -> list[_Condition]:
    """Return what must hold; bounds on the end come with those on the beginning that follow from them."""
    # The quotient is cut towards nought, from either side, should one ever end before it begins.
    shortest, longest = (life if life > 0 else life - 1) * LIFE_S, (life + 1) * LIFE_S
    conditions: list[_Condition] = []

    def ends_from(moment: int) -> None:
        conditions.append(("not_after >= ? AND not_before >= ?", (moment, moment - longest)))

    def ends_until(moment: int) -> None:
        conditions.append(("not_after <= ? AND not_before <= ?", (moment, moment - shortest)))

    if wanted.state in ("active", "suspended"):
        ends_from(to_unix(now))
    elif wanted.state == "expired":
        ends_until(to_unix(now) - 1)
    if wanted.expires_until is not None:
        ends_until(to_unix(wanted.expires_until))
    if wanted.issued_from is not None:
        conditions.append(("not_before >= ?", (to_unix(wanted.issued_from),)))
    if wanted.issued_until is not None:
        conditions.append(("not_before < ?", (to_unix(wanted.issued_until),)))
    return conditions


def _behind(after: Place | None) -> list[_Condition]:
    if after is None:
        return []
    begun, serial = to_unix(after.not_before), serial_to_blob(after.serial)
    return [
        ("not_before <= ?", (begun,)),  # where the index is entered
        ("(not_before < ? OR (serial, authority) > (?, ?))", (begun, serial, after.authority)),
    ]


def place(record: CertificateRecord) -> Place:
    """Return where in a list a certificate stands."""
    return Place(record.not_before, record.serial, record.authority)


def _place(record: CertificateRecord) -> tuple[int, int, int]:
    return -to_unix(record.not_before), record.serial, record.authority


def _is_behind(record: CertificateRecord, after: Place | None) -> bool:
    return after is None or _place(record) > (-to_unix(after.not_before), after.serial, after.authority)


def _fits(record: CertificateRecord, wanted: Search, now: datetime) -> bool:
    state = "expired" if record.state != "revoked" and record.not_after < now else record.state
    return (
        record.authority in wanted.authorities
        and wanted.state in (None, state)
        and wanted.profile in (None, record.profile)
        and (wanted.owners is None or wanted.owners.have(record.authority, record.profile))
        and (wanted.issued_from is None or record.not_before >= wanted.issued_from)
        and (wanted.issued_until is None or record.not_before < wanted.issued_until)
        and (wanted.expires_until is None or record.not_after <= wanted.expires_until)
    )


def any_in_use(tx: Transaction, authority: int, now: datetime, besides: Sequence[str]) -> bool:
    """Return whether some certificate is neither revoked nor expired; those of profiles `besides` aside."""
    row = tx.one(
        # Without the index named, the engine reads every certificate of the authority, octets and all.
        "SELECT 1 FROM certificates INDEXED BY certificates_by_state"
        " WHERE authority = ? AND state IN ('active', 'suspended')"
        f" AND not_after >= ? AND profile NOT IN ({', '.join('?' * len(besides))}) LIMIT 1",
        (authority, to_unix(now), *besides),
    )
    return row is not None


def not_ended(
    tx: Transaction, authority: int, now: datetime, after: int, limit: int, reason: int
) -> list[CertificateRecord]:
    """Return certificates that have not ended in serial order, those with a serial up to `after` left out.

    Of revoked ones only those revoked for this reason (RFC 5280 §5.3.1).
    """
    rows = tx.all(
        f"SELECT {COLUMNS} FROM certificates c WHERE authority = ? AND serial > ? AND not_after >= ?"
        " AND (state != 'revoked' OR EXISTS (SELECT 1 FROM crl_entries r WHERE r.authority = c.authority"
        " AND r.serial = c.serial AND r.until IS NULL AND r.reason = ?)) ORDER BY serial LIMIT ?",
        (authority, serial_to_blob(after), to_unix(now), reason, limit),
    )
    return [record_of(row) for row in rows]


def set_state(tx: Transaction, authority: int, serial: int, state: str) -> None:
    """Store the state that a status event led to."""
    tx.execute(
        "UPDATE certificates SET state = ? WHERE authority = ? AND serial = ?",
        (state, authority, serial_to_blob(serial)),
    )


def count_by_state(tx: Transaction, authority: int, now: datetime) -> dict[str, int]:
    """Return how many of an authority's certificates are active, suspended, revoked and expired."""
    rows = tx.all(
        f"SELECT {_STATE_AT} AS state_at, count(*) FROM certificates INDEXED BY certificates_by_state"
        " WHERE authority = ? GROUP BY state_at",
        (to_unix(now), authority),
    )
    return {"active": 0, "suspended": 0, "revoked": 0, "expired": 0} | dict(rows)
