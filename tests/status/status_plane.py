"""Presigner, table and hot module together on an open core, asked as a client would ask them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from config.status_policy import PRESETS, StatusPolicy, UnknownPolicy
from pkiserver.core import Core
from pkiserver.status.fresh import FreshResponses
from pkiserver.status.presigner import Presigner
from pkiserver.status.slow_path import keyless_answer, signing_answer
from pkiserver.web.http_messages import HTTPReply, HTTPRequest
from pkiserver.web.ocsp import OCSPResponder
from protocols.ocsp.request import DEFAULT_HASHES
from store import status_events
from store.records import CertificateRecord
from store.response_writer import ResponseTableWriter

SHA1 = hashes.SHA1()  # noqa: S303 - what most clients name issuers by (RFC 6960 §4.3)
POLICY = PRESETS["etsi"]


class StatusPlane:
    """What the world is told, with the presigner's work done only when a test says so."""

    def __init__(
        self,
        core: Core,
        folder: Path,
        policies: Mapping[str, StatusPolicy] | None = None,
        hash_names: Sequence[str] = DEFAULT_HASHES,
    ) -> None:
        self.core = core
        self.policies = {authority.name: POLICY for authority in core.authorities} | dict(policies or {})
        self.hash_names = hash_names
        self.table = ResponseTableWriter(folder)
        self.presigner = Presigner(
            storage=core.storage,
            signer=core.signer,
            clock=core.clock,
            authorities=core.authorities,
            table=self.table,
            policies=self.policies,
            hashes=hash_names,
        )

    def fresh(self, *, echo_nonce: bool = True, unknown: UnknownPolicy = "unauthorized") -> FreshResponses:
        """Who signs on request, and says the same of unknown serials for all authorities."""
        return FreshResponses(
            storage=self.core.storage,
            signer=self.core.signer,
            clock=self.core.clock,
            authorities=self.core.authorities,
            policies={name: replace(policy, unknown=unknown) for name, policy in self.policies.items()},
            echo_nonce=echo_nonce,
            hashes=self.hash_names,
        )

    def signing_responder(
        self, *, echo_nonce: bool = True, unknown: UnknownPolicy = "unauthorized"
    ) -> OCSPResponder:
        """The hot module with a signer to ask, as a worker composes them."""
        fresh = self.fresh(echo_nonce=echo_nonce, unknown=unknown)
        signed = [one.id for one in self.core.authorities] if unknown != "unauthorized" else []
        return OCSPResponder(
            self.table,
            partial(signing_answer, echo_nonce=echo_nonce),
            max_age=timedelta(minutes=1),
            ask=lambda request: asyncio.ensure_future(fresh.respond(request)),
            signed_unknown=frozenset(signed),
        )

    async def post(self, responder: OCSPResponder, request: bytes) -> HTTPReply:
        http = HTTPRequest(b"POST", b"/ocsp", {b"content-type": b"application/ocsp-request"}, request)
        answer = responder.handle(http, self.core.clock.now())
        return answer if isinstance(answer, HTTPReply) else await answer

    def request(self, authority: str, serial: int, algorithm: hashes.HashAlgorithm) -> bytes:
        parts = issuer_hashes(self.core.authorities.get(authority).certificate, algorithm)
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(*parts, serial, algorithm)
        return builder.build().public_bytes(Encoding.DER)

    def answer(self, request: bytes) -> bytes:
        responder = OCSPResponder(self.table, keyless_answer, max_age=timedelta(minutes=1))
        http = HTTPRequest(b"POST", b"/ocsp", {b"content-type": b"application/ocsp-request"}, request)
        reply = responder.handle(http, self.core.clock.now())
        assert isinstance(reply, HTTPReply)
        return reply.body

    def ask(
        self, serial: int, authority: str = "infrastructure", algorithm: hashes.HashAlgorithm = SHA1
    ) -> ocsp.OCSPResponse:
        return ocsp.load_der_ocsp_response(self.answer(self.request(authority, serial, algorithm)))

    def status(self, serial: int, authority: str = "infrastructure") -> str:
        """`good`, `revoked`, `revoked (reason)` or the name of the error."""
        response = self.ask(serial, authority)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return response.response_status.name.lower()
        single = next(iter(response.responses))
        status = single.certificate_status.name.lower()
        return f"{status} ({single.revocation_reason.value})" if single.revocation_reason else status

    async def head(self) -> int:
        return await self.core.storage.read(status_events.head)

    async def change(self, action: str, record: CertificateRecord, **arguments: Any) -> None:
        await change(self.core, action, record, **arguments)


async def change(core: Core, action: str, record: CertificateRecord, **arguments: Any) -> None:
    """Suspend, restore or revoke."""
    defaults = {"reason": "superseded"} if action == "revoke" else {"by": "holder"}
    name = core.authorities.record_with_id(record.authority).name
    given = {"serial": f"{record.serial:x}", "ca": name} | defaults | arguments
    await core.commands.run(f"certificate.{action}", given, "test", lambda *_: None)


def issuer_hashes(certificate: x509.Certificate, algorithm: hashes.HashAlgorithm) -> list[bytes]:
    """issuerNameHash and issuerKeyHash of a CertID (RFC 6960 §4.1.1)."""
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    digests = [hashes.Hash(algorithm), hashes.Hash(algorithm)]
    for digest, octets in zip(digests, (certificate.subject.public_bytes(), point), strict=True):
        digest.update(octets)
    return [digest.finalize() for digest in digests]


def verify(core: Core, response: ocsp.OCSPResponse, authority: str = "infrastructure") -> None:
    """Check as a client does: the signer's certificate is the authority's, and the signature the signer's."""
    (signer,) = response.certificates
    signer.verify_directly_issued_by(core.authorities.get(authority).certificate)
    usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert x509.ExtendedKeyUsageOID.OCSP_SIGNING in usage
    assert (
        response.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(signer.public_key()).digest
    )
    key, algorithm = signer.public_key(), response.signature_hash_algorithm
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert algorithm is not None
    key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(algorithm))


@asynccontextmanager
async def status_plane(
    core: Core,
    folder: Path | None = None,
    policies: Mapping[str, StatusPolicy] | None = None,
    hash_names: Sequence[str] = DEFAULT_HASHES,
) -> AsyncIterator[StatusPlane]:
    """Open the table of a core, or one in another folder; nothing is presigned yet.

    An authority that `policies` does not name has the policy `POLICY`.
    """
    plane = StatusPlane(core, folder or core.home.responses, policies, hash_names)
    try:
        yield plane
    finally:
        plane.table.close()
