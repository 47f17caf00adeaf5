"""Whether a certificate may be renewed now: within its window, and by who its holder still is.

Every way asks here: the signed application, and re-enrolment over EST, CMC and CMP. Of a certificate that
came of no application (a device's, one made with a credential of the command line) nobody is on record.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from config.profile import Profile
from pkiserver.clock import Clock
from pkiserver.errors import NotAuthorizedError
from pkiserver.ra.registration.contacts import name_key
from pkiserver.ra.registration.contracts import State
from pkiserver.ra.registration.people import SUBJECT
from pkiserver.ra.registration.personal_data import PersonalData
from pkiserver.ra.registration.registry import CivilRegistry, RegistryEntry
from pkiserver.storage import Storage
from store import organizations, people, renewals
from store.applications import ApplicationRecord
from store.database import Transaction
from store.records import CertificateRecord

_AT_AN_OFFICE: Final = "apply anew at an office"


@dataclass(frozen=True, slots=True, repr=False)  # no representation: it would be logged with what it holds
class Registered:
    """Who is on record behind a certificate, by the numbers that the civil registry knows."""

    register_number: str
    civil_id: str


class RenewalRules:
    """Holds a renewal to the profile's window and to what registration and civil registry know today."""

    def __init__(
        self, *, storage: Storage, clock: Clock, data: PersonalData, registry: CivilRegistry
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._data = data
        self._registry = registry

    async def require(self, record: CertificateRecord, profile: Profile) -> RegistryEntry | None:
        """Return what the civil registry says of the holder, None where nobody is on record.

        `NotAuthorizedError` before the window, and where the holder is erased, dead or no citizen, has
        another name or position, or left; `UnavailableError` where the registry is silent: fail closed.
        """
        _require_window(record, profile, self._clock.now())
        application = await self._storage.read(lambda tx: renewals.of_subject(tx, record.subject), brief=True)
        if application is None or application.person is None:
            return None
        certificate = x509.load_der_x509_certificate(record.certificate)
        found = await self._storage.read(lambda tx: self._registered(tx, application, certificate))
        entry = await self._registry.by_numbers(found.register_number, found.civil_id)
        if entry is None or not entry.entitled:
            raise NotAuthorizedError(
                "the civil registry knows the holder as a living citizen no more (regulation 1.1)"
            )
        _require_names(certificate, {"parent_name": entry.parent_name, "given_name": entry.given_name})
        return entry

    def _registered(
        self, tx: Transaction, application: ApplicationRecord, certificate: x509.Certificate
    ) -> Registered:
        number = application.person or 0
        person, data = people.get(tx, number), self._data.read(tx, SUBJECT, number)
        if person is None or person.erased_at is not None or "civil_id" not in data:
            raise NotAuthorizedError(f"the holder is on record no more: {_AT_AN_OFFICE}")
        names = {"parent_name": person.parent_name, "given_name": person.given_name}
        _require_names(certificate, names)
        if application.officer is not None:
            _require_in_office(tx, application.officer, certificate)
        return Registered(data["register_number"], data["civil_id"])


def _require_window(record: CertificateRecord, profile: Profile, now: datetime) -> None:
    """Raise `NotAuthorizedError` before the window in which a certificate may be renewed opens."""
    if profile.renewal_window is None:
        return
    opens_at = record.not_after - profile.renewal_window
    if now < opens_at:
        raise NotAuthorizedError(
            f"profile {profile.name}: this certificate may be renewed from {opens_at:%Y-%m-%d} on"
        )


def _require_names(certificate: x509.Certificate, names: Mapping[str, str | None]) -> None:
    """Hold names to those in a certificate; capitals do not count, as in the registry."""
    for attribute, field in ((NameOID.SURNAME, "parent_name"), (NameOID.GIVEN_NAME, "given_name")):
        if name_key(_value(certificate, attribute) or "") != name_key(names[field] or ""):
            raise NotAuthorizedError(f"the holder has another name than the certificate: {_AT_AN_OFFICE}")


def _require_in_office(tx: Transaction, officer: int, certificate: x509.Certificate) -> None:
    found = organizations.officer(tx, officer)
    organization = None if found is None else organizations.get(tx, found.organization)
    if found is None or found.left_at is not None:
        raise NotAuthorizedError("the holder has left the organisation")
    if organization is None or organization.state != State.CONTRACTED.value:
        raise NotAuthorizedError("the organisation has no contract any more")
    held = (
        _value(certificate, NameOID.TITLE),
        _value(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME),
        _value(certificate, NameOID.ORGANIZATION_NAME),
    )
    if held != (found.title, found.unit, organization.name):
        raise NotAuthorizedError("the holder has another position: the organisation applies for it")


def _value(certificate: x509.Certificate, attribute: x509.ObjectIdentifier) -> str | None:
    found = certificate.subject.get_attributes_for_oid(attribute)
    return str(found[0].value) if found else None
