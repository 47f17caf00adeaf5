"""ccr: the root certifies another authority (RFC 9810 §5.3.11, appendix D.6).

Only authorities whose certificates the operator has put into the configuration, by their name and key, and
only for registered RAs: what an authority may sign is no matter of who sends a message.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from config.errors import ConfigError, Finding
from config.profile import Profile
from config.schema_cmp import CMP
from pkiserver.ca.authorities import Authorities
from pkiserver.ca.authorized_request import AuthorizedRequest
from pkiserver.ca.identity import Identity
from pkiserver.ca.issuance import Issuance
from pkiserver.errors import NotAuthorizedError, RefusedError
from pkiserver.ra.client_certificates import Holder
from pkiserver.ra.cmp.errors import BadCertTemplateError, WrongIntegrityError
from pkiserver.ra.cmp.senders import MACSender
from pkiserver.ra.cmp.stages import Reply, Request
from pkiserver.ra.registration_clients import RegistrationClients
from pkiserver.ra.trusted_issuers import ca_certificates
from protocols.cmp.bodies import BodyType, PKIBody
from protocols.cmp.certificates import CertifiedKeyPair, CertRepMessage, CertResponse
from protocols.cmp.crmf import CertReqMsg, CertTemplate, POPOSigningKey, parse_cert_req_messages
from protocols.cmp.general_info import GeneralInfo
from protocols.cmp.status import PKIStatus, PKIStatusInfo
from protocols.errors import BadPOPError
from protocols.x509.names import names_equal, read_name
from protocols.x509.possession import verify_possession
from protocols.x509.spki import read_public_key

PROFILE: Final = "cross-ca"
ONLY_REQUEST: Final = 0
_RULE: Final = "a PEM file of CA certificates, relative to the home folder"


class CrossCertification:
    """Answers ccr; `peers` are the certificates of authorities that may be certified."""

    def __init__(
        self,
        *,
        peers: Iterable[x509.Certificate],
        profile: Profile,
        settings: CMP,
        issuance: Issuance,
        authorities: Authorities,
        registration_clients: RegistrationClients,
    ) -> None:
        self._peers = tuple(peers)
        self._profile = profile
        self._settings = settings
        self._issuance = issuance
        self._authorities = authorities
        self._registration_clients = registration_clients

    async def certify(self, request: Request) -> Reply:
        """Answer a ccr with the certificate of a peer, which is issued once.

        Raises `WrongIntegrityError` under a MAC, `NotAuthorizedError` for who is no registered RA and for
        what is no peer, `RefusedError`, `BadCertTemplateError`, `BadPOPError`, and what `Issuance` does.
        """
        requested_by = await self._actor(request)
        if not request.checked.info.implicit_confirm:
            raise RefusedError("a cross-certificate is not confirmed: ask for implicitConfirm")
        messages = parse_cert_req_messages(request.body.content_der)
        if len(messages) != 1 or messages[0].cert_req.cert_req_id != ONLY_REQUEST:
            raise RefusedError("a ccr has one request, with certReqId 0 (RFC 9810 appendix D.6)")
        peer = self._peer(messages[0].cert_req.template)
        _require_possession(messages[0], peer)
        certificate = await self._issuance.issue_once(self._authorized(peer, requested_by))
        return self._reply(messages[0].cert_req.template, certificate)

    async def _actor(self, request: Request) -> str:
        sender = request.sender
        if isinstance(sender, MACSender):
            raise WrongIntegrityError("ccr is protected by a signature (RFC 9810 appendix D.6)")
        actor = None
        if self._peers and isinstance(sender.client, Holder):
            actor = await self._registration_clients.actor(sender.client, None)
        if actor is None:
            raise NotAuthorizedError(
                "registered RAs ask for cross-certificates, of peers in the configuration"
            )
        actor.require(PROFILE)
        return f"actor:{actor.name}"

    def _root(self) -> str:
        return next(record.name for record in self._authorities.records if not record.parent)

    def _peer(self, template: CertTemplate) -> x509.Certificate:
        if template.subject is None or template.public_key is None:
            raise BadCertTemplateError("a ccr says name and key of the authority (RFC 9810 appendix D.6)")
        subject = read_name(template.subject)
        for peer in self._peers:
            if names_equal(peer.subject, subject) and _spki(peer) == template.public_key:
                return peer
        raise NotAuthorizedError("no authority of this name and key is among the peers of the configuration")

    def _authorized(self, peer: x509.Certificate, requested_by: str) -> AuthorizedRequest:
        return AuthorizedRequest(
            profile=self._profile,
            authority=self._root(),
            identity=Identity(peer.subject),
            public_key=read_public_key(_spki(peer)),
            requested_by=requested_by,
            lifetime=self._settings.peer_lifetime,
            until_issuer_ends=True,
        )

    def _reply(self, template: CertTemplate, certificate: bytes) -> Reply:
        as_asked = template.validity is None and not template.extensions
        status = PKIStatusInfo(PKIStatus.ACCEPTED if as_asked else PKIStatus.GRANTED_WITH_MODS)
        response = CertResponse(ONLY_REQUEST, status, CertifiedKeyPair(certificate))
        return Reply(
            PKIBody(BodyType.CCP, CertRepMessage((response,)).encode()),
            info=GeneralInfo(implicit_confirm=True),
            certificates=tuple(authority.der for authority in self._authorities.chain(self._root())),
        )


def load_peers(home: Path, files: Iterable[str]) -> tuple[x509.Certificate, ...]:
    """Return the certificates of the files, relative to the home; `ConfigError` with all that is wrong."""
    found: list[x509.Certificate] = []
    findings: list[Finding] = []
    for file in files:
        try:
            found += ca_certificates(home / file)
        except (OSError, ValueError) as error:
            problem = f"{file!r}: {getattr(error, 'strerror', None) or error}"
            findings.append(Finding("pkiserver.toml", "cmp.peers", problem, _RULE))
    if findings:
        raise ConfigError(findings)
    return tuple(found)


def _require_possession(message: CertReqMsg, peer: x509.Certificate) -> None:
    """Hold the request to the signature of the authority itself (RFC 4211 §4.1)."""
    proof = message.popo
    if not isinstance(proof, POPOSigningKey) or proof.poposk_input is not None:
        raise BadPOPError("an authority proves possession by its signature over certReq (RFC 4211 §4.1)")
    key = read_public_key(_spki(peer))
    verify_possession(key, proof.algorithm.encode(), message.cert_req.der, proof.signature)


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
