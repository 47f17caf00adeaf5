"""rr (RFC 9810 §5.3.9, RFC 9483 §4.2): revoking, suspending (certificateHold) and restoring (removeFromCRL).

A holder speaks for the own certificate, a registration client for those of the profiles that it enrols.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from config.profile import Profile
from config.schema_cmp import CMP
from pkiserver.errors import ConflictError, NotAuthorizedError, PKIServerError, RefusedError, UnavailableError
from pkiserver.ra.actors import ROLES, has_usage
from pkiserver.ra.client_certificates import Holder
from pkiserver.ra.cmp.errors import (
    BadCertIDError,
    BadDataFormatError,
    CertRevokedError,
    IncompleteError,
    TransactionIDInUseError,
    WrongIntegrityError,
)
from pkiserver.ra.cmp.named_certificates import NamedCertificates
from pkiserver.ra.cmp.openings import open_transaction
from pkiserver.ra.cmp.senders import MACSender
from pkiserver.ra.cmp.stages import Refusal, RefusedAs, Reply, Request
from pkiserver.ra.lifecycle import REVOCATION_REASONS, Action, Command
from pkiserver.ra.registration_clients import RegistrationClients
from pkiserver.ra.status_changes import StatusChanges
from pkiserver.storage import Storage
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.ocsp import CRLReason
from protocols.asn1.pkix import Extension, find_extension
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.crmf import CertId, CertTemplate
from protocols.cmp.revocation import RevDetails, RevRepContent, parse_rev_req
from protocols.cmp.status import PKIStatus, PKIStatusInfo
from protocols.errors import ProtocolError
from protocols.x509.names import names_equal, read_name
from store.database import Transaction
from store.records import CertificateRecord

VERSION_3: Final = 2  # as a template says it (RFC 9483 §4.2)
_ACCEPTED: Final = PKIStatusInfo(PKIStatus.ACCEPTED)
_READ: Final = frozenset({oid.CRL_REASON, oid.INVALIDITY_DATE})


class Revocation:
    """Answers requests to change the status of certificates."""

    def __init__(
        self,
        *,
        storage: Storage,
        named_certificates: NamedCertificates,
        profiles: Mapping[str, Profile],
        registration_clients: RegistrationClients,
        status_changes: StatusChanges,
        settings: CMP,
        refused_as: RefusedAs,
    ) -> None:
        self._storage = storage
        self._named_certificates = named_certificates
        self._profiles = profiles
        self._registration_clients = registration_clients
        self._status_changes = status_changes
        self._settings = settings
        self._refused_as = refused_as

    async def change_status(self, request: Request) -> Reply:
        """Answer an rr; each change is durable when this returns, and told by OCSP and CRL."""
        sender = request.sender
        if isinstance(sender, MACSender) or not isinstance(sender.client, Holder):
            raise WrongIntegrityError("rr is signed with a certificate of this CA (RFC 9483 §4.2)")
        details = parse_rev_req(request.body.content_der)
        if len(details) > self._settings.max_requests:
            raise RefusedError(f"a message has {self._settings.max_requests} revocations at most")
        if request.transaction is not None and request.transaction.state == "refused":
            raise TransactionIDInUseError("this message was refused before: send another one")
        if request.transaction is not None:  # it was carried out, and its answer got lost
            return _reply([_ACCEPTED] * len(details), details)
        refusals = [await self._change(request, sender.client, one) for one in details]
        # What a RA was refused would be carried out if it were played back when the state has changed.
        # A holder's would not: who is suspended or revoked is nobody, and holders would fill the table.
        if not any(refusals) or has_usage(sender.client.certificate, ROLES["ra"]):
            await self._storage.write(lambda tx: _end(tx, request, refused=any(refusals)))
        statuses = [_ACCEPTED if one is None else self._refused_as(one) for one in refusals]
        return _reply(statuses, details, tuple(one for one in refusals if one is not None))

    async def _change(self, request: Request, holder: Holder, details: RevDetails) -> Refusal | None:
        try:
            command = _command(details.crl_entry_details)
            record = await self._named(details.cert_details)
            await self._require_allowed(holder, record)
            if record.state == "revoked":
                raise CertRevokedError("the certificate is revoked already")
            await self._carry_out(record, command, request.sender.actor)
        except UnavailableError:
            raise
        except (PKIServerError, ProtocolError) as error:
            return error
        return None

    async def _carry_out(self, record: CertificateRecord, command: Command, actor: str) -> None:
        try:
            await self._status_changes.carry_out(record.authority, record.serial, command, actor)
        except ConflictError as error:  # nothing to restore, suspended already, expired
            raise BadCertIDError(str(error)) from error

    async def _named(self, template: CertTemplate) -> CertificateRecord:
        """Return the certificate that a template names by issuer and serial; all else in it is true of it."""
        issuer, serial = template.issuer, template.serial_number
        if issuer is None or serial is None:
            raise IncompleteError("a certificate is named by its issuer and serialNumber (RFC 9483 §4.2)")
        if template.version not in (None, VERSION_3):
            raise RefusedError("the version of a certificate is 2, for v3 (RFC 9483 §4.2)")
        found = await self._named_certificates.find(issuer, serial)
        if found is None or not _describes(template, found):
            raise BadCertIDError("no certificate of this CA is as the template says")
        return found

    async def _require_allowed(self, holder: Holder, record: CertificateRecord) -> None:
        if (holder.record.authority, holder.record.serial) == (record.authority, record.serial):
            return
        profile = self._profiles.get(record.profile)
        if not has_usage(holder.certificate, ROLES["ra"]) or profile is None or not profile.approval:
            raise NotAuthorizedError("a certificate is revoked by its holder, or a registration client")
        actor = await self._registration_clients.actor(holder, record.profile)
        if actor is None:
            raise NotAuthorizedError("this registration client is not registered: see `pkiserver actor add`")
        actor.require(record.profile)


def _describes(template: CertTemplate, record: CertificateRecord) -> bool:
    """Return whether subject, key and extensions of a template, where it has any, are the certificate's."""
    if template.subject is None and template.public_key is None and not template.extensions:
        return True
    certificate = x509.load_der_x509_certificate(record.certificate)
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    own = {one.oid.dotted_string: one.value.public_bytes() for one in certificate.extensions}
    return (
        (template.subject is None or names_equal(read_name(template.subject), certificate.subject))
        and template.public_key in (None, spki)
        and all(own.get(one.oid) == one.value for one in template.extensions)
    )


