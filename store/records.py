"""The rows of the store as frozen dataclasses; times are aware UTC in whole seconds."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

SERIAL_OCTETS: Final = 16

# prepared: it has a key. published: all may know its certificate. active: it issues. retiring: another one
# issues, this one tells the status of what it issued. ended: its last CRL is out.
AuthorityState = Literal["prepared", "published", "active", "retiring", "ended", "compromised", "dropped"]


def to_unix(moment: datetime) -> int:
    """Return a moment as the store keeps it."""
    return int(moment.timestamp())


def from_unix(seconds: int) -> datetime:
    """Return a moment that the store kept, aware UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def serial_to_blob(serial: int) -> bytes:
    """Return a serial as the store keeps it: 16 octets that sort as the number does."""
    return serial.to_bytes(SERIAL_OCTETS, "big")


@dataclass(frozen=True, slots=True)
class AuthorityRecord:
    """One key of a certification authority of this installation; `key_label` None: it is kept outside.

    `activate_at` is when a published one is to become active, `ended_at` since when its last CRL is due.
    """

    id: int
    name: str
    parent: str | None
    key_label: str | None
    certificate: bytes | None
    generation: int = 1
    state: AuthorityState = "active"
    activate_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def handle(self) -> str:
        """What names this generation in files, addresses and lists."""
        return authority_handle(self.name, self.generation)


def authority_handle(name: str, generation: int) -> str:
    """Return what names one generation of an authority: NAME for the first, NAME.2 for the second."""
    return name if generation == 1 else f"{name}.{generation}"


@dataclass(frozen=True, slots=True)
class CredentialRecord:
    """An enrolment credential: who knows its secret may enrol this identity, `uses_left` times.

    Its secret is kept as a hash, or where it keys the MACs of CMP as `sealed_secret`, encrypted. One that has
    neither nobody can prove to know: the printing plant names its reference, and shows its own certificate.
    """

    id: int
    reference: str
    secret_hash: bytes | None
    sealed_secret: bytes | None
    profile: str
    subject: str
    san: tuple[str, ...]
    limit_mnt: int | None
    uses_left: int
    attempts_left: int
    created_at: datetime
    expires_at: datetime
    cancelled_at: datetime | None


@dataclass(frozen=True, slots=True)
class IssuanceRecord:
    """One intent to issue, from the reserved serial to its end: issued or voided; `crl_shard` 0: none."""

    id: int
    authority: int
    serial: int
    profile: str
    subject: str
    spki_sha256: bytes
    tbs: bytes
    tbs_sha256: bytes
    requested_by: str
    credential: int | None
    enrollment: int | None
    crl_shard: int
    state: str


@dataclass(frozen=True, slots=True)
class EnrollmentRecord:
    """A request that somebody has to approve; `state` is waiting, approved, refused or issued.

    `san` is sorted. `asked_by` is who may come for the certificate, `decided_by` who approved or refused;
    `reason` is that of a refusal, `serial` that of the certificate.
    """

    id: int
    authority: int
    profile: str
    subject: str
    san: tuple[str, ...]
    limit_mnt: int | None
    spki_sha256: bytes
    asked_by: str
    requested_at: datetime
    expires_at: datetime
    state: Literal["waiting", "approved", "refused", "issued"]
    decided_by: str | None = None
    decided_at: datetime | None = None
    reason: str | None = None
    serial: int | None = None


@dataclass(frozen=True, slots=True)
class RoleRecord:
    """A role that an actor has now, and where."""

    id: int
    role: str
    office: int | None
    organization: int | None
    everywhere: bool
    granted_at: datetime
    granted_by: str


@dataclass(frozen=True, slots=True)
class ActorRecord:
    """A person or program that acts here, with the roles of now; `person`: who it is, where on record."""

    id: int
    name: str
    person: int | None
    version: int
    added_at: datetime
    added_by: str
    roles: tuple[RoleRecord, ...]

    def has_role(self, role: str) -> bool:
        """Return whether it has a role, wherever."""
        return any(one.role == role for one in self.roles)


