"""Which certificates a bulk act is about: looked for once, when it is proposed, and kept in batches."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final

from pkiserver.errors import NotFoundError, RefusedError
from pkiserver.ra.cases.rules import Kind
from store import bulk_status, organizations
from store.bulk_status import Named
from store.database import Transaction
from store.records import serial_to_blob, to_unix

BATCH: Final = 500  # certificates that share a transaction, and an audit record: some 15 ms of the one writer
MAX_SELECTED: Final = 1_000_000  # 20 MB of batches, in one transaction
_ALL_TIME: Final = (0, 1 << 62)


@dataclass(frozen=True, slots=True)
class Selection:
    """What is looked for, by one of three ways: an organisation's, an issuer's, or named ones.

    Of an issuer (all generations of an authority) those of a profile, and issued from and before a moment,
    where these are said. To restore, what an act still holds, of it the named ones alone where some are.
    """

    organization: str | None = None
    issuer: tuple[int, ...] = ()
    profile: str | None = None
    issued_from: datetime | None = None
    issued_until: datetime | None = None
    named: tuple[tuple[int, int], ...] = ()
    lifts: int | None = None

    def text(self) -> str:
        """Return it as it is kept and shown, JSON; of named ones how many they are."""
        said = {
            "organization": self.organization,
            "issuer": list(self.issuer) or None,
            "profile": self.profile,
            "issued_from": None if self.issued_from is None else self.issued_from.isoformat(),
            "issued_until": None if self.issued_until is None else self.issued_until.isoformat(),
            "named": len(self.named) or None,
        }
        return json.dumps({name: value for name, value in said.items() if value is not None})


@dataclass(frozen=True, slots=True)
class Selected:
    """What was found, in order: authority and serials of each batch, how many, and the digest of all."""

    batches: tuple[tuple[int, bytes], ...]
    count: int
    sha256: bytes


def require_selection(kind: Kind, selection: Selection) -> None:
    """Raise `RefusedError` unless it is looked for by one way, and what it restores by the act it lifts."""
    ways = [selection.organization is not None, bool(selection.issuer), bool(selection.named)]
    if (kind is Kind.RESTORE) != (selection.lifts is not None):
        raise RefusedError("to restore, and only then, the bulk act is named whose holds are to end")
    if kind is Kind.RESTORE and (ways[0] or ways[1]):
        raise RefusedError("restored is what the named bulk act holds, or certificates named among those")
    if kind is not Kind.RESTORE and sum(ways) != 1:
        raise RefusedError("say which: those of an organisation, of an authority, or certificates by serial")
    if not selection.issuer and (selection.profile or selection.issued_from or selection.issued_until):
        raise RefusedError("profile and time of issue are looked for among those of an authority")
    if len(selection.named) > MAX_SELECTED:
        raise RefusedError(f"a bulk act is about {MAX_SELECTED} certificates at most")


def select(tx: Transaction, selection: Selection, subscribers: frozenset[str], now: datetime) -> Selected:
    """Return what is found; `RefusedError` where it is nothing or too much, `NotFoundError` for unknown ones.

    Certificates of the infrastructure are never among it.
    """
    found = _found(tx, selection, subscribers, now)
    if len(found) > MAX_SELECTED:
        raise RefusedError(f"this is about more than {MAX_SELECTED} certificates: divide it")
    if not found:
        raise RefusedError("there is no such certificate in use")
    batches = tuple(_batches(sorted(set(found))))
    digest = hashlib.sha256()
    for authority, serials in batches:
        digest.update(authority.to_bytes(8, "big") + serials)
    return Selected(batches, sum(len(serials) // 16 for _, serials in batches), digest.digest())


def _found(
    tx: Transaction, selection: Selection, subscribers: frozenset[str], now: datetime
) -> Sequence[Named]:
    most = MAX_SELECTED + 1
    if selection.lifts is not None:
        held = bulk_status.held_by(tx, selection.lifts, most)
        return _among(held, selection.named) if selection.named else held
    if selection.named:
        return _named(tx, selection.named, subscribers)
    if selection.organization is not None:
        organization = organizations.with_number(tx, selection.organization)
        if organization is None:
            raise NotFoundError(f"no organisation {selection.organization[:20]}")
        return bulk_status.of_organization(tx, organization.id, now, most)
    return _issued(tx, selection, subscribers, now, most)


def _issued(
    tx: Transaction, selection: Selection, subscribers: frozenset[str], now: datetime, most: int
) -> list[Named]:
    if selection.profile is not None and selection.profile not in subscribers:
        raise RefusedError("a profile of people or organisations is looked for")
    begun = (
        _ALL_TIME[0] if selection.issued_from is None else to_unix(selection.issued_from),
        _ALL_TIME[1] if selection.issued_until is None else to_unix(selection.issued_until),
    )
    profiles = [selection.profile] if selection.profile is not None else sorted(subscribers)
    found: list[Named] = []
    for authority in selection.issuer:
        for profile in profiles:
            found += bulk_status.issued(tx, authority, profile, begun, now, most - len(found))
    return found


def _among(held: Sequence[Named], named: Sequence[tuple[int, int]]) -> list[Named]:
    wanted = {(authority, serial_to_blob(serial)) for authority, serial in named}
    if missing := wanted.difference(held):
        raise RefusedError(f"{len(missing)} of these certificates are not held by this bulk act")
    return sorted(wanted)


def _named(tx: Transaction, named: Sequence[tuple[int, int]], subscribers: frozenset[str]) -> list[Named]:
    wanted = sorted({(authority, serial_to_blob(serial)) for authority, serial in named})
    for authority, joined in _batches(wanted):
        serials = [joined[at : at + 16] for at in range(0, len(joined), 16)]
        known = bulk_status.profiles_of(tx, authority, serials)
        if missing := [serial for serial in serials if serial not in known]:
            raise NotFoundError(f"no certificate with serial {missing[0].hex()}, and {len(missing) - 1} more")
        if not subscribers >= set(known.values()):
            raise RefusedError("certificates of the infrastructure are among these")
    return wanted


def _batches(found: Sequence[Named]) -> Iterator[tuple[int, bytes]]:
    for authority, group in groupby(found, key=lambda one: one[0]):
        serials = [serial for _, serial in group]
        for at in range(0, len(serials), BATCH):
            yield authority, b"".join(serials[at : at + BATCH])