def _command(extensions: tuple[Extension, ...]) -> Command:
    """Return what the extensions of a CRL entry ask for (RFC 5280 §5.3); without any, to revoke."""
    unknown = [one.oid for one in extensions if one.critical and one.oid not in _READ]
    if unknown:
        raise RefusedError(f"a critical extension of the CRL entry is unknown: {unknown[0]}")
    reason = _reason(find_extension(extensions, oid.CRL_REASON))
    invalid_since = _invalid_since(find_extension(extensions, oid.INVALIDITY_DATE))
    match reason:
        case CRLReason.CERTIFICATE_HOLD:
            return Command(Action.SUSPEND)
        case CRLReason.REMOVE_FROM_CRL:
            return Command(Action.RESTORE)
        case _ if reason in REVOCATION_REASONS.values():
            return Command(Action.REVOKE, reason=reason, invalid_since=invalid_since)
    raise RefusedError(f"{reason.name} is no reason to revoke here")


def _reason(extension: Extension | None) -> CRLReason:
    if extension is None:
        return CRLReason.UNSPECIFIED
    value = der.whole(extension.value, lambda reader: reader.integer(der.ENUMERATED))
    try:
        return CRLReason(value)
    except ValueError as error:
        raise BadDataFormatError(f"{value} is no CRLReason (RFC 5280 §5.3.1)") from error


def _invalid_since(extension: Extension | None) -> datetime | None:
    return None if extension is None else der.whole(extension.value, der.Reader.generalized_time)


def _end(tx: Transaction, request: Request, *, refused: bool) -> None:
    open_transaction(tx, request, "refused" if refused else "ended")


def _reply(
    statuses: list[PKIStatusInfo], details: tuple[RevDetails, ...], refusals: tuple[Refusal, ...] = ()
) -> Reply:
    """Return the rp; revCerts names the certificates where there is one for each (RFC 9810 §5.3.10)."""
    named = tuple(
        CertId.of(one.cert_details.issuer, one.cert_details.serial_number)
        for one in details
        if one.cert_details.issuer is not None and one.cert_details.serial_number is not None
    )
    content = RevRepContent(tuple(statuses), () if refusals else named)
    return Reply(PKIBody(BodyType.RP, content.encode()), refusals=refusals)