@dataclass(frozen=True, slots=True)
class ActorCertificateRecord:
    """A certificate by which an actor acts, or acted until it was removed."""

    authority: int
    serial: int
    added_at: datetime
    added_by: str
    removed_at: datetime | None
    removed_by: str | None


@dataclass(frozen=True, slots=True)
class CertificateRecord:
    """An issued certificate and its stored state (active, suspended, revoked); `crl_shard` 0: none."""

    authority: int
    serial: int
    profile: str
    subject: str
    spki_sha256: bytes
    not_before: datetime
    not_after: datetime
    state: str
    certificate: bytes
    crl_shard: int = 0


class StatusRecord(NamedTuple):
    """What OCSP is to say of a certificate; `revoked_at` and `reason` are None when it is good.

    `not_after_s` is its notAfter in Unix seconds. A named tuple: a million of them are made in a refresh.
    """

    authority: int
    serial: int
    revoked_at: datetime | None
    reason: int | None
    not_after_s: int


@dataclass(frozen=True, slots=True)
class StatusEventRecord:
    """One change of a certificate's status; `from_state` None: it was issued."""

    sequence: int
    authority: int
    serial: int
    from_state: str | None
    to_state: str
    reason: int | None
    effective_at: datetime
    actor: str


@dataclass(frozen=True, slots=True)
class PublicEventRecord:
    """What everybody may know of a status event."""

    sequence: int
    authority: int
    serial: int
    to_state: str
    reason: int | None
    effective_at: datetime


@dataclass(frozen=True, slots=True)
class HoldSpanRecord:
    """A hold on a certificate, whose it is and from when till when; `closed_at` None: it is open."""

    holder: str
    opened_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class ArchivedResponseRecord:
    """An OCSP response kept from around a change of status; `entry` is as the response table packs it."""

    authority: int
    serial: int
    this_update: datetime
    next_update: datetime
    entry: bytes


@dataclass(frozen=True, slots=True)
class HoldRecord:
    """An open hold on a certificate and whose it is; `decision` is the case that an authority decided.

    `act` is the bulk act that placed it.
    """

    holder: str
    opened_at: datetime
    decision: int | None = None
    act: int | None = None


@dataclass(frozen=True, slots=True)
class CRLEntryRecord:
    """What CRL and OCSP say of a certificate that is on hold or revoked; `entry` is DER.

    They say it from status event `since` on, until event `until` (exclusive); None: they still do. `shard` is
    the certificate's, 0 where it has none.
    """

    authority: int
    serial: int
    since: int
    until: int | None
    shard: int
    revoked_at: datetime
    reason: int
    not_after: datetime
    entry: bytes


@dataclass(frozen=True, slots=True)
class CRLRecord:
    """A published CRL, without its entries: those are the ones in force at event `events_to`.

    `scope` 0 is all certificates of the authority, a higher one a shard; `kind` is full or delta, and a delta
    builds upon the full CRL `base_number`. A full one leaves out the entries of certificates that had ended
    before `not_expired_at`. `head` and `tail` are what TBSCertList holds before revokedCertificates and
    after it, in DER.
    """

    authority: int
    scope: int
    kind: str
    number: int
    base_number: int | None
    this_update: datetime
    next_update: datetime
    events_to: int
    not_expired_at: datetime | None
    entries: int
    octets: int
    sha256: bytes
    head: bytes
    tail: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class CRLShardRecord:
    """One part of an authority's certificates, and where the CRL of it is found."""

    authority: int
    shard: int
    url: str


@dataclass(frozen=True, slots=True)
class ResponderRecord:
    """A delegated OCSP signer of an authority (RFC 6960 §4.2.2.2)."""

    id: int
    authority: int
    key_label: str
    certificate: bytes
    not_after: datetime


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What is to be recorded; `personal` may be erased later without breaking the chain."""

    at: datetime
    actor: str
    action: str
    outcome: str
    detail: str
    personal: str | None = None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One link of the audit chain as it is stored."""

    sequence: int
    at: datetime
    actor: str
    action: str
    outcome: str
    detail: str
    personal_salt: bytes | None
    personal: str | None
    personal_hash: bytes | None
    hash: bytes
