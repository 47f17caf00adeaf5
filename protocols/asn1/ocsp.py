"""The types of OCSP in the order of RFC 6960 §4.1.1, §4.2.1 and §4.4, parsed from DER and encoded to it.

Every `parse` takes a `Reader` that stands before the value, and raises `MalformedError` or `TooLargeError`.
Since only DER is read, `encode` gives back the bytes that were parsed. What a request may ask for is
`protocols.ocsp.request`'s matter; bulk responses are built from templates in `protocols.ocsp.response`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final, Self, TypeVar

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import Reader, context, explicit, optional, whole
from protocols.asn1.pkix import (
    AlgorithmIdentifier,
    Extension,
    encode_extensions,
    find_extension,
    parse_extensions,
)
from protocols.errors import MalformedError

_CONTEXT_CLASS: Final = 0xC0

_T = TypeVar("_T")


# ---- Requests (§4.1.1)


@dataclass(frozen=True, slots=True)
class CertID:
    """Names one certificate: its serial, and its issuer by hashes of name and key."""

    hash_algorithm: AlgorithmIdentifier
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial_number: int

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a CertID; the hash algorithm is any, with NULL or no parameters."""
        fields = reader.enter()
        hash_algorithm = AlgorithmIdentifier.parse(fields)
        if hash_algorithm.parameters not in (None, der.null()):
            raise MalformedError("parameters of a hash algorithm that takes none")
        cert_id = cls(hash_algorithm, fields.octet_string(), fields.octet_string(), fields.integer())
        fields.finish()
        return cert_id

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(
            self.hash_algorithm.encode(),
            der.octet_string(self.issuer_name_hash),
            der.octet_string(self.issuer_key_hash),
            der.integer(self.serial_number),
        )


