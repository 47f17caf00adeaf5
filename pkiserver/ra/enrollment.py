"""Enrolment and re-enrolment as EST asks for them: who asks, for which profile, with what identity."""

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from config.profile import Profile
from pkiserver import audit
from pkiserver.ca.authorities import Authorities
from pkiserver.ca.identity import Identity, approve_identity, certificate_identity
from pkiserver.ca.issuance import AuthorizedRequest, Issuance, require_entitled
from pkiserver.clock import Clock
from pkiserver.errors import (
    NotAuthenticatedError,
    NotAuthorizedError,
    PKIServerError,
    RefusedError,
)
from pkiserver.ra.attempts import AttemptLimiter
from pkiserver.ra.credentials import Credentials, WrongCredentialError, enrollable, issuer_name
from pkiserver.ra.lifecycle import Standing, State
from pkiserver.storage import Storage
from protocols.errors import ErrorKind, ProtocolError
from protocols.x509.certificate import serial_text
from protocols.x509.csr import ParsedCSR, parse_csr
from protocols.x509.names import names_equal, parse_san, parse_subject, sans_equal
from store import audit as audit_chain
from store import certificates, credentials, issuances
from store.database import Transaction
from store.records import CertificateRecord, CredentialRecord


class Enrollment:
    """Decides on enrolments and has `ca` issue what was approved. Every refusal is audited."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        authorities: Authorities,
        profiles: Mapping[str, Profile],
        credentials: Credentials,
        issuance: Issuance,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._authorities = authorities
        self._profiles = profiles
        self._credentials = credentials
        self._issuance = issuance
        self._attempts = AttemptLimiter()

    async def enroll(
        self, csr_der: bytes, *, reference: str, secret: str, label: str | None, peer: str
    ) -> bytes:
        """Return the DER certificate for who knows the secret of an enrolment credential.

        Raises `NotAuthenticatedError`, `NotFoundError` (label), `RefusedError`, `KeyRefusedError`,
        `UnavailableError`, and what `parse_csr` raises: the request is read only once it is known who
        asks. A certificate that was issued to this credential and key and never taken (the connection
        or the server broke) is given again.
        """
        try:
            credential = await self._credentials.authenticate(reference, secret)
        except WrongCredentialError as error:
            await self._record_refusal("anonymous", "enroll", peer, str(error), error.credential)
            raise
        work = self._enroll(csr_der, credential, label)
        return await self._audited("enroll", f"credential:{reference}", peer, work)

    async def reenroll(
        self, csr_der: bytes, *, client_certificate: bytes, label: str | None, peer: str
    ) -> bytes:
        """Return a new DER certificate for the holder of a current one (RFC 7030 §4.2.2).

        `client_certificate` authenticated the TLS connection. Its status is read from the store at
        each call, and once more in the transaction that reserves the serial. `label` names the
        profile; None: that of the client certificate. Raises as `enroll` does, `NotAuthorizedError`
        where the client certificate does not entitle to it.
        """
        certificate = x509.load_der_x509_certificate(client_certificate)
        actor = f"certificate:{serial_text(certificate.serial_number)}"
        return await self._audited("reenroll", actor, peer, self._reenroll(csr_der, certificate, label))

    async def delivered(self, certificate: bytes) -> None:
        """Note that the client took this certificate: it is not given again."""
        parsed = x509.load_der_x509_certificate(certificate)
        issuer = self._authorities.issuer_of(parsed)
        if issuer is not None:
            now = self._clock.now()
            await self._storage.write(
                lambda tx: issuances.mark_delivered(tx, issuer.id, parsed.serial_number, now)
            )

    async def refused(self, *, operation: str, peer: str, reason: str) -> None:
        """Record a request that was refused before it came here."""
        await self._record_refusal("anonymous", operation, peer, reason)

    def ca_certificates(self, label: str | None) -> Sequence[bytes]:
        """Return the certificates that a client of this profile needs, or all (RFC 7030 §4.1)."""
        if label is None:
            return [authority.der for authority in self._authorities]
        issuer = issuer_name(enrollable(self._profiles, label))
        return [authority.der for authority in self._authorities.chain(issuer)]

    async def _audited(
        self, operation: str, actor: str, peer: str, work: Coroutine[Any, Any, bytes]
    ) -> bytes:
        try:
            return await work
        except (PKIServerError, ProtocolError) as error:
            if error.kind is not ErrorKind.UNAVAILABLE:  # else nobody was refused: it may succeed later
                await self._record_refusal(actor, operation, peer, str(error))
            raise

    async def _record_refusal(
        self, actor: str, operation: str, peer: str, reason: str, credential: int | None = None
    ) -> None:
        """Audit a refusal, with a wrong secret counted against its credential.

        Records are durable writes, and an address gets only so many a minute: `UnavailableError` after.
        """
        now = self._clock.now()
        self._attempts.failed(peer, now)
        # The reason may quote what was asked for, a name or a mail address.
        entry = audit.entry(now, actor, operation, "refused", peer=peer, personal={"reason": reason})

        def transaction(tx: Transaction) -> None:
            if credential is not None:
                credentials.take_attempt(tx, credential)
            audit_chain.append(tx, entry)

        await self._storage.write(transaction)

    async def _enroll(self, csr_der: bytes, credential: CredentialRecord, label: str | None) -> bytes:
        if label is not None and label != credential.profile:
            enrollable(self._profiles, label)
            raise NotAuthorizedError(f"this credential is for profile {credential.profile}, not {label}")
        csr = parse_csr(csr_der)
        if credential.uses_left == 0:
            return await self._untaken(credential, csr)
        profile = enrollable(self._profiles, credential.profile)
        identity = approve_identity(
            profile,
            approved_subject=parse_subject(credential.subject),
            approved_san=tuple(parse_san(text) for text in credential.san),
            requested_subject=csr.subject,
            requested_san=csr.san,
            limit_mnt=credential.limit_mnt,
        )
        return await self._issue(profile, identity, csr, f"credential:{credential.reference}", credential.id)

    async def _untaken(self, credential: CredentialRecord, csr: ParsedCSR) -> bytes:
        """Return the certificate of a used credential that its client has not taken; else refuse."""

        def find(tx: Transaction) -> CertificateRecord | None:
            issuance = issuances.undelivered(tx, credential.id, csr.spki_sha256)
            return certificates.get(tx, issuance.authority, issuance.serial) if issuance else None

        now = self._clock.now()
        certificate = await self._storage.read(find)
        if (
            certificate is None
            or Standing(State(certificate.state), certificate.not_after).at(now) is not State.ACTIVE
        ):
            raise NotAuthenticatedError("the credential has no use left")
        again = audit.entry(
            now,
            f"credential:{credential.reference}",
            "certificate.deliver-again",
            authority=certificate.authority,
            serial=serial_text(certificate.serial),
        )
        await self._storage.write(lambda tx: audit_chain.append(tx, again))
        return certificate.certificate

    async def _reenroll(self, csr_der: bytes, held: x509.Certificate, label: str | None) -> bytes:
        record = await self._current(held)
        csr = parse_csr(csr_der)
        own = self._profiles.get(record.profile)
        target = label or record.profile
        if own is None or target not in own.reenroll:
            raise NotAuthorizedError(f"a certificate of profile {record.profile} cannot re-enrol {target}")
        identity = certificate_identity(held)
        if not (names_equal(csr.subject, identity.subject) and sans_equal(csr.san, identity.san)):
            raise RefusedError(
                "subject and subjectAltName of the request differ from the certificate (RFC 7030 §4.2.2)"
            )
        profile = enrollable(self._profiles, target)
        renewed = identity if target == record.profile else await self._other(record, target)
        approved = approve_identity(
            profile,
            approved_subject=renewed.subject,
            approved_san=renewed.san,
            requested_subject=csr.subject,
            requested_san=csr.san,
            limit_mnt=renewed.limit_mnt,
        )
        if not (names_equal(approved.subject, renewed.subject) and sans_equal(approved.san, renewed.san)):
            raise RefusedError(
                f"profile {target} has changed since this certificate was issued: enrol with a new credential"
            )
        actor = f"certificate:{serial_text(record.serial)}"
        return await self._issue(profile, approved, csr, actor, None, entitled_by=record)

    async def _other(self, held: CertificateRecord, target: str) -> Identity:
        """Return the identity of the holder's newest certificate of another profile, its limits with it.

        It may have expired; what was suspended or revoked is not renewed by another certificate.
        """
        found = await self._storage.read(
            lambda tx: certificates.newest_of_subject(tx, held.authority, target, held.subject)
        )
        if found is None or found.state != "active":
            raise NotAuthorizedError(f"there is no {target} certificate of this holder that could be renewed")
        return certificate_identity(x509.load_der_x509_certificate(found.certificate))

    async def _current(self, held: x509.Certificate) -> CertificateRecord:
        """Return the record of a client certificate that is ours, active and not expired."""
        issuer = self._authorities.issuer_of(held)
        if issuer is None:
            raise NotAuthorizedError("the client certificate is not of this CA")
        record = await self._storage.read(lambda tx: certificates.get(tx, issuer.id, held.serial_number))
        if record is None or record.certificate != held.public_bytes(Encoding.DER):
            raise NotAuthorizedError("the client certificate is not on record")
        now = self._clock.now()
        await self._storage.read(lambda tx: require_entitled(tx, record, now))
        return record

    async def _issue(
        self,
        profile: Profile,
        identity: Identity,
        csr: ParsedCSR,
        actor: str,
        credential: int | None,
        entitled_by: CertificateRecord | None = None,
    ) -> bytes:
        request = AuthorizedRequest(
            profile=profile,
            authority=issuer_name(profile),
            identity=identity,
            public_key=csr.public_key,
            requested_by=actor,
            credential=credential,
            entitled_by=entitled_by,
        )
        prepared = await self._issuance.prepare(request)
        return (await self._issuance.issue(prepared)).certificate
