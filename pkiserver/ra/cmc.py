"""Full PKI Requests (RFC 5272 §3.2): who signed one, and what comes of each request in it.

A holder of a current certificate of ours renews or rekeys it, as by simplereenroll; a registered RA enrols
others. The signature authenticates who asks, so TLS needs no client certificate.
A message that is sent again issues nothing: its requests are known by hash for as long as the store is kept.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509

from pkiserver.ca.message_signer import MessageSigner
from pkiserver.clock import Clock
from pkiserver.errors import NotAuthorizedError, PKIServerError, RefusedError, UnavailableError
from pkiserver.ra.client_certificates import ClientCertificates, Holder
from pkiserver.ra.reenrollment import Reenrollment
from pkiserver.ra.registration_clients import RegistrationClients
from pkiserver.ra.requester import Requester
from pkiserver.storage import Storage
from protocols import oid
from protocols.cmc.controls import CONTROLS, RequestControls, read_controls
from protocols.cmc.full_request import FullPKIRequest, read_full_request
from protocols.cmc.pki_data import TaggedCertificationRequest
from protocols.cmc.pki_response import PKIResponse
from protocols.cms.verification import signer_certificate, verify_signer
from protocols.errors import BadSignatureError, ErrorKind, MalformedError, ProtocolError, TooLargeError
from protocols.x509.certificate import TBSCertificate, read_certificate
from protocols.x509.spki import read_public_key
from store import signed_requests

MAX_REQUESTS: Final = 8  # each costs a signature; a token has two or three keys
THIS_MESSAGE: Final = 0  # the body part ID that stands for the whole (RFC 5272 §3.2.2)
# Controls that are answered or change nothing here; with any other the message is refused (§3.2.1.1).
PROCESSED: Final = frozenset(
    {oid.CMC_TRANSACTION_ID, oid.CMC_SENDER_NONCE, oid.CMC_RECIPIENT_NONCE, oid.CMC_DATA_RETURN}
    # Every PKCS #10 proves possession itself: what an RA witnesses beside that is not needed.
    | {oid.CMC_LRA_POP_WITNESS}
)


class NotServedError(ProtocolError):
    """A kind of certification request that is not served: noSupport says so (RFC 5272 §3.2.1.2.3)."""

    kind = ErrorKind.BAD_REQUEST


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the body parts named: a DER certificate, or the error by which they failed."""

    body_parts: tuple[int, ...]
    certificate: bytes | None = None
    error: PKIServerError | ProtocolError | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to be said of a message. `controls` are those to be given back; the signer names the actor."""

    outcomes: tuple[Outcome, ...]
    at: datetime
    controls: RequestControls = field(default_factory=RequestControls)
    actor: str = "anonymous"

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """Every certificate, in the order of the requests."""
        return tuple(one.certificate for one in self.outcomes if one.certificate is not None)

    @property
    def error(self) -> PKIServerError | ProtocolError | None:
        """The first error where no request succeeded, else None: the rest says its status."""
        errors = (one.error for one in self.outcomes if one.error is not None)
        return None if self.certificates else next(errors)


class FullPKIRequests:
    """Answers Full PKI Requests."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        client_certificates: ClientCertificates,
        registration_clients: RegistrationClients,
        reenrollment: Reenrollment,
        message_signer: MessageSigner,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._client_certificates = client_certificates
        self._registration_clients = registration_clients
        self._reenrollment = reenrollment
        self._message_signer = message_signer

    async def answer(self, message: bytes, requester: Requester, label: str | None) -> Answer:
        """Return what came of a message in BER or DER; what is refused is in the answer, not raised.

        `UnavailableError` where nothing can be said now, and the same message may succeed later.
        """
        controls, actor = RequestControls(), "anonymous"
        try:
            request = read_full_request(message)
            shown = self._client_certificates.read(verified_signer(request))
            actor = shown.actor
            # From here on it is known that the signer said so: its nonces are worth giving back.
            controls = read_controls(request.pki_data.control_sequence)
            client = await self._client_certificates.identify(shown)
            if not isinstance(client, Holder):
                raise NotAuthorizedError("the signer's certificate is not of this CA")
        except UnavailableError:
            raise
        except (PKIServerError, ProtocolError) as error:
            return Answer((Outcome((THIS_MESSAGE,), error=error),), self._clock.now(), controls, actor)
        unsupported = _unsupported(request)
        if unsupported is not None:
            return Answer((unsupported,), self._clock.now(), controls, actor)
        outcomes = [
            await self._outcome(request, one, client, requester, label) for one in _certification(request)
        ]
        return Answer(tuple(outcomes), self._clock.now(), controls, actor)

    async def sign(self, response: PKIResponse, certificates: Sequence[bytes]) -> bytes:
        """Return the Full PKI Response (§4.2) in DER, with these certificates; `UnavailableError`."""
        return await self._message_signer.sign(oid.CCT_PKI_RESPONSE, response.encode(), certificates)

    async def _outcome(
        self,
        message: FullPKIRequest,
        request: TaggedCertificationRequest,
        client: Holder,
        requester: Requester,
        label: str | None,
    ) -> Outcome:
        parts = (request.body_part_id,)
        try:
            certificate = await self._certificate(message, request, client, requester, label)
        except (PKIServerError, ProtocolError) as refusal:
            return Outcome(parts, error=refusal)
        return Outcome(parts, certificate)

    async def _certificate(
        self,
        message: FullPKIRequest,
        request: TaggedCertificationRequest,
        client: Holder,
        requester: Requester,
        label: str | None,
    ) -> bytes:
        csr_der = request.certification_request
        actor = await self._registration_clients.actor(client, label)
        digest = _digest(message, request, client)
        answered = await self._storage.read(lambda tx: signed_requests.find(tx, digest))
        if answered is None and actor is not None:
            return await self._registration_clients.enroll(
                csr_der, client, actor, label, signed_request=digest
            )
        if answered is None:
            return await self._reenrollment.reenroll(
                csr_der, client, requester.channel, label, signed_request=digest
            )
        if answered.certificate is None:
            raise UnavailableError("this request is being answered; try again")
        if answered.certificate.state != "active":
            raise RefusedError("this message was answered before: sign another, with another senderNonce")
        return answered.certificate.certificate


