"""PKIData, the content of a Full PKI Request (RFC 5272 §3.2.1): controls, requests and what they refer to."""

from dataclasses import dataclass, field
from typing import Final, Self

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.cmc.body_parts import (
    MAX_BODY_PARTS,
    OtherMsg,
    TaggedAttribute,
    TaggedContentInfo,
    check_unique,
    encode_parts,
    parse_body_part_id,
    parse_content_infos,
    parse_controls,
    parse_other_msgs,
)

_TCR: Final = der.context(0)
_CRM: Final = der.context(1)
_ORM: Final = der.context(2)


@dataclass(frozen=True, slots=True)
class TaggedCertificationRequest:
    """A PKCS #10 in DER (§3.2.1.2.1), which `protocols.x509.csr` reads."""

    body_part_id: int
    certification_request: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Return the DER of the CHOICE TaggedRequest."""
        return der.encode(_TCR, der.integer(self.body_part_id) + self.certification_request)


@dataclass(frozen=True, slots=True)
class CertReqMsg:
    """A request of CRMF (§3.2.1.2.2), recognised so that it can be refused by its ID."""

    body_part_id: int
    content: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Return the DER of the CHOICE TaggedRequest."""
        return der.encode(_CRM, self.content)


@dataclass(frozen=True, slots=True)
class OtherRequest:
    """A request of another kind (§3.2.1.2.3), which must be answered with noSupport."""

    body_part_id: int
    request_message_type: str
    value: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Return the DER of the CHOICE TaggedRequest."""
        return der.encode(
            _ORM, der.integer(self.body_part_id) + der.oid(self.request_message_type) + self.value
        )


TaggedRequest = TaggedCertificationRequest | CertReqMsg | OtherRequest


def parse_tagged_request(reader: Reader) -> TaggedRequest:
    """Read a TaggedRequest; `MalformedError` where it is none of the three."""
    tag = reader.peek()
    request: TaggedRequest
    if tag == _TCR:
        fields = reader.enter(_TCR)
        request = TaggedCertificationRequest(parse_body_part_id(fields), fields.read_raw(der.SEQUENCE))
    elif tag == _ORM:
        fields = reader.enter(_ORM)
        request = OtherRequest(parse_body_part_id(fields), fields.oid(), fields.read_any()[1])
    else:
        return _parse_crm(reader)
    fields.finish()
    return request


def _parse_crm(reader: Reader) -> CertReqMsg:
    """Read a CertReqMsg as far as certReqId, which is its body part ID (§3.2.2)."""
    content = reader.read(_CRM)
    cert_request = Reader(content).enter()
    return CertReqMsg(parse_body_part_id(cert_request), content)


@dataclass(frozen=True, slots=True)
class PKIData:
    """A whole request."""

    control_sequence: tuple[TaggedAttribute, ...] = ()
    req_sequence: tuple[TaggedRequest, ...] = ()
    cms_sequence: tuple[TaggedContentInfo, ...] = ()
    other_msg_sequence: tuple[OtherMsg, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a PKIData whose body part IDs are unique and not 0 (§3.2.2)."""
        fields = reader.enter()
        pki_data = cls(
            parse_controls(fields),
            der.repeated(
                fields.enter(), parse_tagged_request, at_most=MAX_BODY_PARTS, what="requests in a CMC message"
            ),
            parse_content_infos(fields),
            parse_other_msgs(fields),
        )
        fields.finish()
        check_unique(
            pki_data.control_sequence,
            pki_data.req_sequence,
            pki_data.cms_sequence,
            pki_data.other_msg_sequence,
        )
        return pki_data

    def req_sequence_der(self) -> bytes:
        """Return the DER of reqSequence, as it was received: what identity proofs are taken over (§6.2.1)."""
        return der.sequence(*(request.encode() for request in self.req_sequence))

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(
            encode_parts(self.control_sequence),
            self.req_sequence_der(),
            encode_parts(self.cms_sequence),
            encode_parts(self.other_msg_sequence),
        )
