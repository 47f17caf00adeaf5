"""Builds OCSP responses in bulk (RFC 6960 §4.2, RFC 9919 §3.2): constant parts joined with what varies.

Signing is the caller's: `ResponseTemplate` gives what to sign, `ResponseWrapper` makes the response of it
and the signature. For single responses, and to read any, there is `protocols.asn1.ocsp`.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import explicit
from protocols.asn1.ocsp import (
    ByKey,
    CertStatus,
    CRLReason,
    Good,
    OCSPResponseStatus,
    RevokedInfo,
    archive_cutoff_extension,
)
from protocols.asn1.pkix import NULL_PARAMETERS, encode_extensions
from protocols.ocsp.request import DEFAULT_HASHES, hashed_issuer_part

SHA1_BYTES: Final = 20

_BASIC_TYPE: Final = der.oid(oid.OCSP_BASIC)
_SUCCESSFUL: Final = der.enumerated(OCSPResponseStatus.SUCCESSFUL)
_BATCH_TIMES: Final = 64  # a batch has three times for all its responses; a few batches may interleave


@lru_cache(maxsize=_BATCH_TIMES)
def _time(moment: datetime) -> bytes:
    return der.generalized_time(moment)


# Octets of the serial number, status, producedAt, thisUpdate, nextUpdate, archive cutoff.
_Pattern = tuple[int, CertStatus, datetime, datetime, datetime, datetime | None]


class ResponseTemplate:
    """Makes the ResponseData of one issuer's certificates for one responder.

    Each carries a SingleResponse for each hash of CertIDs, by default SHA-1 and SHA-256, so that one
    signature answers all kinds of client (RFC 9919 §3.2.1); SHA-1 had better stand first, for old clients
    that read only one. No nonce.
    """

    __slots__ = ("_issuer_parts", "_patterns", "_repeated", "_responder_id")

    def __init__(
        self,
        responder_key_hash: bytes,
        issuer_name_der: bytes,
        issuer_key_bits: bytes,
        hashes: Sequence[str] = DEFAULT_HASHES,
    ) -> None:
        """Prepare the constant parts.

        `responder_key_hash` is the SHA-1 of the responder's subjectPublicKey (RFC 6960 §4.2.1), the others
        are as in `protocols.ocsp.request.issuer_parts`. `ValueError` for a hash of another size.
        """
        if len(responder_key_hash) != SHA1_BYTES:
            raise ValueError("a responder's key hash has 20 octets")
        self._patterns: dict[_Pattern, tuple[bytes, ...]] = {}
        self._repeated: CertStatus = Good()  # told of the last certificate: of very many where all are alike
        self._responder_id = ByKey(responder_key_hash).encode()
        # NULL parameters, as in the example of RFC 9919; clients compare the algorithm, or these bytes.
        self._issuer_parts = tuple(
            hashed_issuer_part(algorithm, issuer_name_der, issuer_key_bits, NULL_PARAMETERS)
            for algorithm in hashes
        )

    def response_data(
        self,
        serial: int,
        status: CertStatus,
        produced_at: datetime,
        this_update: datetime,
        next_update: datetime,
        archive_cutoff: datetime | None = None,
    ) -> bytes:
        """Return the DER of the ResponseData to sign; times are aware, and written in whole seconds.

        `archive_cutoff` is that of RFC 6960 §4.4.4, for a certificate that has expired; None leaves it out.
        The reason unspecified is left out (RFC 5280 §5.3.1). `ValueError` where nextUpdate is not after
        thisUpdate, or for the reason removeFromCRL, which only a delta CRL may give.
        """
        if next_update <= this_update:
            raise ValueError("nextUpdate is not after thisUpdate")
        serial_number = der.integer(serial)
        if not isinstance(status, Good) and status != self._repeated:
            self._repeated = status
            return self._whole(serial_number, status, produced_at, this_update, next_update, archive_cutoff)
        key = (len(serial_number), status, produced_at, this_update, next_update, archive_cutoff)
        return serial_number.join(self._patterns.get(key) or self._pattern(*key))

    def _whole(
        self,
        serial_number: bytes,
        status: CertStatus,
        produced_at: datetime,
        this_update: datetime,
        next_update: datetime,
        archive_cutoff: datetime | None,
    ) -> bytes:
        encode = der.encode
        rest = _status(status) + _time(this_update) + explicit(0, _time(next_update))
        if archive_cutoff is not None:
            rest += explicit(1, encode_extensions([archive_cutoff_extension(archive_cutoff)]))
        singles = [
            encode(der.SEQUENCE, encode(der.SEQUENCE, issuer_part + serial_number) + rest)
            for issuer_part in self._issuer_parts
        ]
        responses = encode(der.SEQUENCE, b"".join(singles))
        return encode(der.SEQUENCE, self._responder_id + _time(produced_at) + responses)

    def _pattern(
        self,
        length: int,
        status: CertStatus,
        produced_at: datetime,
        this_update: datetime,
        next_update: datetime,
        archive_cutoff: datetime | None,
    ) -> tuple[bytes, ...]:
        """Return what stands before, between and after the serial numbers of a certificate of this status.

        It is the same for all serial numbers whose encoding has `length` octets.
        """
        whole = self._whole(bytes(length), status, produced_at, this_update, next_update, archive_cutoff)
        pieces, start = [], 0
        for issuer_part in self._issuer_parts:
            end = whole.index(issuer_part, start) + len(issuer_part)
            pieces.append(whole[start:end])
            start = end + length
        pattern = (*pieces, whole[start:])
        if len(self._patterns) >= _BATCH_TIMES:
            self._patterns.clear()
        self._patterns[length, status, produced_at, this_update, next_update, archive_cutoff] = pattern
        return pattern


def _status(status: CertStatus) -> bytes:
    if isinstance(status, RevokedInfo):
        if status.revocation_reason is CRLReason.REMOVE_FROM_CRL:
            raise ValueError("removeFromCRL is no reason for a revocation")
        if status.revocation_reason is CRLReason.UNSPECIFIED:
            status = RevokedInfo(status.revocation_time)
    return status.encode()


class ResponseWrapper:
    """Makes whole successful responses of what one responder signed: its algorithm and certificates."""

    __slots__ = ("_after_signature", "_algorithm")

    def __init__(self, signature_algorithm_der: bytes, certificates_der: bytes) -> None:
        """Take the AlgorithmIdentifier, and the certificates concatenated (none: the field is absent)."""
        self._algorithm = signature_algorithm_der
        self._after_signature = explicit(0, der.sequence(certificates_der)) if certificates_der else b""

    def wrap(self, response_data: bytes, signature: bytes) -> bytes:
        """Return the DER of the OCSPResponse; `signature` is what the algorithm yields, not empty."""
        head = _bit_string_head(len(signature))
        parts = (response_data, self._algorithm, head, signature, self._after_signature)
        return b"".join((_response_head(sum(map(len, parts))), *parts))


def encode_response(
    response_data: bytes, signature: bytes, signature_algorithm_der: bytes, certificates_der: bytes
) -> bytes:
    """Return the DER of a successful OCSPResponse; for the arguments see `ResponseWrapper`."""
    return ResponseWrapper(signature_algorithm_der, certificates_der).wrap(response_data, signature)


@lru_cache(maxsize=1024)
def _response_head(basic_length: int) -> bytes:
    """Return all that precedes ResponseData, where the content of BasicOCSPResponse has this length.

    Lengths vary by a few octets (serial, status, signature): nearly every call finds it made.
    """
    basic = der.sequence(bytes(basic_length))
    response_bytes = der.sequence(_BASIC_TYPE, der.octet_string(basic))
    response = der.sequence(_SUCCESSFUL, explicit(0, response_bytes))
    return response[: len(response) - basic_length]


@lru_cache(maxsize=1024)
def _bit_string_head(length: int) -> bytes:
    return der.bit_string(bytes(length))[:-length]


_ERRORS: Final = {
    status: der.sequence(der.enumerated(status))
    for status in OCSPResponseStatus
    if status is not OCSPResponseStatus.SUCCESSFUL
}


def error_response(status: OCSPResponseStatus) -> bytes:
    """Return the DER of an OCSPResponse without responseBytes; `ValueError` for successful."""
    if status is OCSPResponseStatus.SUCCESSFUL:
        raise ValueError("a successful response has responseBytes")
    return _ERRORS[status]
