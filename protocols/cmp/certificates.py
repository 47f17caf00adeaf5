"""CertRepMessage (RFC 9810 §5.3.4), the bodies ip, cp, kup and ccp: certificates, in clear or encrypted."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.cmp.controls import PKIPublicationInfo
from protocols.cmp.encrypted_key import EncryptedKey
from protocols.cmp.numbers import parse_cert_req_id
from protocols.cmp.status import PKIStatusInfo
from protocols.errors import MalformedError

MAX_RESPONSES: Final = 32  # as many as requests
MAX_CERTIFICATES: Final = 64  # of one list, such as caPubs


def parse_certificate(reader: Reader) -> bytes:
    """Read a CMPCertificate, of which X.509 is the only kind; return its DER, not looked into."""
    return reader.read_raw(der.SEQUENCE)


def parse_certificates(reader: Reader) -> tuple[bytes, ...]:
    """Read a list of one or more CMPCertificates or CertificateLists, at most `MAX_CERTIFICATES`."""
    certificates = der.repeated(
        reader.enter(), parse_certificate, at_most=MAX_CERTIFICATES, what="certificates in a list"
    )
    if not certificates:
        raise MalformedError("a list of certificates is empty")
    return certificates


def explicit_list(number: int, encoded: Iterable[bytes]) -> bytes:
    """Return `[number] EXPLICIT SEQUENCE OF` these, and b"" where there are none."""
    parts = tuple(encoded)
    return der.explicit(number, der.sequence(*parts)) if parts else b""


@dataclass(frozen=True, slots=True)
class CertifiedKeyPair:
    """A certificate, in clear or encrypted to its key, and the private key where the authority made it."""

    certificate: bytes | None = field(default=None, repr=False)
    encrypted_cert: EncryptedKey | None = None
    private_key: EncryptedKey | None = None
    publication_info: PKIPublicationInfo | None = None

    def __post_init__(self) -> None:
        """Hold the CHOICE CertOrEncCert."""
        if (self.certificate is None) == (self.encrypted_cert is None):
            raise MalformedError("a CertifiedKeyPair holds not one of certificate and encryptedCert")

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a CertifiedKeyPair."""
        fields = reader.enter()
        pair = cls(
            der.optional(fields, 0, parse_certificate),
            der.optional(fields, 1, EncryptedKey.parse),
            der.optional(fields, 0, EncryptedKey.parse),
            der.optional(fields, 1, PKIPublicationInfo.parse),
        )
        fields.finish()
        return pair

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(
            b"" if self.certificate is None else der.explicit(0, self.certificate),
            der.explicit(1, self.encrypted_cert.der) if self.encrypted_cert else b"",
            der.explicit(0, self.private_key.der) if self.private_key else b"",
            der.explicit(1, self.publication_info.encode()) if self.publication_info else b"",
        )


@dataclass(frozen=True, slots=True)
class CertResponse:
    """The answer to one request."""

    cert_req_id: int
    status: PKIStatusInfo
    certified_key_pair: CertifiedKeyPair | None = None
    rsp_info: bytes | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a CertResponse."""
        fields = reader.enter()
        cert_req_id = parse_cert_req_id(fields)
        status = PKIStatusInfo.parse(fields)
        pair = CertifiedKeyPair.parse(fields) if fields.peek() == der.SEQUENCE else None
        rsp_info = None if fields.at_end else fields.octet_string()
        fields.finish()
        return cls(cert_req_id, status, pair, rsp_info)

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(
            der.integer(self.cert_req_id),
            self.status.encode(),
            self.certified_key_pair.encode() if self.certified_key_pair else b"",
            b"" if self.rsp_info is None else der.octet_string(self.rsp_info),
        )


@dataclass(frozen=True, slots=True)
class CertRepMessage:
    """The answers to the requests of one message; `ca_pubs` are certificates to be trusted (§5.3.2)."""

    response: tuple[CertResponse, ...]
    ca_pubs: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a CertRepMessage of at most `MAX_RESPONSES` answers."""
        fields = reader.enter()
        ca_pubs = der.optional(fields, 1, parse_certificates) or ()
        response = der.repeated(
            fields.enter(), CertResponse.parse, at_most=MAX_RESPONSES, what="responses in a message"
        )
        fields.finish()
        return cls(response, ca_pubs)

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(
            explicit_list(1, self.ca_pubs), der.sequence(*(response.encode() for response in self.response))
        )