def verified_signer(request: FullPKIRequest) -> bytes:
    """Return the DER certificate of the one who signed, once the signature was verified with its key."""
    signed_data = request.signed_data
    if len(signed_data.signer_infos) != 1:
        raise RefusedError("the message has not exactly one signer: requests are not countersigned here")
    certificate = signer_certificate(signed_data, signed_data.signer_infos[0])
    if certificate is None:
        raise BadSignatureError("the signer's certificate is not in the message")
    try:
        usage = read_certificate(certificate).extensions.get_extension_for_class(x509.KeyUsage).value
    except (MalformedError, TooLargeError, x509.ExtensionNotFound) as error:
        raise BadSignatureError("the signer's certificate cannot be read") from error
    if not (usage.digital_signature or usage.content_commitment):
        raise NotAuthorizedError("the signer's certificate is not for signatures")
    public_key = read_public_key(TBSCertificate.of_certificate(certificate).spki_der)
    verify_signer(signed_data, signed_data.signer_infos[0], public_key)
    return certificate


def _unsupported(request: FullPKIRequest) -> Outcome | None:
    """Return why a whole message is refused, None where its requests are to be looked at."""
    pki_data = request.pki_data
    others = [one for one in pki_data.control_sequence if one.attr_type not in PROCESSED]
    if others:
        names = ", ".join(
            CONTROLS[one.attr_type].name if one.attr_type in CONTROLS else one.attr_type for one in others
        )
        error = RefusedError(f"controls that are not processed here: {names}")
        return Outcome(tuple(one.body_part_id for one in others), error=error)
    nested = [one.body_part_id for one in pki_data.cms_sequence]
    nested += [one.body_part_id for one in pki_data.other_msg_sequence]
    if nested:
        return Outcome(
            tuple(nested), error=RefusedError("messages inside the message are not processed here")
        )
    if not 1 <= len(pki_data.req_sequence) <= MAX_REQUESTS:
        return Outcome((THIS_MESSAGE,), error=RefusedError(f"a message has 1 to {MAX_REQUESTS} requests"))
    foreign = [
        one.body_part_id for one in pki_data.req_sequence if not isinstance(one, TaggedCertificationRequest)
    ]
    if foreign:  # §3.2.1: and no other certification requests are processed
        refusal = NotServedError("requests of CRMF and of other kinds are not served: send a PKCS #10")
        return Outcome(tuple(foreign), error=refusal)
    return None


def _certification(request: FullPKIRequest) -> list[TaggedCertificationRequest]:
    found = request.pki_data.req_sequence
    return [one for one in found if isinstance(one, TaggedCertificationRequest)]


def _digest(message: FullPKIRequest, request: TaggedCertificationRequest, client: Holder) -> bytes:
    """Return what a request is known by: who signed, all that was signed, and which one it is."""
    content = message.signed_data.content or b""
    parts = (client.record.certificate, content, request.body_part_id.to_bytes(4, "big"))
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()
