"""What a printing plant may enrol with its RA certificate: the cards of its own open batches, each once.

The plant names a card by its reference, where EST and CMP name a profile: in the path (RFC 7030 §3.2.2, RFC
9811 §3.4) or in certProfile (RFC 9810 §5.1.1.4). Subject, limit and lifetime are the application's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from config.profile import Profile
from pkiserver import audit
from pkiserver.ca.authorized_request import key_hash
from pkiserver.ca.identity import Identity
from pkiserver.ca.issuance import Issuance
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, NotAuthorizedError, UnavailableError
from pkiserver.ra.actors import Actors, has_usage
from pkiserver.ra.approval import Approvals
from pkiserver.ra.approved import Approved
from pkiserver.ra.client_certificates import Holder
from pkiserver.ra.credentials import enrollable
from pkiserver.ra.entitlement import Entitlement
from pkiserver.ra.registration.application_events import found_application
from pkiserver.ra.registration.gate import Gate
from pkiserver.ra.registration.roles import Action, Actor, Assignment, Permission, Role, Target
from pkiserver.ra.registration.states import State
from pkiserver.storage import Storage
from protocols import oid
from protocols.x509.certificate import serial_text
from protocols.x509.csr import UnprovenCSR, parse_csr
from protocols.x509.names import parse_subject
from protocols.x509.spki import PublicKey
from store import audit as audit_chain
from store import certificates, credentials, issuances
from store import plant as rows
from store.applications import ApplicationRecord
from store.database import Transaction
from store.plant import BatchRecord, CardRecord
from store.records import CredentialRecord, IssuanceRecord

_NO_CARD: Final = "no open card of yours: name one of your open batches by its reference"
_ANOTHER_KEY: Final = "a certificate of another key was made for this card: report the card failed first"
_REVOKED: Final = "the certificate of this card is revoked: report the card failed"


@dataclass(frozen=True, slots=True)
class Card:
    """A card that a plant may enrol now, and as what."""

    reference: str
    entitlement: Entitlement
    credential: CredentialRecord
    plant: str

    def hold(self, csr: UnprovenCSR) -> Approved:
        """Hold what was approved to the profile and the request."""
        return self.entitlement.hold(csr, self.plant)


@dataclass(frozen=True, slots=True)
class Made:
    """The certificate that a card has already, for the same key."""

    issuance: IssuanceRecord
    certificate: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Found:
    card: CardRecord
    batch: BatchRecord
    application: ApplicationRecord
    credential: CredentialRecord


class PlantEnrollment:
    """Decides what plants enrol, and gives again what was made before."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        gate: Gate,
        actors: Actors,
        profiles: Mapping[str, Profile],
        issuance: Issuance,
        approvals: Approvals,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._gate = gate
        self._actors = actors
        self._profiles = profiles
        self._issuance = issuance
        self._approvals = approvals

    async def card(self, holder: Holder, reference: str | None) -> Card | None:
        """Return the card that a plant names, or None for who is no plant.

        `NotAuthorizedError` for what is no card of an open batch of its own.
        """
        registered = await self._actors.holder(holder.record)
        if registered is None or not registered.has_role(Role.PLANT.value):
            return None
        if not has_usage(holder.certificate, oid.KP_CMC_RA):
            raise NotAuthorizedError(f"a plant enrols with a certificate for {oid.KP_CMC_RA} (id-kp-cmcRA)")
        plant = f"actor:{registered.name}"
        found = await self._storage.read(lambda tx: _found(tx, reference or ""))
        if found is None or found.batch.plant != plant:
            raise NotAuthorizedError(_NO_CARD)
        target = Target(plant=found.batch.plant, holder=found.application.person)
        actor = Actor(plant, (Assignment(Role.PLANT),))
        await self._gate.require(Permission(actor, Action.ISSUE_APPLICATION, target))
        self._require_open(found)
        return self._entitled(found, holder, plant)

    async def enroll(self, card: Card, csr_der: bytes) -> bytes:
        """Return the DER certificate of a card: the same one however often the same key asks.

        Raises what `made`, `parse_csr` and `Issuance` do.
        """
        csr = parse_csr(csr_der)
        made = await self.made(card, csr.public_key)
        if made is not None:
            return made.certificate
        request = card.hold(csr).request(csr.public_key)
        try:
            if request.profile.approval:
                return await self._approvals.obtain(request, until=card.credential.expires_at)
            return (await self._issuance.certify(request)).certificate
        except ConflictError:  # asked twice at once: the other one took the credential's use
            made = await self.made(card, csr.public_key)
            if made is None:
                raise
            return made.certificate

    async def made(self, card: Card, public_key: PublicKey) -> Made | None:
        """Return what was made for a card and this key; that it is given again is audited.

        `ConflictError` where another key has a certificate for the card, or it is revoked and there is no
        other to be had; `UnavailableError` while it is being made.
        """
        number = card.credential.id
        issuance = await self._storage.read(lambda tx: issuances.of_credential(tx, number))
        if issuance is None:
            return None
        if issuance.state != "issued":
            raise UnavailableError("the certificate of this card is being made: ask again")
        named = issuance.authority, issuance.serial
        record = await self._storage.read(lambda tx: certificates.get(tx, *named))
        if record is None or record.state == "revoked":
            if await self._storage.read(lambda tx: _has_use(tx, card.reference)):
                return None  # its client refused it (RFC 9810 §5.3.18)
            raise ConflictError(_REVOKED)
        if issuance.spki_sha256 != key_hash(public_key):
            raise ConflictError(_ANOTHER_KEY)
        again = audit.entry(
            self._clock.now(),
            card.plant,
            "certificate.deliver-again",
            authority=record.authority,
            serial=serial_text(record.serial),
        )
        await self._storage.write(lambda tx: audit_chain.append(tx, again))
        return Made(issuance, record.certificate)

    def _require_open(self, found: _Found) -> None:
        """Raise `NotAuthorizedError` for a card that has its result, is late or not wanted any more."""
        if found.card.result is not None:
            raise NotAuthorizedError(f"the card has its result: {found.card.result.outcome}")
        if found.batch.due_at <= self._clock.now():
            raise NotAuthorizedError(
                "the batch is overdue: report its cards failed that have no certificate, and pull again"
            )
        is_open = found.application.state in (State.ISSUING.value, State.ISSUED.value)
        if not is_open or found.credential.cancelled_at is not None:
            raise NotAuthorizedError(f"the application is {found.application.state}: report the card failed")

    def _entitled(self, found: _Found, holder: Holder, plant: str) -> Card:
        credential = found.credential
        profile = enrollable(self._profiles, credential.profile)
        approved = Identity(parse_subject(credential.subject), (), credential.limit_mnt)
        entitlement = Entitlement(profile, approved, credential, entitled_by=(holder.record,))
        return Card(found.card.reference, entitlement, credential, plant)


def _found(tx: Transaction, reference: str) -> _Found | None:
    card = rows.card(tx, reference)
    batch = rows.batch(tx, card.batch) if card is not None else None
    credential = credentials.get(tx, reference) if card is not None else None
    if card is None or batch is None or credential is None:
        return None
    return _Found(card, batch, found_application(tx, card.application), credential)


def _has_use(tx: Transaction, reference: str) -> bool:
    credential = credentials.get(tx, reference)
    return credential is not None and credential.uses_left > 0
