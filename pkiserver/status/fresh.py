"""OCSP responses signed on request (RFC 6960 §2.2, §4.2): nonces, several certificates, what was not issued.

Says of each certificate what the presigner would say, read from the same rows in one snapshot. Who may ask,
and how many at once, is for the caller to bound.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from config.status_policy import StatusPolicy
from pkiserver.ca.authorities import Authorities, Authority, Responder, public_key_bits
from pkiserver.clock import Clock
from pkiserver.errors import UnavailableError
from pkiserver.signer.algorithms import signature_algorithm_for
from pkiserver.signer.client import Signer
from pkiserver.status.retention import archive_cutoff, tells_nothing, told_from_s
from pkiserver.status.signing_batches import cert_status, next_update_of
from pkiserver.storage import Storage
from protocols import oid
from protocols.asn1 import der
from protocols.asn1.ocsp import (
    ByKey,
    CertID,
    CertStatus,
    CRLReason,
    OCSPRequest,
    OCSPResponseStatus,
    ResponseData,
    RevokedInfo,
    SingleResponse,
    Unknown,
    archive_cutoff_extension,
)
from protocols.asn1.pkix import Extension
from protocols.errors import ProtocolError
from protocols.ocsp.request import DEFAULT_HASHES, issuer_parts, nonce, parse_request, table_key
from protocols.ocsp.response import encode_response, error_response
from store import certificates
from store.database import Transaction
from store.records import SERIAL_OCTETS, StatusRecord, to_unix

UNKNOWN_VALIDITY: Final = timedelta(minutes=5)  # what was not issued may be issued any moment
_SERIALS: Final = range(1 << 8 * SERIAL_OCTETS)  # the store has room for no other

# As RFC 6960 §2.2 has it, with the extension of §4.4.8.
_NOT_ISSUED: Final = RevokedInfo(datetime(1970, 1, 1, tzinfo=UTC), CRLReason.CERTIFICATE_HOLD)
_EXTENDED_REVOKE: Final = Extension(oid.OCSP_EXTENDED_REVOKE, False, der.null())
_SAID_OF_UNKNOWN: Final[Mapping[str, CertStatus | None]] = {
    "unauthorized": None,
    "unknown": Unknown(),
    "revoked": _NOT_ISSUED,
}


class FreshResponses:
    """Answers OCSP requests with a signature of their own."""

    def __init__(
        self,
        *,
        storage: Storage,
        signer: Signer,
        clock: Clock,
        authorities: Authorities,
        policies: Mapping[str, StatusPolicy],
        echo_nonce: bool,
        hashes: Sequence[str] = DEFAULT_HASHES,
    ) -> None:
        """Take what responses are made of; `policies` says by name how the status of an authority is told."""
        self._storage = storage
        self._signer = signer
        self._clock = clock
        self._authorities = authorities
        self._policies = policies
        self._echo_nonce = echo_nonce
        self._hashes = hashes
        self._issuer_parts: dict[bytes, tuple[bytes, ...]] = {}  # by the authority's certificate

    async def respond(self, request: bytes) -> bytes | None:
        """Return the OCSPResponse in DER, an error without signature included.

        None where the authority has no responder now: what can be answered without a key is to be answered.

        All certificates of one request must be of one authority, since one responder signs for them all:
        otherwise, and for an issuer that is not known here, unauthorized. So where one serial was not
        issued and the authority's policy has no signed answer for it. tryLater while nothing can be read
        or signed; malformedRequest as `parse_request` has it.
        """
        try:
            parsed = parse_request(request)
        except ProtocolError:
            return error_response(OCSPResponseStatus.MALFORMED_REQUEST)
        cert_ids = tuple(dict.fromkeys(single.req_cert for single in parsed.tbs_request.request_list))
        authority = self._authority_of(cert_ids)
        if authority is None or tells_nothing(authority.state, self._policies[authority.name]):
            return error_response(OCSPResponseStatus.UNAUTHORIZED)
        now = self._clock.now()
        responder = self._authorities.responder_at(authority.id, now)
        if responder is None:
            return None
        try:
            return await self._signed(parsed, cert_ids, authority, responder, now)
        except UnavailableError:
            return error_response(OCSPResponseStatus.TRY_LATER)

    async def _signed(
        self,
        request: OCSPRequest,
        cert_ids: Sequence[CertID],
        authority: Authority,
        responder: Responder,
        now: datetime,
    ) -> bytes:
        policy = self._policies[authority.name]
        serials = [cert_id.serial_number for cert_id in cert_ids]
        issued, told_from = await self._statuses(authority.id, serials), told_from_s(policy, now)
        statuses = [one if one is None or one.not_after_s >= told_from else None for one in issued]
        said_of_unknown = _SAID_OF_UNKNOWN[policy.unknown]
        # Of what was issued it is not true that it was not: that is not to be signed, long as it is over.
        untrue = said_of_unknown is _NOT_ISSUED and statuses != issued
        if untrue or (said_of_unknown is None and None in statuses):
            return error_response(OCSPResponseStatus.UNAUTHORIZED)
        end = responder.certificate.not_valid_after_utc
        cutoff = archive_cutoff(policy, authority.certificate.not_valid_before_utc, now)
        singles = tuple(
            _single(cert_id, status, now, next_update_of(responder, policy, now), cutoff)
            if status is not None
            else SingleResponse(cert_id, said_of_unknown or Unknown(), now, min(now + UNKNOWN_VALIDITY, end))
            for cert_id, status in zip(cert_ids, statuses, strict=True)
        )
        extensions = self._extensions(request, singles)
        key_hash = hashlib.sha1(public_key_bits(responder.certificate), usedforsecurity=False).digest()
        data = ResponseData(ByKey(key_hash), now, singles, extensions).encode()
        self._signer.expect(responder.key_label, responder.certificate.public_key())
        return encode_response(
            data,
            await self._signer.sign(responder.key_label, data),
            signature_algorithm_for(responder.certificate.public_key()).der,
            responder.certificate.public_bytes(Encoding.DER),
        )

    def _extensions(self, request: OCSPRequest, singles: Sequence[SingleResponse]) -> tuple[Extension, ...]:
        extensions: list[Extension] = []
        value = nonce(request) if self._echo_nonce else None
        if value is not None:
            extensions.append(Extension(oid.OCSP_NONCE, False, der.octet_string(value)))
        if any(single.cert_status is _NOT_ISSUED for single in singles):
            extensions.append(_EXTENDED_REVOKE)
        return tuple(extensions)

    def _authority_of(self, cert_ids: Sequence[CertID]) -> Authority | None:
        """Return the one authority that all of these name as issuer, None where there is no such one."""
        named = {table_key(cert_id)[0] for cert_id in cert_ids}
        for authority in self._authorities:
            if named.issubset(self._parts_of(authority)):
                return authority
        return None

    def _parts_of(self, authority: Authority) -> tuple[bytes, ...]:
        key = authority.der
        parts = self._issuer_parts.get(key)
        if parts is None:
            subject = authority.certificate.subject.public_bytes()
            parts = issuer_parts(subject, public_key_bits(authority.certificate), self._hashes)
            self._issuer_parts[key] = parts
        return parts

    async def _statuses(self, authority: int, serials: Sequence[int]) -> list[StatusRecord | None]:
        def read(tx: Transaction) -> list[StatusRecord | None]:
            return [_status(tx, authority, serial) for serial in serials]

        return await self._storage.read(read)


def _status(tx: Transaction, authority: int, serial: int) -> StatusRecord | None:
    """Return what the presigner would look at now; None where none was issued."""
    return certificates.status(tx, authority, serial) if serial in _SERIALS else None


def _single(
    cert_id: CertID, record: StatusRecord, now: datetime, next_update: datetime, cutoff: datetime
) -> SingleResponse:
    expired = record.not_after_s < to_unix(now)
    extensions = (archive_cutoff_extension(cutoff),) if expired else ()
    return SingleResponse(cert_id, cert_status(record), now, next_update, extensions)
