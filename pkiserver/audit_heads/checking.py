"""Whether a signed head is to be believed, and whether the log still holds it.

Its signer is a certificate that this installation's `infrastructure` issued for this alone, which is told by
what an authority's key has signed, not by rows: whoever writes to the database can write those, too.
"""

import re
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID

from config.hierarchy import INFRASTRUCTURE
from pkiserver.audit import ChainError
from pkiserver.audit_heads.signed_head import SignedHead
from pkiserver.ca.authorities import Authorities
from pkiserver.ca.message_signer import AUDIT_LOG
from pkiserver.clock import utc_text
from pkiserver.errors import RefusedError
from pkiserver.progress import Progress
from pkiserver.storage import Storage
from protocols.cms.content_info import IssuerAndSerialNumber
from protocols.cms.verification import verify_signer
from protocols.errors import ProtocolError
from protocols.x509.certificate import serial_text
from protocols.x509.spki import PublicKey, read_public_key
from store import audit as audit_chain
from store import audit_heads, certificates, facts
from store.audit_heads import AuditHeadRecord

INSTALLATION: Final = "installation"  # the fact that names this installation in its heads
_PAGE: Final = 500
_NAME: Final = re.compile(rf"CN={AUDIT_LOG.name} [0-9]{{1,9}}")


class HeadChecker:
    """Checks heads against the certificates and the records of one installation."""

    def __init__(self, storage: Storage, authorities: Authorities) -> None:
        self._storage = storage
        self._authorities = authorities
        self._signers: dict[bytes, x509.Certificate] = {}  # by issuer and serial

    async def certificates(self, head: SignedHead) -> tuple[bytes, ...]:
        """Return the certificate that signed a head and the chain above it without the root, in DER."""
        signer = await self._signer(head, "the head")
        issuer = self._authorities.issuer_of(signer)
        chain = self._authorities.chain_of(issuer) if issuer is not None else []
        return (signer.public_bytes(Encoding.DER), *(one.der for one in chain if one.parent))

    async def check(self, head: SignedHead, name: str) -> None:
        """Raise `ChainError`, which calls the head `name`, unless it is signed and in the log as it says."""
        await self._check_signature(head, name)
        sequence = head.head.sequence
        record = await self._storage.read(lambda tx: audit_chain.get(tx, sequence))
        if sequence and record is None:
            end = await self._storage.read(audit_chain.head)
            raise ChainError(
                f"the audit log ends at record {end.sequence if end else 0}; {name} is of record {sequence}:"
                " its tail was cut"
            )
        found = record.hash if record is not None else audit_chain.GENESIS
        if found.hex() != head.head.hash:
            raise ChainError(f"audit record {sequence} is not the one of {name}: the log was written anew")

    async def check_kept(self, progress: Progress) -> int:
        """Check every head that is kept, and that none is missing between them; return how many there are."""
        last = await self._storage.read(audit_heads.newest)
        total = last.id if last is not None else 0
        before: AuditHeadRecord | None = None
        while page := await self._after(before):
            for record in page:
                await self._check_kept(record, before)
                before = record
            progress("heads", page[-1].id, total)
        return before.id if before is not None else 0

    async def _after(self, before: AuditHeadRecord | None) -> list[AuditHeadRecord]:
        number = before.id if before is not None else 0
        return await self._storage.read(lambda tx: audit_heads.after(tx, number, _PAGE))

    async def _check_kept(self, record: AuditHeadRecord, before: AuditHeadRecord | None) -> None:
        name = f"kept head {record.id}"
        number, sequence = (before.id, before.sequence) if before is not None else (0, 0)
        if record.id != number + 1:
            raise ChainError(f"kept head {number + 1} is missing")
        head = _parsed(record.cms, name)
        if head.head.sequence != record.sequence or record.sequence < sequence:
            raise ChainError(f"{name} was replaced: it is not of audit record {record.sequence}")
        if head.at != record.at:
            raise ChainError(f"{name} was replaced: it was not signed {utc_text(record.at)}")
        await self.check(head, name)

    async def _check_signature(self, head: SignedHead, name: str) -> None:
        signer = await self._signer(head, name)
        ours = await self._storage.read(lambda tx: facts.get(tx, INSTALLATION))
        if head.installation != ours:
            raise ChainError(f"{name} is of another installation, {head.installation[:60]}")
        (signer_info,) = head.signed_data.signer_infos
        try:
            verify_signer(head.signed_data, signer_info, _public_key(signer))
        except ProtocolError as error:
            raise ChainError(f"the signature of {name} is wrong: {error}") from error
        await self._check_in_force(head, signer, name)

    async def _check_in_force(self, head: SignedHead, signer: x509.Certificate, name: str) -> None:
        """A head is as old as it says: only its signer's revocation tells that others may have made it."""
        issuer = self._authorities.issuer_of(signer)
        serial = signer.serial_number
        authority = issuer.id if issuer is not None else 0
        status = await self._storage.read(lambda tx: certificates.status(tx, authority, serial))
        revoked_at = status.revoked_at if status is not None else None
        if revoked_at is not None and head.at >= revoked_at:
            raise ChainError(f"{name} was signed after its certificate was revoked, {utc_text(revoked_at)}")

    async def _signer(self, head: SignedHead, name: str) -> x509.Certificate:
        """Return the certificate that a head names; `ChainError` where it is none for heads of ours."""
        sid = head.signed_data.signer_infos[0].sid
        if not isinstance(sid, IssuerAndSerialNumber):
            raise ChainError(f"{name} does not name its signer by issuer and serial number")
        key = sid.encode()
        if key not in self._signers:
            self._signers[key] = await self._found(sid, name)
        return self._signers[key]

    async def _found(self, sid: IssuerAndSerialNumber, name: str) -> x509.Certificate:
        serial = sid.serial_number
        rows = []
        if 0 < serial < 1 << 127:
            rows = await self._storage.read(lambda tx: certificates.with_serial(tx, serial))
        for row in rows:
            certificate = x509.load_der_x509_certificate(row.certificate)
            if certificate.issuer.public_bytes() == sid.issuer and self._is_for_heads(certificate):
                return certificate
        raise ChainError(f"{name} is signed by a certificate that is none for it: serial {_shown(serial)}")

    def _is_for_heads(self, certificate: x509.Certificate) -> bool:
        """Return whether `infrastructure` issued it for the audit log: others name what they are for."""
        issuer = self._authorities.issuer_of(certificate)
        if issuer is None or issuer.name != INFRASTRUCTURE:
            return False
        has_purpose = any(one.oid == ExtensionOID.EXTENDED_KEY_USAGE for one in certificate.extensions)
        return not has_purpose and _NAME.fullmatch(certificate.subject.rfc4514_string()) is not None


def _parsed(cms: object, name: str) -> SignedHead:
    if not isinstance(cms, bytes):  # SQLite takes any value in any column
        raise ChainError(f"{name} was replaced: it is no CMS message")
    try:
        return SignedHead.parse(cms)
    except RefusedError as error:
        raise ChainError(f"{name} was replaced: {error}") from error


def _public_key(certificate: x509.Certificate) -> PublicKey:
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return read_public_key(spki)


def _shown(serial: int) -> str:
    return serial_text(serial) if 0 < serial < 1 << 127 else "out of range"
