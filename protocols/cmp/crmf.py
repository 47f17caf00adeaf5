"""CertReqMessages (RFC 4211 §3, §5), the bodies ir, cr, kur, krr and ccr; one door to all of CRMF.

Templates are read in `cert_template`, proofs in `possession`, controls in `controls`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.cmp.cert_template import CertId, CertTemplate, OptionalValidity
from protocols.cmp.controls import (
    AttributeTypeAndValue,
    PKIArchiveOptions,
    PKIPublicationInfo,
    RequestControls,
    SinglePubInfo,
    encode_attributes,
    parse_attributes,
    read_controls,
)
from protocols.cmp.numbers import parse_cert_req_id
from protocols.cmp.possession import (
    DHMAC,
    AgreeMAC,
    EnvelopedPrivateKey,
    KeyAgreement,
    KeyEncipherment,
    PKMACValue,
    POPOPrivKey,
    POPOSigningKey,
    POPOSigningKeyInput,
    ProofOfPossession,
    RAVerified,
    Subsequent,
    SubsequentMessage,
    ThisMessage,
    parse_proof_of_possession,
)
from protocols.errors import MalformedError

__all__ = [
    "DHMAC",
    "AgreeMAC",
    "AttributeTypeAndValue",
    "CertId",
    "CertReqMsg",
    "CertRequest",
    "CertTemplate",
    "EnvelopedPrivateKey",
    "KeyAgreement",
    "KeyEncipherment",
    "OptionalValidity",
    "PKIArchiveOptions",
    "PKIPublicationInfo",
    "PKMACValue",
    "POPOPrivKey",
    "POPOSigningKey",
    "POPOSigningKeyInput",
    "ProofOfPossession",
    "RAVerified",
    "RequestControls",
    "SinglePubInfo",
    "Subsequent",
    "SubsequentMessage",
    "ThisMessage",
    "build_cert_req_messages",
    "build_cert_request",
    "parse_cert_req_messages",
    "read_controls",
]

MAX_CERT_REQ_MSGS: Final = 32  # requests in one message; a client renews a handful of certificates at once


@dataclass(frozen=True, slots=True)
class CertRequest:
    """What is asked for; `der` is the received slice, which proofs of possession are taken over (§4)."""

    cert_req_id: int
    template: CertTemplate
    controls: tuple[AttributeTypeAndValue, ...]
    der: bytes = field(repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a CertRequest."""
        whole = reader.look().read_raw(der.SEQUENCE)
        fields = reader.enter()
        cert_req_id = parse_cert_req_id(fields)
        template = CertTemplate.parse(fields)
        controls = () if fields.at_end else parse_attributes(fields)
        fields.finish()
        return cls(cert_req_id, template, controls, whole)


def build_cert_request(
    cert_req_id: int, template: CertTemplate, controls: Iterable[AttributeTypeAndValue] = ()
) -> CertRequest:
    """Return a request with its DER."""
    controls = tuple(controls)
    encoded = der.sequence(der.integer(cert_req_id), template.encode(), encode_attributes(controls))
    return CertRequest(cert_req_id, template, controls, encoded)


@dataclass(frozen=True, slots=True)
class CertReqMsg:
    """A request with the proof that its key is possessed, None where there is none (§4)."""

    cert_req: CertRequest
    popo: ProofOfPossession | None = None
    reg_info: tuple[AttributeTypeAndValue, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a CertReqMsg."""
        fields = reader.enter()
        cert_req = CertRequest.parse(fields)
        popo = None if fields.peek() in (None, der.SEQUENCE) else parse_proof_of_possession(fields)
        reg_info = () if fields.at_end else parse_attributes(fields)
        fields.finish()
        return cls(cert_req, popo, reg_info)

    def encode(self) -> bytes:
        """Return the DER."""
        popo = self.popo.encode() if self.popo else b""
        return der.sequence(self.cert_req.der, popo, encode_attributes(self.reg_info))


def parse_cert_req_messages(content_der: bytes) -> tuple[CertReqMsg, ...]:
    """Return the requests of a DER CertReqMessages: one or more, at most `MAX_CERT_REQ_MSGS`."""
    outer = Reader(content_der)
    messages = der.repeated(
        outer.enter(), CertReqMsg.parse, at_most=MAX_CERT_REQ_MSGS, what="requests in a message"
    )
    outer.finish()
    if not messages:
        raise MalformedError("CertReqMessages is empty")
    return messages


def build_cert_req_messages(messages: Iterable[CertReqMsg]) -> bytes:
    """Return the DER of CertReqMessages."""
    return der.sequence(*(message.encode() for message in messages))
