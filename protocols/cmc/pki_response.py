"""PKIResponse, the content of a Full PKI Response (RFC 5272 §4.2.1), and the controls of an answer.

A Simple PKI Response (§4.1) is `protocols.x509.certs_only`. The SignedData around a full one is
built with `protocols.cms.signing`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from protocols import oid
from protocols.asn1 import der
from protocols.asn1.der import Reader
from protocols.cmc.body_parts import (
    OtherMsg,
    TaggedAttribute,
    TaggedContentInfo,
    check_unique,
    encode_parts,
    parse_content_infos,
    parse_controls,
    parse_other_msgs,
)
from protocols.cmc.controls import RequestControls
from protocols.cmc.status import CMCStatusInfo


@dataclass(frozen=True, slots=True)
class PKIResponse:
    """A whole response."""

    control_sequence: tuple[TaggedAttribute, ...] = ()
    cms_sequence: tuple[TaggedContentInfo, ...] = ()
    other_msg_sequence: tuple[OtherMsg, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Read a PKIResponse whose body part IDs are unique and not 0 (§3.2.2)."""
        fields = reader.enter()
        response = cls(parse_controls(fields), parse_content_infos(fields), parse_other_msgs(fields))
        fields.finish()
        check_unique(response.control_sequence, response.cms_sequence, response.other_msg_sequence)
        return response

    def encode(self) -> bytes:
        """Return the DER."""
        return der.sequence(
            encode_parts(self.control_sequence),
            encode_parts(self.cms_sequence),
            encode_parts(self.other_msg_sequence),
        )


def pki_response(
    statuses: Iterable[CMCStatusInfo], request: RequestControls, *, sender_nonce: bytes
) -> PKIResponse:
    """Return the response that says these statuses, and gives back what the request's controls ask for.

    transactionId and dataReturn come back (§6.6, §6.4); a senderNonce comes back as recipientNonce, with a
    new `sender_nonce` of ours, which is not sent to a client that sent none.
    """
    values = [(oid.CMC_STATUS_INFO_V2, status.encode_v2()) for status in statuses]
    if request.transaction_id is not None:
        values.append((oid.CMC_TRANSACTION_ID, der.integer(request.transaction_id)))
    if request.sender_nonce is not None:
        values.append((oid.CMC_RECIPIENT_NONCE, der.octet_string(request.sender_nonce)))
        values.append((oid.CMC_SENDER_NONCE, der.octet_string(sender_nonce)))
    if request.data_return is not None:
        values.append((oid.CMC_DATA_RETURN, der.octet_string(request.data_return)))
    return PKIResponse(
        tuple(TaggedAttribute(number, kind, (value,)) for number, (kind, value) in enumerate(values, 1))
    )
