"""serverkeygen: keys made for subscribers, certified and handed over, never kept (RFC 7030 §4.4).

A key is lost with the answer that held it: a certificate whose answer was not written is revoked at once, or
after a crash by `recover`, and the use of its credential given back. So the same request simply gets another
key; what ADR 0004 does for keys of the client's own cannot be done here.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import structlog
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from pkiserver import audit
from pkiserver.ca.authorized_request import AuthorizedRequest
from pkiserver.ca.issuance import Issuance
from pkiserver.ca.message_signer import MessageSigner
from pkiserver.clock import Clock
from pkiserver.errors import ConflictError, NotAuthorizedError, PKIServerError
from pkiserver.ra.approved import Approved
from pkiserver.ra.key_maker import KeyMaker
from pkiserver.ra.key_protection import KeyProtection, KeyProtections
from pkiserver.ra.lifecycle import Action, Command, HoldOwner
from pkiserver.ra.status_changes import StatusChanges
from pkiserver.storage import Storage
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.ocsp import CRLReason
from protocols.cms.content_info import ContentInfo
from protocols.est.server_key import asymmetric_key_package
from protocols.x509.certificate import serial_text
from protocols.x509.csr import UnprovenCSR
from protocols.x509.spki import PublicKey, read_public_key
from store import audit as audit_chain
from store import credentials, issuances, undelivered_keys
from store.database import Transaction
from store.records import CertificateRecord
from store.undelivered_keys import UndeliveredKey

SYSTEM: Final = "system"
_REVOKE: Final = Command(Action.REVOKE, HoldOwner.AUTHORITY, CRLReason.CESSATION_OF_OPERATION)
_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServerKey:
    """A key for its subscriber: a DER PrivateKeyInfo or, `encrypted`, EnvelopedData; and the certificate."""

    key: bytes = field(repr=False)
    encrypted: bool
    certificate: bytes


HandOver = Callable[[ServerKey], Awaitable[None]]  # returns when the answer was written without error


class ServerKeys:
    """Makes keys for who was found entitled, and hands them over."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        issuance: Issuance,
        status_changes: StatusChanges,
        message_signer: MessageSigner,
        protections: KeyProtections,
        key_maker: KeyMaker,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._issuance = issuance
        self._status_changes = status_changes
        self._message_signer = message_signer
        self._protections = protections
        self._key_maker = key_maker
        self._under_way: set[int] = set()  # issuances that `recover` leaves alone

    async def make(
        self,
        csr: UnprovenCSR,
        approved: Approved,
        hand_over: HandOver,
    ) -> None:
        """Make a key of the profile's first kind, have its certificate issued, and hand both over.

        Raises what `Issuance` and `hand_over` do; `NotAuthorizedError` where the profile has no keys made,
        `RefusedError` where it cannot be encrypted as asked, `UnavailableError` where it cannot be made now.
        """
        profile = approved.profile
        if not profile.server_keygen:
            raise NotAuthorizedError(f"no keys are made for profile {profile.name}: make one and enrol")
        protection = await self._protections.find(csr, approved.identity.subject)
        private_key_info = await self._key_maker.make(profile.keys[0])
        request = approved.request(_public_key(private_key_info), key_made_here=True)
        await self._audit(request, profile.keys[0], protection)
        key = private_key_info
        if protection is not None:  # before it is issued: what fails here leaves no certificate
            key = await self._encrypted(private_key_info, protection)
        prepared = await self._issuance.prepare(request)
        self._under_way.add(prepared.intent.id)
        try:
            record = await self._issuance.issue(prepared)
            made = ServerKey(key, protection is not None, record.certificate)
            await self._hand_over(made, record, hand_over)
        finally:
            self._under_way.discard(prepared.intent.id)

    async def recover(self) -> int:
        """Settle what a crash left: revoke certificates whose keys are lost; return how many there were."""
        found = await self._storage.read(undelivered_keys.ended)
        lost = [one for one in found if one.issuance not in self._under_way]
        for one in lost:
            await self._withdraw(one)
        return len(lost)

    async def _hand_over(self, made: ServerKey, record: CertificateRecord, hand_over: HandOver) -> None:
        named = (record.authority, record.serial)
        undelivered = await self._storage.read(lambda tx: undelivered_keys.find(tx, *named))
        try:
            await hand_over(made)
        except BaseException:
            if undelivered is not None:
                await self._try_to_withdraw(undelivered)
            raise
        now = self._clock.now()

        def transaction(tx: Transaction) -> None:
            issuances.mark_delivered(tx, *named, now)
            if undelivered is not None:
                undelivered_keys.remove(tx, undelivered.issuance)

        await self._storage.write(transaction)

    async def _try_to_withdraw(self, undelivered: UndeliveredKey) -> None:
        try:
            await self._withdraw(undelivered)
        except PKIServerError as error:  # `recover` does it later
            _log.error("undelivered-key-not-withdrawn", reason=str(error))

    async def _withdraw(self, lost: UndeliveredKey) -> None:
        """Revoke a certificate whose key is lost, and give back the use of its credential."""
        if lost.issued:
            try:
                await self._status_changes.carry_out(lost.authority, lost.serial, _REVOKE, SYSTEM)
            except ConflictError as error:  # somebody revoked it, or it expired: it is of no use either way
                _log.info("undelivered-key-was-settled", serial=serial_text(lost.serial), reason=str(error))
        now = self._clock.now()
        entry = audit.entry(
            now, SYSTEM, "key.lost", authority=lost.authority, serial=serial_text(lost.serial)
        )

        def transaction(tx: Transaction) -> None:
            if undelivered_keys.remove(tx, lost.issuance) and lost.issued:
                if lost.credential is not None:
                    credentials.give_back_use(tx, lost.credential)
                audit_chain.append(tx, entry)

        await self._storage.write(transaction)

    async def _encrypted(self, private_key_info: bytes, protection: KeyProtection) -> bytes:
        """Return the EnvelopedData of the SignedData of the key, signed by who made it (RFC 7030 §4.4.2)."""
        package = asymmetric_key_package(private_key_info)
        message = await self._message_signer.sign(oid.CT_KEY_PACKAGE, package)
        return protection.encrypt(der.whole(message, ContentInfo.parse).content)

    async def _audit(self, request: AuthorizedRequest, kind: str, protection: KeyProtection | None) -> None:
        entry = audit.entry(
            self._clock.now(),
            request.requested_by,
            "key.make",
            profile=request.profile.name,
            kind=kind,
            encrypted_by=protection.name if protection else "TLS alone",
        )
        await self._storage.write(lambda tx: audit_chain.append(tx, entry))


def _public_key(private_key_info: bytes) -> PublicKey:
    public_key = load_der_private_key(private_key_info, None).public_key()
    return read_public_key(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