@dataclass(frozen=True, slots=True)
class Request:
    """Asks for the status of one certificate."""

    req_cert: CertID
    single_request_extensions: tuple[Extension, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a Request."""
        fields = reader.enter()
        req_cert = CertID.parse(fields)
        extensions = optional(fields, 0, parse_extensions)
        fields.finish()
        return cls(req_cert, extensions or ())

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(self.req_cert.encode(), _explicit_extensions(0, self.single_request_extensions))


@dataclass(frozen=True, slots=True)
class TBSRequest:
    """What is asked; `requestor_name` is a GeneralName in DER, or None."""

    request_list: tuple[Request, ...]
    request_extensions: tuple[Extension, ...] = ()
    requestor_name: bytes | None = None

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a TBSRequest of version 1 (which DER leaves out) with at least one Request."""
        fields = reader.enter()
        _refuse_version(fields)
        requestor_name = optional(fields, 1, _parse_general_name)
        request_list = _sequence_of(fields, Request.parse)
        extensions = optional(fields, 2, parse_extensions)
        fields.finish()
        if not request_list:
            raise MalformedError("requestList is empty")
        return cls(request_list, extensions or (), requestor_name)

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(
            explicit(1, self.requestor_name) if self.requestor_name is not None else b"",
            der.sequence(*(request.encode() for request in self.request_list)),
            _explicit_extensions(2, self.request_extensions),
        )


@dataclass(frozen=True, slots=True)
class Signature:
    """The requestor's signature; `certs` holds certificates in DER."""

    signature_algorithm: AlgorithmIdentifier
    signature: bytes
    certs: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a Signature."""
        fields = reader.enter()
        algorithm = AlgorithmIdentifier.parse(fields)
        signature = fields.bit_string()
        certs = optional(fields, 0, _parse_certs)
        fields.finish()
        return cls(algorithm, signature, certs or ())

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(
            self.signature_algorithm.encode(), der.bit_string(self.signature), _explicit_certs(self.certs)
        )


@dataclass(frozen=True, slots=True)
class OCSPRequest:
    """A whole request."""

    tbs_request: TBSRequest
    optional_signature: Signature | None = None

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read an OCSPRequest."""
        fields = reader.enter()
        tbs_request = TBSRequest.parse(fields)
        signature = optional(fields, 0, Signature.parse)
        fields.finish()
        return cls(tbs_request, signature)

    def encode(self) -> bytes:
        """Return the DER."""
        signature = self.optional_signature
        return der.sequence(
            self.tbs_request.encode(), explicit(0, signature.encode()) if signature is not None else b""
        )


# ---- Responses (§4.2.1)


class OCSPResponseStatus(IntEnum):
    """How the request was processed; 4 is not used."""

    SUCCESSFUL = 0
    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    SIG_REQUIRED = 5
    UNAUTHORIZED = 6


class CRLReason(IntEnum):
    """Why a certificate is revoked (RFC 5280 §5.3.1); 7 is not used."""

    UNSPECIFIED = 0
    KEY_COMPROMISE = 1
    CA_COMPROMISE = 2
    AFFILIATION_CHANGED = 3
    SUPERSEDED = 4
    CESSATION_OF_OPERATION = 5
    CERTIFICATE_HOLD = 6
    REMOVE_FROM_CRL = 8
    PRIVILEGE_WITHDRAWN = 9
    AA_COMPROMISE = 10


# As RFC 5280 §5.3.1 spells them.
REASON_NAMES: Final = {
    CRLReason.UNSPECIFIED: "unspecified",
    CRLReason.KEY_COMPROMISE: "keyCompromise",
    CRLReason.CA_COMPROMISE: "cACompromise",
    CRLReason.AFFILIATION_CHANGED: "affiliationChanged",
    CRLReason.SUPERSEDED: "superseded",
    CRLReason.CESSATION_OF_OPERATION: "cessationOfOperation",
    CRLReason.CERTIFICATE_HOLD: "certificateHold",
    CRLReason.REMOVE_FROM_CRL: "removeFromCRL",
    CRLReason.PRIVILEGE_WITHDRAWN: "privilegeWithdrawn",
    CRLReason.AA_COMPROMISE: "aACompromise",
}


@dataclass(frozen=True, slots=True)
class OCSPResponse:
    """A whole response; `response` is set, and its type is known, exactly where the status is successful."""

    response_status: OCSPResponseStatus
    response: "BasicOCSPResponse | None" = None

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read an OCSPResponse; ResponseBytes of another type than id-pkix-ocsp-basic are refused."""
        fields = reader.enter()
        status = _parse_enumerated(fields, OCSPResponseStatus)
        response = optional(fields, 0, _parse_response_bytes)
        fields.finish()
        if (response is not None) != (status is OCSPResponseStatus.SUCCESSFUL):
            raise MalformedError("responseBytes do not fit responseStatus")
        return cls(status, response)

    def encode(self) -> bytes:
        """Return the DER."""
        response = b""
        if self.response is not None:
            basic = der.octet_string(self.response.encode())
            response = explicit(0, der.sequence(der.oid(oid.OCSP_BASIC), basic))
        return der.sequence(der.enumerated(self.response_status), response)


@dataclass(frozen=True, slots=True)
class BasicOCSPResponse:
    """A signed response; `tbs_response_data` is the ResponseData in DER, as it was or will be signed."""

    tbs_response_data: bytes
    signature_algorithm: AlgorithmIdentifier
    signature: bytes
    certs: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a BasicOCSPResponse, ResponseData included."""
        fields = reader.enter()
        response = cls(
            fields.read_raw(der.SEQUENCE),
            AlgorithmIdentifier.parse(fields),
            fields.bit_string(),
            optional(fields, 0, _parse_certs) or (),
        )
        fields.finish()
        response.response_data()
        return response

    def response_data(self) -> "ResponseData":
        """Return what is signed, parsed; `MalformedError` where it is no ResponseData."""
        return whole(self.tbs_response_data, ResponseData.parse)

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(
            self.tbs_response_data,
            self.signature_algorithm.encode(),
            der.bit_string(self.signature),
            _explicit_certs(self.certs),
        )


@dataclass(frozen=True, slots=True)
class ByName:
    """The responder's Name in DER."""

    name: bytes

    def encode(self) -> bytes:
        """Return the DER of the ResponderID."""
        return explicit(1, self.name)


@dataclass(frozen=True, slots=True)
class ByKey:
    """The SHA-1 hash of the content of the responder's subjectPublicKey."""

    key_hash: bytes

    def encode(self) -> bytes:
        """Return the DER of the ResponderID."""
        return explicit(2, der.octet_string(self.key_hash))


ResponderID = ByName | ByKey


def parse_responder_id(reader: Reader) -> ResponderID:
    """Read a ResponderID."""
    responder_id: ResponderID
    if reader.peek() == context(1):
        fields = reader.enter(context(1))
        responder_id = ByName(fields.read_raw(der.SEQUENCE))
    else:
        fields = reader.enter(context(2))
        responder_id = ByKey(fields.octet_string())
    fields.finish()
    return responder_id


@dataclass(frozen=True, slots=True)
class ResponseData:
    """What a responder signs."""

    responder_id: ResponderID
    produced_at: datetime
    responses: tuple["SingleResponse", ...]
    response_extensions: tuple[Extension, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a ResponseData of version 1 (which DER leaves out)."""
        fields = reader.enter()
        _refuse_version(fields)
        response_data = cls(
            parse_responder_id(fields),
            fields.generalized_time(),
            _sequence_of(fields, SingleResponse.parse),
            optional(fields, 1, parse_extensions) or (),
        )
        fields.finish()
        return response_data

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(
            self.responder_id.encode(),
            der.generalized_time(self.produced_at),
            der.sequence(*(response.encode() for response in self.responses)),
            _explicit_extensions(1, self.response_extensions),
        )


@dataclass(frozen=True, slots=True)
class Good:
    """Not revoked, as far as the responder knows."""

    def encode(self) -> bytes:
        """Return the DER of the CertStatus."""
        return der.encode(context(0, constructed=False), b"")


@dataclass(frozen=True, slots=True)
class RevokedInfo:
    """Revoked for ever, or for a while where the reason is certificateHold."""

    revocation_time: datetime
    revocation_reason: CRLReason | None = None

    def encode(self) -> bytes:
        """Return the DER of the CertStatus."""
        reason = self.revocation_reason
        return der.encode(
            context(1),
            der.generalized_time(self.revocation_time)
            + (explicit(0, der.enumerated(reason)) if reason is not None else b""),
        )


@dataclass(frozen=True, slots=True)
class Unknown:
    """The responder does not know the certificate."""

    def encode(self) -> bytes:
        """Return the DER of the CertStatus."""
        return der.encode(context(2, constructed=False), b"")


CertStatus = Good | RevokedInfo | Unknown


def parse_cert_status(reader: Reader) -> CertStatus:
    """Read a CertStatus."""
    for status in (Good(), Unknown()):
        encoded = status.encode()
        if reader.peek() == encoded[0]:
            if reader.read_any()[1] != encoded:
                raise MalformedError("CertStatus good or unknown with content")
            return status
    fields = reader.enter(context(1))
    revocation_time = fields.generalized_time()
    reason = optional(fields, 0, lambda inner: _parse_enumerated(inner, CRLReason))
    fields.finish()
    return RevokedInfo(revocation_time, reason)


@dataclass(frozen=True, slots=True)
class SingleResponse:
    """The status of one certificate."""

    cert_id: CertID
    cert_status: CertStatus
    this_update: datetime
    next_update: datetime | None = None
    single_extensions: tuple[Extension, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a SingleResponse."""
        fields = reader.enter()
        response = cls(
            CertID.parse(fields),
            parse_cert_status(fields),
            fields.generalized_time(),
            optional(fields, 0, Reader.generalized_time),
            optional(fields, 1, parse_extensions) or (),
        )
        fields.finish()
        return response

    def encode(self) -> bytes:
        """Return the DER."""
        next_update = self.next_update
        return der.sequence(
            self.cert_id.encode(),
            self.cert_status.encode(),
            der.generalized_time(self.this_update),
            explicit(0, der.generalized_time(next_update)) if next_update is not None else b"",
            _explicit_extensions(1, self.single_extensions),
        )


# ---- Extensions (§4.4)


def archive_cutoff_extension(moment: datetime) -> Extension:
    """Return the archiveCutoff of a SingleResponse (§4.4.4), in whole seconds, uncritical."""
    return Extension(oid.OCSP_ARCHIVE_CUTOFF, False, der.generalized_time(moment))


def archive_cutoff(response: SingleResponse) -> datetime | None:
    """Return the archiveCutoff (§4.4.4), None where there is none; `MalformedError` where it is no time."""
    extension = find_extension(response.single_extensions, oid.OCSP_ARCHIVE_CUTOFF)
    return None if extension is None else whole(extension.value, Reader.generalized_time)


# ---- Shared by both


_E = TypeVar("_E", OCSPResponseStatus, CRLReason)


def _parse_enumerated(reader: Reader, kind: type[_E]) -> _E:
    try:
        return kind(reader.integer(der.ENUMERATED))
    except ValueError as error:
        raise MalformedError(f"no {kind.__name__}") from error


def _sequence_of(reader: Reader, parse: Callable[[Reader], _T]) -> tuple[_T, ...]:
    fields = reader.enter()
    values: list[_T] = []
    while not fields.at_end:
        values.append(parse(fields))
    return tuple(values)


def _refuse_version(reader: Reader) -> None:
    """v1 is the only version there is and, being the default, is left out in DER (X.690 §11.5)."""
    if reader.peek() == context(0):
        raise MalformedError("version is not v1, or v1 written out")


def _parse_general_name(reader: Reader) -> bytes:
    tag, name = reader.read_any()
    if tag & _CONTEXT_CLASS != der.CONTEXT:
        raise MalformedError("requestorName is no GeneralName")
    return name


def _parse_certs(reader: Reader) -> tuple[bytes, ...]:
    certs = _sequence_of(reader, lambda fields: fields.read_raw(der.SEQUENCE))
    if not certs:
        raise MalformedError("certs is empty")
    return certs


def _parse_response_bytes(reader: Reader) -> BasicOCSPResponse:
    fields = reader.enter()
    if fields.oid() != oid.OCSP_BASIC:
        raise MalformedError("responseType is not id-pkix-ocsp-basic")
    response = whole(fields.octet_string(), BasicOCSPResponse.parse)
    fields.finish()
    return response


def _explicit_extensions(number: int, extensions: Iterable[Extension]) -> bytes:
    extensions = tuple(extensions)
    return explicit(number, encode_extensions(extensions)) if extensions else b""


def _explicit_certs(certs: Iterable[bytes]) -> bytes:
    certs = tuple(certs)
    return explicit(0, der.sequence(*certs)) if certs else b""
