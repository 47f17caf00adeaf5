"""Reads OCSP requests (RFC 6960 §4.1, RFC 9919 §3.1): a scan for the plain ones, a strict parser for all.

Both lead to the same key of a responder's table: (issuer part, serial octets). The issuer part is the
encoding of hashAlgorithm, issuerNameHash and issuerKeyHash, as it stands in the CertID.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Final

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import Reader, whole
from protocols.asn1.ocsp import CertID, OCSPRequest
from protocols.asn1.pkix import NULL_PARAMETERS, AlgorithmIdentifier, Extension, find_extension
from protocols.errors import MalformedError, ProtocolError, TooLargeError

MAX_REQUEST_BYTES: Final = 4096  # room for a signed request with its certificate; plain ones have 70 to 115
MAX_REQUESTS: Final = 16  # RFC 9919 §3.1.1 asks for one; each is a look-up, and its answer a signature
MAX_REQUEST_EXTENSIONS: Final = 8  # RFC 6960 §4.4 defines three for requests
MAX_NONCE_BYTES: Final = 128  # RFC 9654 §2.1

# The hashes by which a CertID may name its issuer here; those that every client knows come first.
CERT_ID_HASHES: Final[Mapping[str, str]] = {
    "sha1": oid.SHA1,
    "sha256": oid.SHA256,
    "sha384": oid.SHA384,
    "sha512": oid.SHA512,
}
DEFAULT_HASHES: Final = ("sha1", "sha256")


class CriticalExtensionError(ProtocolError):
    """The request has a critical extension that is not understood (RFC 6960 §4.1.2)."""


# ---- The issuer part


def issuer_part_for(
    hash_algorithm: AlgorithmIdentifier, issuer_name_hash: bytes, issuer_key_hash: bytes
) -> bytes:
    """Return the encoding of the first three fields of a CertID."""
    return b"".join(
        (hash_algorithm.encode(), der.octet_string(issuer_name_hash), der.octet_string(issuer_key_hash))
    )


def hashed_issuer_part(
    algorithm: str, issuer_name_der: bytes, issuer_key_bits: bytes, parameters: bytes | None
) -> bytes:
    """Return the issuer part by a hash of `CERT_ID_HASHES`; for the other arguments see `issuer_parts`."""
    # The hash only names the issuer here; nothing trusts it (RFC 9919 §8.7).
    hashed = [
        hashlib.new(algorithm, octets, usedforsecurity=False).digest()
        for octets in (issuer_name_der, issuer_key_bits)
    ]
    return issuer_part_for(AlgorithmIdentifier(CERT_ID_HASHES[algorithm], parameters), *hashed)


def issuer_parts(
    issuer_name_der: bytes, issuer_key_bits: bytes, algorithms: Sequence[str] = DEFAULT_HASHES
) -> tuple[bytes, ...]:
    """Return the issuer parts by which clients name one issuer: two for each hash of `CERT_ID_HASHES`.

    Each with NULL and without parameters (clients send both, RFC 5754 §2). `issuer_key_bits` is the
    content of subjectPublicKey without tag, length and unused-bits octet.
    """
    return tuple(
        hashed_issuer_part(algorithm, issuer_name_der, issuer_key_bits, parameters)
        for algorithm in algorithms
        for parameters in (NULL_PARAMETERS, None)
    )


def table_key(cert_id: CertID) -> tuple[bytes, bytes]:
    """Return issuer part and serial octets of a parsed CertID: what `scan` returns for the same."""
    issuer_part = issuer_part_for(cert_id.hash_algorithm, cert_id.issuer_name_hash, cert_id.issuer_key_hash)
    return issuer_part, der.integer_content(cert_id.serial_number)


# ---- The scan


def _hashes_pattern(algorithm: str, size: int) -> bytes:
    """Return a pattern of the issuer parts of a hash algorithm, with NULL or no parameters."""
    identifiers = (AlgorithmIdentifier(algorithm, NULL_PARAMETERS), AlgorithmIdentifier(algorithm))
    written = b"|".join(re.escape(identifier.encode()) for identifier in identifiers)
    octets = re.escape(bytes((der.OCTET_STRING, size))) + b".{%d}" % size
    return b"(?:%b)%b%b" % (written, octets, octets)


# Five nested SEQUENCEs (OCSPRequest, TBSRequest, requestList, Request, CertID), of which the lengths are
# compared after the match; the issuer part; a minimal INTEGER of at most 20 octets (RFC 5280 §4.1.2.2).
_PLAIN: Final = re.compile(
    b"(?:0.){5}(%b|%b)\x02([\x01-\x14])((?!\x00[\x00-\x7f]|\xff[\x80-\xff]).{1,20})"
    % (_hashes_pattern(oid.SHA1, 20), _hashes_pattern(oid.SHA256, 32)),
    re.DOTALL,
).fullmatch
_NESTED: Final = 5
# The five lengths by the size of the request: nothing may follow any of the SEQUENCEs.
_LENGTHS: Final = tuple(
    bytes(max(size - 2 * level, 0) for level in range(1, _NESTED + 1)) for size in range(130)
)


def scan(request: bytes) -> tuple[bytes, bytes] | None:
    """Return issuer part and serial octets of a plain OCSPRequest (RFC 6960 §4.1.1), else None.

    Plain: one Request by SHA-1 or SHA-256, no version, requestorName, signature or extensions. None sends
    the caller to `parse_request`; what is returned here is what that would find. Never raises.
    """
    match = _PLAIN(request)
    if match is None:
        return None
    issuer_part, serial_length, serial = match.groups()
    if request[1 : 2 * _NESTED : 2] != _LENGTHS[len(request)] or serial_length[0] != len(serial):
        return None
    return issuer_part, serial


# ---- The parser


def parse_request(request: bytes) -> OCSPRequest:
    """Return the OCSPRequest; a signature is parsed and otherwise ignored (RFC 9919 §3.1.2).

    Raises `MalformedError` where it is not DER of that type or its nonce breaks RFC 9654 §2.1,
    `TooLargeError` over a bound, `CriticalExtensionError` for what it insists on and is not understood.
    """
    if len(request) > MAX_REQUEST_BYTES:
        raise TooLargeError(f"OCSP request over {MAX_REQUEST_BYTES} bytes")
    parsed = whole(request, OCSPRequest.parse)
    tbs = parsed.tbs_request
    if len(tbs.request_list) > MAX_REQUESTS:
        raise TooLargeError(f"more than {MAX_REQUESTS} certificates in one OCSP request")
    _check_extensions(tbs.request_extensions, understood=_UNDERSTOOD)
    for single in tbs.request_list:
        _check_extensions(single.single_request_extensions, understood=frozenset())
    nonce(parsed)
    return parsed


def nonce(request: OCSPRequest) -> bytes | None:
    """Return the nonce, 1 to 128 octets (RFC 9654 §2.1), or None where there is none; or `MalformedError`."""
    extension = find_extension(request.tbs_request.request_extensions, oid.OCSP_NONCE)
    if extension is None:
        return None
    value = whole(extension.value, Reader.octet_string)
    if not 1 <= len(value) <= MAX_NONCE_BYTES:
        raise MalformedError(f"nonce is empty or over {MAX_NONCE_BYTES} octets")
    return value


# A nonce may go unanswered where responses are made beforehand (RFC 9919 §3.2.1), critical or not.
_UNDERSTOOD: Final = frozenset({oid.OCSP_NONCE, oid.OCSP_RESPONSE})


def _check_extensions(extensions: tuple[Extension, ...], *, understood: frozenset[str]) -> None:
    if len(extensions) > MAX_REQUEST_EXTENSIONS:
        raise TooLargeError(f"more than {MAX_REQUEST_EXTENSIONS} extensions")
    for extension in extensions:
        if not extension.critical:
            continue
        if extension.oid not in understood:
            raise CriticalExtensionError("a critical extension is not understood")
        if extension.oid == oid.OCSP_RESPONSE and not _accepts_basic(extension.value):
            raise CriticalExtensionError("only basic responses are given (RFC 6960 §4.4.3)")


def _accepts_basic(acceptable_responses: bytes) -> bool:
    types = whole(acceptable_responses, Reader.enter)
    accepted = False
    while not types.at_end:
        accepted |= types.oid() == oid.OCSP_BASIC
    return accepted
