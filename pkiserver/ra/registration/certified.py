"""What an application is certified for, as its form says it: the subject, other names, the limit."""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509

from config.profile import Profile
from pkiserver.errors import ConflictError
from pkiserver.ra.registration.contracts import State
from pkiserver.ra.registration.form import Form
from pkiserver.ra.registration.officer_form import OfficerForm
from protocols import oid
from protocols.x509.names import subject_text
from store import organizations
from store.applications import ApplicationRecord
from store.database import Transaction
from store.organizations import OrganizationRecord


@dataclass(frozen=True, slots=True)
class Certified:
    """What an application is certified for: subject (RFC 4514), alternative names, value limit."""

    subject: str
    san: tuple[str, ...] = ()
    limit_mnt: int | None = None


def certified_citizen(profile: Profile, form: Form) -> Certified:
    """Return what a citizen's form is certified for; the limit where the profile has a place for it."""
    limits = profile.qc_statements is not None and profile.qc_statements.limit_value
    return Certified(_citizen_subject(form), limit_mnt=form.limit_mnt if limits else None)


def certified_officer(tx: Transaction, record: ApplicationRecord, form: OfficerForm) -> Certified:
    """Return what an officer's form is certified for; `ConflictError` where it is not so any more."""
    organization = organizations.get(tx, record.organization or 0)
    if organization is None or organization.state != State.CONTRACTED.value:
        raise ConflictError("the organisation has no contract any more")
    officer = organizations.officer(tx, record.officer or 0)
    if officer is None or officer.left_at is not None:
        raise ConflictError("the officer has left the organisation: withdraw the application")
    if (officer.title, officer.unit) != (form.position, form.unit):
        raise ConflictError("the officer has another position meanwhile: apply for that")
    return Certified(_officer_subject(form, organization), (f"email:{form.work_mail}",))


def _citizen_subject(form: Form) -> str:
    """Return the subject that an application is certified for, as the citizens' profiles have it (RFC 4514).

    serialNumber is the civil registration number (EN 319 412-1 §5.1.3), surname the parent's name.
    """
    attributes = (
        (oid.SERIAL_NUMBER, f"PNOMN-{form.civil_id}"),
        (oid.SURNAME, form.parent_name),
        (oid.GIVEN_NAME, form.given_name),
        (oid.COMMON_NAME, f"{form.parent_name} {form.given_name}"),
    )
    return _subject(attributes)


def _officer_subject(form: OfficerForm, organization: OrganizationRecord) -> str:
    """Return the subject of an officer's token: organisation (EN 319 412-1 §5.1.4), who, as what."""
    return _subject(
        (
            (oid.ORGANIZATION_NAME, organization.name),
            (oid.ORGANIZATION_IDENTIFIER, f"NTRMN-{organization.number}"),
            *(((oid.ORGANIZATIONAL_UNIT_NAME, form.unit),) if form.unit else ()),
            (oid.TITLE, form.position),
            (oid.SURNAME, form.parent_name),
            (oid.GIVEN_NAME, form.given_name),
            (oid.COMMON_NAME, f"{form.parent_name} {form.given_name}"),
        )
    )


def _subject(attributes: Sequence[tuple[str, str]]) -> str:
    return subject_text(
        x509.Name([x509.NameAttribute(x509.ObjectIdentifier(name), value) for name, value in attributes])
    )
