"""RevReqContent (RFC 9810 §5.3.9) and RevRepContent (§5.3.10)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.pkix import Extension, parse_extensions
from protocols.cmp.cert_template import CertId, CertTemplate
from protocols.cmp.certificates import explicit_list, parse_certificates
from protocols.cmp.status import PKIStatusInfo
from protocols.errors import MalformedError

MAX_REVOCATIONS: Final = 32  # in one message


@dataclass(frozen=True, slots=True)
class RevDetails:
    """Which certificate, by what is known of it, and what its entry in the CRL shall say."""

    cert_details: CertTemplate
    crl_entry_details: tuple[Extension, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a RevDetails."""
        fields = reader.enter()
        cert_details = CertTemplate.parse(fields)
        crl_entry_details = () if fields.at_end else parse_extensions(fields)
        fields.finish()
        return cls(cert_details, crl_entry_details)

    def encode(self) -> bytes:
        """Return the DER."""
        extensions = [extension.encode() for extension in self.crl_entry_details]
        return der.sequence(self.cert_details.encode(), der.sequence(*extensions) if extensions else b"")


def parse_rev_req(content_der: bytes) -> tuple[RevDetails, ...]:
    """Return what a DER RevReqContent asks for: one or more, at most `MAX_REVOCATIONS`."""
    outer = Reader(content_der)
    details = der.repeated(
        outer.enter(), RevDetails.parse, at_most=MAX_REVOCATIONS, what="revocations in a message"
    )
    outer.finish()
    if not details:
        raise MalformedError("RevReqContent is empty")
    return details


def build_rev_req(details: Iterable[RevDetails]) -> bytes:
    """Return the DER of a RevReqContent."""
    return der.sequence(*(one.encode() for one in details))


@dataclass(frozen=True, slots=True)
class RevRepContent:
    """The answers, in the order of the requests; `crls` are DER CertificateLists."""

    status: tuple[PKIStatusInfo, ...]
    rev_certs: tuple[CertId, ...] = ()
    crls: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a RevRepContent."""
        fields = reader.enter()
        status = der.repeated(
            fields.enter(), PKIStatusInfo.parse, at_most=MAX_REVOCATIONS, what="revocations in a response"
        )
        if not status:
            raise MalformedError("RevRepContent has no status")
        rev_certs = der.optional(fields, 0, _parse_cert_ids) or ()
        crls = der.optional(fields, 1, parse_certificates) or ()
        fields.finish()
        return cls(status, rev_certs, crls)

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(
            der.sequence(*(status.encode() for status in self.status)),
            explicit_list(0, (cert_id.encode() for cert_id in self.rev_certs)),
            explicit_list(1, self.crls),
        )


def _parse_cert_ids(reader: Reader) -> tuple[CertId, ...]:
    cert_ids = der.repeated(
        reader.enter(), CertId.parse, at_most=MAX_REVOCATIONS, what="revocations in a response"
    )
    if not cert_ids:
        raise MalformedError("revCerts is empty")
    return cert_ids
