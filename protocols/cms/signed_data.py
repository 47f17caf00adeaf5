"""SignedData (RFC 5652 §5): its types, parsed and encoded; `verification` says what is to be believed."""

from dataclasses import dataclass, field
from typing import Final, Self

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.pkix import AlgorithmIdentifier, Attribute
from protocols.cms.content_info import (
    CertificateIdentifier,
    ContentInfo,
    SubjectKeyIdentifier,
    parse_certificate_identifier,
)
from protocols.errors import MalformedError

MAX_CERTIFICATES: Final = 16  # several chains; no client sends more than its own
MAX_SIGNERS: Final = 4  # a client and its RA sign one inside the other; each costs a verification
MAX_ATTRIBUTES: Final = 32  # S/MIME senders write up to eight
MAX_DIGEST_ALGORITHMS: Final = 16  # signers, and what a sender lists beside

_VERSIONS: Final = range(1, 6)
_DATA_VERSION: Final = 1  # §5.1: content of id-data, certificates of X.509, signers by issuer and serial
_OTHER_VERSION: Final = 3
_CERTIFICATES: Final = der.context(0)
_CRLS: Final = der.context(1)
_SIGNED_ATTRIBUTES: Final = der.context(0)
_UNSIGNED_ATTRIBUTES: Final = der.context(1)


@dataclass(frozen=True, slots=True)
class SignerInfo:
    """What one signer says. `signed_attributes` is () where there are none.

    `signed_octets` is what the signature is over where there are any: their DER as a SET OF, in its order
    (§5.4), whatever order they were sent in.
    """

    sid: CertificateIdentifier
    digest_algorithm: AlgorithmIdentifier
    signed_attributes: tuple[Attribute, ...]
    signed_octets: bytes = field(repr=False)
    signature_algorithm: AlgorithmIdentifier
    signature: bytes = field(repr=False)
    unsigned_attributes: tuple[Attribute, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a SignerInfo; its version must fit its sid (§5.3)."""
        fields = reader.enter()
        version = fields.integer()
        sid = parse_certificate_identifier(fields)
        if version != _signer_version(sid):
            raise MalformedError("the version of a SignerInfo does not fit its sid")
        digest_algorithm = AlgorithmIdentifier.parse(fields)
        signed_raw = _attributes_der(fields, _SIGNED_ATTRIBUTES)
        signature_algorithm = AlgorithmIdentifier.parse(fields)
        signature = fields.octet_string()
        unsigned_raw = _attributes_der(fields, _UNSIGNED_ATTRIBUTES)
        fields.finish()
        return cls(
            sid,
            digest_algorithm,
            tuple(der.whole(attribute, Attribute.parse) for attribute in signed_raw),
            der.set_of(signed_raw) if signed_raw else b"",
            signature_algorithm,
            signature,
            tuple(der.whole(attribute, Attribute.parse) for attribute in unsigned_raw),
        )

    def encode(self) -> bytes:
        """Return the DER."""
        signed = der.Reader(self.signed_octets).read(der.SET) if self.signed_attributes else b""
        unsigned = b"".join(sorted(attribute.encode() for attribute in self.unsigned_attributes))
        return der.sequence(
            der.integer(_signer_version(self.sid)),
            self.sid.encode(),
            self.digest_algorithm.encode(),
            der.encode(_SIGNED_ATTRIBUTES, signed) if signed else b"",
            self.signature_algorithm.encode(),
            der.octet_string(self.signature),
            der.encode(_UNSIGNED_ATTRIBUTES, unsigned) if unsigned else b"",
        )


def _signer_version(sid: CertificateIdentifier) -> int:
    return _OTHER_VERSION if isinstance(sid, SubjectKeyIdentifier) else _DATA_VERSION


def _attributes_der(reader: Reader, tag: int) -> tuple[bytes, ...]:
    """Return the attributes as sent, () where the optional field is absent; present, it holds some (§5.3)."""
    if reader.peek() != tag:
        return ()
    attributes = der.repeated(
        reader.enter(tag), _raw_sequence, at_most=MAX_ATTRIBUTES, what="attributes of a signer"
    )
    if not attributes:
        raise MalformedError("the attributes of a SignerInfo are present and empty")
    return attributes


@dataclass(frozen=True, slots=True)
class SignedData:
    """A content, None where it is absent, with certificates in DER and signers. CRLs are passed over."""

    content_type: str
    content: bytes | None
    certificates: tuple[bytes, ...] = ()
    signer_infos: tuple[SignerInfo, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a SignedData; certificates of other formats than X.509 are passed over."""
        fields = reader.enter()
        if fields.integer() not in _VERSIONS:
            raise MalformedError("SignedData is of no known version")
        der.repeated(
            fields.enter(der.SET),
            AlgorithmIdentifier.parse,
            at_most=MAX_DIGEST_ALGORITHMS,
            what="digest algorithms",
        )
        encapsulated = fields.enter()
        content_type = encapsulated.oid()
        content = der.optional(encapsulated, 0, Reader.octet_string)
        encapsulated.finish()
        choices: tuple[tuple[int, bytes], ...] = ()
        if fields.peek() == _CERTIFICATES:
            choices = der.repeated(
                fields.enter(_CERTIFICATES), Reader.read_any, at_most=MAX_CERTIFICATES, what="certificates"
            )
        if fields.peek() == _CRLS:
            fields.read(_CRLS)
        signer_infos = der.repeated(
            fields.enter(der.SET), SignerInfo.parse, at_most=MAX_SIGNERS, what="signers"
        )
        fields.finish()
        certificates = tuple(encoded for tag, encoded in choices if tag == der.SEQUENCE)
        return cls(content_type, content, certificates, signer_infos)

    @classmethod
    def from_content_info(cls, content_info: ContentInfo) -> Self:
        """Return the SignedData in a ContentInfo; `MalformedError` where it holds something else."""
        if content_info.content_type != oid.PKCS7_SIGNED_DATA:
            raise MalformedError("the CMS message is no SignedData")
        return der.whole(content_info.content, cls.parse)

    def encode(self) -> bytes:
        """Return the DER, certificates and digest algorithms in the order of a SET OF."""
        content = b"" if self.content is None else der.explicit(0, der.octet_string(self.content))
        certificates = b"".join(sorted(self.certificates))
        return der.sequence(
            der.integer(self._version()),
            der.set_of({signer.digest_algorithm.encode() for signer in self.signer_infos}),
            der.sequence(der.oid(self.content_type), content),
            der.encode(_CERTIFICATES, certificates) if certificates else b"",
            der.set_of(signer.encode() for signer in self.signer_infos),
        )

    def to_content_info(self) -> ContentInfo:
        """Return the ContentInfo around it."""
        return ContentInfo(oid.PKCS7_SIGNED_DATA, self.encode())

    def _version(self) -> int:
        by_key = any(isinstance(signer.sid, SubjectKeyIdentifier) for signer in self.signer_infos)
        return _OTHER_VERSION if by_key or self.content_type != oid.PKCS7_DATA else _DATA_VERSION


def _raw_sequence(reader: Reader) -> bytes:
    return reader.read_raw(der.SEQUENCE)
