"""What is entered of a case: checked, and put where it belongs, before anything is written."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pkiserver.errors import NotFoundError, RefusedError
from pkiserver.ra.cases.rules import RULES, Channel, Kind
from pkiserver.ra.lifecycle import HoldOwner
from pkiserver.ra.registration.contacts import parse_line
from pkiserver.ra.registration.offices import calendar_of, found_office
from pkiserver.ra.registration.roles import Target
from pkiserver.ra.registration.working_hours import MAX_DAYS, Calendar
from protocols.x509.certificate import serial_text
from store import cases as rows
from store import certificates, offices, renewals
from store.database import Transaction
from store.offices import OfficeRecord
from store.records import CertificateRecord

EVIDENCE: Final = ("body", "number", "date", "document", "letter", "message")
MAX_EVIDENCE_CHARACTERS: Final = 200
# An authority's decision is named in full (regulation 3.3): who decided, its number and date, the document.
DECISION_EVIDENCE: Final = frozenset({"body", "number", "date", "document"})
_NAMES_HOLD: Final = (Channel.AUTHORITY, Channel.ORGANIZATION, Channel.CIVIL_REGISTRY)
_ALWAYS_OPEN: Final = Calendar(0, 1440, 0, 0, "1234567")


@dataclass(frozen=True, slots=True)
class NewCase:
    """What is asked: of which certificate, what, by which channel, why, and where it was received."""

    authority: int
    serial: int
    kind: Kind
    channel: Channel
    ground: str
    office: str | None = None  # the code of the one that received it
    lifts: int | None = None  # to restore by an authority: the case of the decision that is no more
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a case belongs, as the permission table asks, and when those who decide it work."""

    target: Target
    calendar: Calendar


def place_of(tx: Transaction, new: NewCase, now: datetime) -> Place:
    """Return where a case belongs: its office, and the holder and organisation of the certificate.

    What the civil registry tells is of the office where the certificate was applied for. `NotFoundError`
    where there is no such certificate or office.
    """
    application = renewals.behind(tx, _certificate(tx, new))
    office = office_of(tx, new.office)
    if new.channel is Channel.CIVIL_REGISTRY and application is not None and application.office is not None:
        office = offices.get(tx, application.office)
    target = Target(
        office=office.id if office else None,
        organization=application.organization if application else None,
        holder=application.person if application else None,
    )
    return Place(target, calendar_of(tx, office, now, MAX_DAYS) if office else _ALWAYS_OPEN)


def require_admissible(tx: Transaction, new: NewCase, subscribers: Collection[str]) -> None:
    """`RefusedError` for a certificate of another profile, and for a hold that is not this channel's.

    And to suspend for a lost token: nobody knows who has it, so its certificate is revoked.
    """
    certificate = _certificate(tx, new)
    if certificate.profile not in subscribers:
        raise RefusedError("a certificate of the infrastructure is no case; see `pkiserver certificate`")
    if (new.kind, new.ground) == (Kind.SUSPEND, "carrier_missing"):
        application = renewals.behind(tx, certificate)
        if application is not None and application.carrier == "token":
            raise RefusedError("the certificate of a lost token is revoked, never suspended")
    if new.lifts is not None:
        _require_holding(tx, new)


def _certificate(tx: Transaction, new: NewCase) -> CertificateRecord:
    certificate = certificates.get(tx, new.authority, new.serial)
    if certificate is None:
        raise NotFoundError(f"no certificate with serial {serial_text(new.serial)}")
    return certificate


def _require_holding(tx: Transaction, new: NewCase) -> None:
    """`RefusedError` unless the case whose hold is to end placed an authority's on this very certificate.

    An authority's decision lifts whichever; an organisation and the civil registry only what is theirs.
    """
    held = rows.get(tx, new.lifts or 0)
    same = held is not None and (held.authority, held.serial) == (new.authority, new.serial)
    if held is None or not same or (held.kind, held.state) != (Kind.SUSPEND.value, "granted"):
        raise RefusedError(f"case {new.lifts} did not suspend this certificate")
    if RULES[Kind.SUSPEND, Channel(held.channel)].owner is not HoldOwner.AUTHORITY:
        raise RefusedError(f"case {new.lifts} did not suspend this certificate for an authority")
    if new.channel is not Channel.AUTHORITY and held.channel != new.channel.value:
        raise RefusedError(f"case {new.lifts} suspended this certificate for somebody else")


def office_of(tx: Transaction, code: str | None) -> OfficeRecord | None:
    """Return the office of this code, None for none; `NotFoundError` where there is no such office."""
    return None if code is None else found_office(tx, code)


def evidence_text(new: NewCase) -> str:
    """Return the evidence as it is kept, JSON; `RefusedError` says what is missing or does not belong."""
    unknown = set(new.evidence) - set(EVIDENCE)
    if unknown:
        raise RefusedError(f"evidence is one of {', '.join(EVIDENCE)}")
    if new.channel is Channel.AUTHORITY and set(new.evidence) & DECISION_EVIDENCE != DECISION_EVIDENCE:
        raise RefusedError("an authority's decision is named by body, number, date and document (3.3)")
    if new.channel is Channel.WRITTEN and new.office is None:
        raise RefusedError("a written request names the office that received it")
    if (new.kind is Kind.RESTORE and new.channel in _NAMES_HOLD) != (new.lifts is not None):
        raise RefusedError("to lift an authority's hold, and only then, the case that placed it is named")
    checked = {name: parse_line(text, MAX_EVIDENCE_CHARACTERS) for name, text in new.evidence.items()}
    return json.dumps(checked, ensure_ascii=False, sort_keys=True)
