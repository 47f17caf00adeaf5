"""A Full PKI Request as it arrives (RFC 5272 §3.2): PKIData in SignedData, in BER or DER.

Who signed is verified with `protocols.cms.verification`. Requests wrapped in EnvelopedData or
AuthenticatedData are refused: over EST, TLS keeps them secret and a certificate signs them.
"""

from dataclasses import dataclass
from typing import Self

from protocols import oid
from protocols.asn1 import der
from protocols.cmc.pki_data import PKIData
from protocols.cms.content_info import ContentInfo, read_content_info
from protocols.cms.signed_data import SignedData
from protocols.errors import MalformedError


@dataclass(frozen=True, slots=True)
class FullPKIRequest:
    """What was sent; nothing in it is authentic before a signer is verified."""

    signed_data: SignedData
    pki_data: PKIData

    @classmethod
    def from_content_info(cls, content_info: ContentInfo) -> Self:
        """Return the request in a ContentInfo, which may be one inside another request's cmsSequence."""
        signed_data = SignedData.from_content_info(content_info)
        if signed_data.content_type != oid.CCT_PKI_DATA or signed_data.content is None:
            raise MalformedError("the CMS message holds no PKIData (RFC 5272 §3.2)")
        if not signed_data.signer_infos:
            raise MalformedError("a Full PKI Request has no signer (RFC 5272 §3.2)")
        return cls(signed_data, der.whole(signed_data.content, PKIData.parse))


def read_full_request(message: bytes) -> FullPKIRequest:
    """Return the Full PKI Request in a message; `TooLargeError` over a bound, else `MalformedError`."""
    return FullPKIRequest.from_content_info(read_content_info(message))
