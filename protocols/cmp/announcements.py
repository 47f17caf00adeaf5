"""What an authority announces unasked (RFC 9810 §5.3.13 to §5.3.16): ckuann, cann, rann and crlann.

cann is a single certificate, crlann a list of CRLs, for which there is no type here.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.asn1.pkix import Extension, parse_extensions
from protocols.cmp.cert_template import CertId
from protocols.cmp.certificates import MAX_CERTIFICATES, parse_certificate
from protocols.cmp.general import RootCaKeyUpdateContent
from protocols.cmp.status import PKIStatus, parse_status

_V3: Final = der.context(0)


@dataclass(frozen=True, slots=True)
class CAKeyUpdAnnContent:
    """The form of ckuann in pvno 2 (§5.3.13): three DER certificates."""

    old_with_new: bytes = field(repr=False)
    new_with_old: bytes = field(repr=False)
    new_with_new: bytes = field(repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a CAKeyUpdAnnContent."""
        fields = reader.enter()
        content = cls(parse_certificate(fields), parse_certificate(fields), parse_certificate(fields))
        fields.finish()
        return content

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(self.old_with_new, self.new_with_old, self.new_with_new)


def parse_ca_key_update(reader: Reader) -> CAKeyUpdAnnContent | RootCaKeyUpdateContent:
    """Read a CAKeyUpdContent."""
    if reader.peek() == der.SEQUENCE:
        return CAKeyUpdAnnContent.parse(reader)
    fields = reader.enter(_V3)
    content = RootCaKeyUpdateContent.parse(fields)
    fields.finish()
    return content


def build_ca_key_update(content: RootCaKeyUpdateContent) -> bytes:
    """Return the DER of a CAKeyUpdContent as pvno 3 has it."""
    return der.encode(_V3, content.encode())


@dataclass(frozen=True, slots=True)
class RevAnnContent:
    """A revocation that will be, or was (§5.3.15); times are whole seconds of UTC."""

    status: PKIStatus
    cert_id: CertId
    will_be_revoked_at: datetime
    bad_since_date: datetime
    crl_details: tuple[Extension, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a RevAnnContent."""
        fields = reader.enter()
        content = cls(
            parse_status(fields),
            CertId.parse(fields),
            fields.generalized_time(),
            fields.generalized_time(),
            () if fields.at_end else parse_extensions(fields),
        )
        fields.finish()
        return content

    def encode(self) -> bytes:
        """Return the DER."""
        details = [extension.encode() for extension in self.crl_details]
        return der.sequence(
            der.integer(self.status),
            self.cert_id.encode(),
            der.generalized_time(self.will_be_revoked_at),
            der.generalized_time(self.bad_since_date),
            der.sequence(*details) if details else b"",
        )


def parse_crls(reader: Reader) -> tuple[bytes, ...]:
    """Read a CRLAnnContent, which may be empty: DER CertificateLists, not looked into."""
    return der.repeated(reader.enter(), parse_certificate, at_most=MAX_CERTIFICATES, what="CRLs in a list")
